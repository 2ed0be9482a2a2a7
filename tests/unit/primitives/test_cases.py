"""Every case does the work that its check looks for, the same for the same seed, and fails where it is not done."""

from __future__ import annotations

import pytest

from swarm_common.errors import TaskFailed
from swarm_coordinator.suites.primitives.catalogue import BY_NAME
from swarm_metrics.primitives.case import Case, Fact, Prepared
from swarm_metrics.primitives.cases import cases_of

SCENARIOS = (
    "artifact_conversion",
    "commutative_aggregation",
    "conditional_aggregation",
    "configuration_analysis",
    "conflict_detection",
    "dependency_resolution",
    "priority_scheduling",
    "proposal_conflicts",
    "proposal_merging",
    "scheduler_queue_depth",
    "scheduling_hint_sorting",
    "snapshot_reads",
    "snapshot_writes",
)
CASES = [case for scenario in SCENARIOS for case in cases_of(scenario)]
each_case = pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.scenario}-{case.variant}".strip("-")
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_suite_asks_for_the_cases_that_there_are(scenario: str) -> None:
    found = cases_of(scenario)
    assert {case.sizes for case in found} == {BY_NAME[scenario].sizes}
    assert sorted(case.variant for case in found) == sorted(BY_NAME[scenario].variants)


def facts(prepared: Prepared, *loops: int) -> dict[str, Fact]:
    try:
        for count in loops:
            prepared.run(count)
        return prepared.check()
    finally:
        prepared.teardown()


@each_case
def test_what_came_of_the_work_does_not_depend_on_how_often_it_was_done(case: Case) -> None:
    size = case.sizes[1]
    assert facts(case.prepare(size, 7), 1) == facts(case.prepare(size, 7), 2, 3)


@each_case
def test_without_the_work_the_check_fails(case: Case) -> None:
    with pytest.raises(TaskFailed):
        facts(case.prepare(case.sizes[0], 7))


@each_case
def test_every_size_is_measured_of_work_of_that_size(case: Case) -> None:
    sizes = list(case.sizes[:3])  # the largest of threads and of all pairs is left to the suite
    found = [facts(case.prepare(size, 3), 1) for size in sizes]
    of_size = "levels" if case.scenario == "dependency_resolution" else next(iter(found[0]))
    assert [one[of_size] for one in found] == sizes


@pytest.mark.parametrize(
    ("scenario", "fact"),
    [
        ("conflict_detection", "clashes"),
        ("conditional_aggregation", "beaten"),
        ("conditional_aggregation", "outdated"),
        ("proposal_conflicts", "conflicts"),
        ("configuration_analysis", "wrong"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_conflicts_and_problems_really_occur(scenario: str, fact: str, seed: int) -> None:
    case = cases_of(scenario)[0]
    prepared = case.prepare(case.sizes[2], seed)
    assert int(facts(prepared, 1)[fact]) > 0
