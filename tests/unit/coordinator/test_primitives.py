"""What the primitives suite plans, and what it makes of what was measured."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarm_common.events import Data, Event, Host, Samples, Task
from swarm_common.events.agent import AgentsMeasured
from swarm_common.events.benchmark import Failed, TaskScheduled
from swarm_common.events.consensus import Decided, Weighed
from swarm_common.events.envelope import new_event
from swarm_common.events.measuring import Clock, MeasuredData
from swarm_common.events.metrics import CaseMeasured, CurveFitted, MetricsTaskFailed
from swarm_common.timing import timing_of
from swarm_coordinator.decider import RunState, decide, evolve, judge
from swarm_coordinator.moment import Moment
from swarm_coordinator.plans import Fact, Finish, SoFar, Step, complete_params, find_scenario
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.primitives.catalogue import BY_NAME, ENTRIES
from swarm_coordinator.suites.primitives.tasks import measured
from swarm_metrics.primitives.cases import MODULES, cases_of

SUITE = SUITES["primitives"]
MOMENT = Moment(1_800_000_000_000_000_000, 1.0)
CATALOGUE = {
    "consensus_latency": (1, 3, 5, 10, 20),
    "agent_spawning": (4, 8, 16, 32),
    "conflict_detection": (5, 10, 20, 50),
    "configuration_analysis": (1, 5, 10, 20),
    "parallel_agents": (2, 4, 8, 16),
    "memory_overhead": (10, 50, 100, 200),
    "orchestration_throughput": (10, 50, 100),
    "pipeline_execution": (3, 6, 10, 15),
    "dependency_resolution": (2, 4, 6, 8),
    "concurrent_execution": (2, 5, 10, 20),
    "semaphore_coordination": (5, 10, 20, 50),
    "timeout_overhead": (10, 50, 100, 500),
    "artifact_conversion": (10, 50, 100, 200),
    "swarm_memory_allocation": (10, 50, 100, 200),
    "snapshot_reads": (10, 50, 100, 500, 1000),
    "snapshot_writes": (10, 50, 100, 200),
    "commutative_aggregation": (10, 50, 100, 500),
    "conditional_aggregation": (10, 50, 100, 200),
    "priority_scheduling": (10, 50, 100, 500, 1000),
    "scheduler_queue_depth": (100, 500, 1000, 5000),
    "proposal_conflicts": (10, 50, 100, 500),
    "proposal_merging": (2, 5, 10, 20),
    "scheduling_hint_sorting": (100, 500, 1000, 5000),
    "integrated": (1,),
}
"""The 24, as they are promised."""


def sofar(scenario: str, step: int = 0, results: Mapping[str, Fact] | None = None, **given: Any) -> SoFar:
    case = find_scenario(SUITE, scenario)
    return SoFar(
        scenario=case.name,
        params=complete_params(case, given),
        seed=42,
        step=step,
        results=results or {},
        elapsed_s=1.0,
    )


def steps(scenario: str, **given: Any) -> list[tuple[Task, ...]]:
    """Return all steps that a scenario plans."""
    found = []
    while isinstance(step := SUITE.plan(sofar(scenario, len(found), **given)), Step):
        found.append(step.tasks)
    return found


# --- what is planned ----------------------------------------------------------------------------------------


def test_all_24_scenarios_are_there_with_their_sizes() -> None:
    assert {entry.name: entry.sizes for entry in ENTRIES} == CATALOGUE
    assert [case.name for case in SUITE.scenarios] == ["all", *CATALOGUE]


def test_the_coordinator_plans_the_cases_that_metrics_has() -> None:
    planned = {entry.name: (entry.sizes, entry.variants) for entry in ENTRIES if entry.how == "case"}
    assert planned.keys() == MODULES.keys()
    for name, (sizes, variants) in planned.items():
        cases = cases_of(name)
        assert {case.variant for case in cases} == set(variants), name
        assert {case.sizes for case in cases} == {sizes}, name


def test_everything_is_measured_at_its_sizes_and_no_two_things_at_a_time() -> None:
    planned = steps("all")
    tasks = {task.id: task for step in planned for task in step}
    assert len(tasks) == sum(map(len, planned)), "no name is planned twice"
    wanted = {
        measured(entry, variant, size)
        for entry in ENTRIES
        for variant in entry.variants
        for size in entry.sizes
    }
    assert wanted <= tasks.keys()
    timed = {"measure", "measure_agents", "agree_live", "weigh_agents"}
    whole = [step for step in planned if any(task.id.startswith("whole-") for task in step)]
    for step in planned:
        if step not in whole:
            assert sum(task.kind in timed for task in step) <= 1
            assert len({task.kind for task in step}) == 1, "what is timed has no neighbours"


def test_a_curve_is_fitted_over_all_sizes_of_each_way() -> None:
    curves = {task.id: task.after for task in steps("proposal_conflicts")[-1]}
    assert curves == {
        f"curve-proposal_conflicts-{way}": tuple(
            f"proposal_conflicts-{way}-{size}" for size in (10, 50, 100, 500)
        )
        for way in ("hash", "all_pairs")
    }
    assert all(task.kind != "fit_curve" for step in steps("proposal_conflicts", sizes=[10]) for task in step)


def test_what_scatters_more_is_repeated_more_often() -> None:
    repeats = {
        task.params["variant"]: task.params["repeats"]
        for scenario in ("agent_spawning", "parallel_agents")
        for step in steps(scenario, repeats=2)
        for task in step
    }
    assert repeats == {"forked": 2, "warm": 20, "work": 6}


def test_sizes_and_repeats_are_the_users() -> None:
    kinds = [task.kind for step in steps("orchestration_throughput", sizes=[3], repeats=1) for task in step]
    assert kinds == ["noop"] * 9 + ["time_log"]
    (task,) = (task for step in steps("artifact_conversion", sizes=[7], samples=33) for task in step)
    assert (task.params["size"], task.params["settings"]["samples"]) == (7, 33)


@pytest.mark.parametrize(
    "scenario", ["orchestration_throughput", "pipeline_execution", "concurrent_execution", "integrated"]
)
def test_what_is_read_from_the_log_names_tasks_that_were_planned_and_ends_with_one_that_comes_later(
    scenario: str,
) -> None:
    planned = steps(scenario, repeats=2)
    at = {task.id: place for place, step in enumerate(planned) for task in step}
    timed = [task for step in planned for task in step if task.kind == "time_log"]
    assert timed
    for task in timed:
        assert len(task.params["parts"]) > task.params["skip"]
        for part in task.params["parts"]:
            end = part["until"] or task.id
            assert {at[each] for each in part["tasks"]} == {at[part["tasks"][0]]}
            assert end not in part["tasks"]
            assert at[end] >= at[part["tasks"][0]]
        assert all(pair[0] in at and pair[1] in at for pair in task.params.get("same", ()))


def test_a_pipeline_is_a_chain_as_long_as_its_size() -> None:
    tasks = steps("pipeline_execution", sizes=[6], repeats=1)[0]
    assert len(tasks) == 6 * 5
    assert [task.after for task in tasks] == [(), *((task.id,) for task in tasks[:-1])]


def test_swarms_at_once_are_the_same_swarms_as_alone() -> None:
    tasks = {task.id: task for step in steps("concurrent_execution", sizes=[5], repeats=1) for task in step}
    (timed,) = (task for task in tasks.values() if task.id == "concurrent_execution-together-5")
    for ours, theirs in timed.params["same"]:
        assert tasks[ours].params == tasks[theirs].params
    worlds = [tasks[f"alone-5-0-{swarm}"].params["first_seed"] for swarm in range(5)]
    assert len(set(worlds)) == 5, "each swarm is another"


def test_the_whole_has_something_of_every_scenario() -> None:
    tasks = steps("integrated", repeats=1)[0]
    assert {"noop", "exercise", "simulate", "weigh_agents", "agree_live", "measure_agents"} == {
        task.kind for task in tasks
    }
    exercised = {case[0] for task in tasks if task.kind == "exercise" for case in task.params["cases"]}
    assert exercised == MODULES.keys()


def test_exercised_cases_exist() -> None:
    for task in steps("integrated", repeats=1)[0]:
        for scenario, variant, _, _ in task.params.get("cases", ()):
            assert variant in {case.variant for case in cases_of(scenario)}, scenario


def test_every_target_is_about_a_metric_that_the_suite_has() -> None:
    finish = finished("all", *everything(), curve("proposal_conflicts", "hash"))
    names = {metric.name for metric in finish.metrics}
    for case in SUITE.scenarios:
        assert {target.metric for target in case.targets} <= names, case.name


def test_the_coordinator_needs_no_numpy_for_it() -> None:
    folder = Path(__file__).parents[3] / "services/coordinator/src/swarm_coordinator/suites/primitives"
    imported = {
        node.module or ""
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    }
    assert not {name for name in imported if name.startswith(("numpy", "scipy", "swarm_statistics"))}


def test_a_case_whose_check_fails_ends_the_run_and_nothing_is_measured_of_it() -> None:
    body = {"suite": "primitives", "scenario": "semaphore_coordination", "params": {"sizes": [5]}}
    log: list[Event] = []

    def record(data: Data) -> Event:
        new = new_event(
            data,
            run="run-1",
            source="/swarm/test/1",
            cause="c",
            handler="test",
            index=len(log),
            time_ns=MOMENT.now_ns,
        )
        log.append(msgspec.structs.replace(new, seq=len(log) + 1))
        return log[-1]

    state = evolve(
        RunState(run="run-1"), record(begin(Request(id="request-1", body=body), SUITES, MOMENT, "test"))
    )
    while scheduled := [data for data in decide(state, MOMENT, SUITES) if not isinstance(data, Failed)]:
        for data in scheduled:
            state = evolve(state, record(data))
        if isinstance(log[-1].data, TaskScheduled):
            wrong = MetricsTaskFailed(
                task=log[-1].data.task,
                attempt=1,
                error="TaskFailed",
                message="6 were inside at once",
                retryable=False,
            )
            state = evolve(state, record(wrong))
    (failed,) = decide(state, MOMENT, SUITES)
    assert isinstance(failed, Failed)
    assert "semaphore_coordination-5 failed" in failed.reason


# --- what came of it ----------------------------------------------------------------------------------------

HOST = Host(cpu="made", cores=2, system="Linux", python="CPython 3.11")


def result(
    scenario: str, size: int, values: Sequence[float], *, variant: str = "", kind: type[MeasuredData] = CaseMeasured,
    single: Sequence[float] = (), alone: Sequence[float] = (), weight: float | None = None,
) -> MeasuredData:  # fmt: skip
    name = ".".join(part for part in (scenario, "" if variant == "work" else variant, str(size)) if part)
    times = [(name, values), (f"{name}.single", single), (f"{name}.alone", alone)]
    samples = tuple(Samples(name=each, unit="us", values=tuple(found)) for each, found in times if found)
    if weight is not None:
        samples = (*samples, Samples(name=f"{name}.bytes", unit="bytes", values=(weight,)))
    return kind(
        task=measured(BY_NAME[scenario], variant, size),
        scenario=scenario,
        variant=variant,
        size=size,
        operation="one",
        checked={},
        samples=samples,
        timings=tuple(timing_of(one.name, one.values) for one in samples if one.unit == "us"),
        host=HOST,
        clock=Clock(cost_ns=40.0, resolution_ns=1.0),
        elapsed_s=1.0,
    )


def everything() -> list[MeasuredData]:
    """Return a result for whatever has a target."""
    return [
        result("agent_spawning", 8, [700.0] * 9, variant="warm", kind=AgentsMeasured),
        result("conflict_detection", 50, [300.0] * 200),
        result(
            "parallel_agents", 2, [100.0, 100.0], alone=[190.0, 198.0], variant="work", kind=AgentsMeasured
        ),
        result("memory_overhead", 100, [], weight=1.7e6, kind=Weighed),
        result("orchestration_throughput", 10, [20_000.0] * 10),
        result("orchestration_throughput", 100, [125_000.0] * 10),
        result("pipeline_execution", 6, [13_000.0] * 20),
        result("snapshot_reads", 1000, [0.1] * 20, single=[0.2] * 990 + [5.0] * 10),
        *(
            result("commutative_aggregation", 100, [4.0] * 200, variant=way)
            for way in ("sum", "bits", "union", "tally", "weigh")
        ),
        result("integrated", 1, [1e6, 1.02e6, 0.98e6, 1e6]),
    ]


def curve(scenario: str, variant: str = "", verdict: str = "kept") -> CurveFitted:
    name = "-".join(part for part in ("curve", scenario, variant) if part)
    return CurveFitted(
        task=name, scenario=scenario, variant=variant, growth="linear", sizes=(10, 50, 100),
        times_us=(1.0, 5.0, 10.0), exponent=1.02, low=0.98, high=1.06, model="linear", errors={},
        verdict=verdict, elapsed_s=0.1,
    )  # fmt: skip


def live(agents: int, votes: Sequence[Mapping[str, float]], us: Sequence[float]) -> dict[str, list[Data]]:
    from swarm_common.events import Array  # noqa: PLC0415
    from swarm_common.events.consensus import Measured as Agreed  # noqa: PLC0415

    decided: list[Data] = [
        Decided(
            task=f"consensus_latency-{agents}", mechanism="voting", agents=agents, fault="none", number=at, slot=at,
            value="yes", question="q", certificate={"votes": each}, latency_us=lasted, phases_us=(),
        )
        for at, (each, lasted) in enumerate(zip(votes, us, strict=True))
    ]  # fmt: skip
    done = Agreed(
        task=f"consensus_latency-{agents}", mechanism="voting", agents=agents, fault="none", inside=True, processes=1,
        asked=4, decisions=4, unanswered=0, latency_us=None, first_us=None, round_us=Array("<f4", (0,), b""),
        messages_a_decision=None, throughput_s=None, gap_us=None, agreement=1.0, violations=(), linearizable=None,
        history_operations=0, elapsed_s=1.0,
    )  # fmt: skip
    return {f"consensus_latency-{agents}": [*decided, done]}


def finished(scenario: str, *results: Data, **given: Any) -> Finish:
    told: dict[str, list[Data]] = {data.task: [data] for data in results}  # type: ignore[attr-defined]
    told |= live(10, [{"yes": 6.0, "no": 4.0}] * 100 + [{"yes": 10.0}] * 50, [900.0] * 100 + [9.0] * 50)
    facts = {
        task: tuple(Fact(f"event-{task}-{at}", data, "") for at, data in enumerate(each))
        for task, each in told.items()
    }
    asked = sofar(scenario, 10_000, {task: each[-1] for task, each in facts.items()}, **given)
    found = SUITE.plan(msgspec.structs.replace(asked, facts=facts))
    assert isinstance(found, Finish)
    return found


def test_targets_are_met_by_what_meets_them_and_by_nothing_slower() -> None:
    case = find_scenario(SUITE, "all")
    good = finished("all", *everything(), curve("proposal_conflicts", "hash"))
    assert [
        judge(target, good.metrics).metric for target in case.targets if not judge(target, good.metrics).met
    ] == []
    slow = [
        result("agent_spawning", 8, [51_000.0] * 9, variant="warm", kind=AgentsMeasured),
        result("conflict_detection", 50, [201_000.0] * 200),
        result(
            "parallel_agents", 2, [100.0, 100.0], alone=[150.0, 150.0], variant="work", kind=AgentsMeasured
        ),
        result("memory_overhead", 100, [], weight=10.1e6, kind=Weighed),
        result("orchestration_throughput", 10, [101_000.0] * 10),
        result("pipeline_execution", 6, [201_000.0] * 20),
        result("snapshot_reads", 1000, [0.1] * 20, single=[0.2] * 900 + [5.0] * 100),
        result("commutative_aggregation", 100, [11.0] * 200, variant="weigh"),
        result("integrated", 1, [1e6, 1.2e6, 0.8e6, 1e6]),
        curve("proposal_conflicts", "hash", "steeper"),
    ]
    bad = finished("all", *slow)
    missed = {
        judge(target, bad.metrics).metric for target in case.targets if not judge(target, bad.metrics).met
    }
    assert missed >= {
        "p50.agent_spawning.warm.8", "p50.conflict_detection.50", "parallel_efficiency", "bytes.memory_overhead.100",
        "orchestration_throughput", "p50.pipeline_execution.6", "p99.snapshot_reads.1000",
        "p50.commutative_aggregation.weigh.100", "variation", "steeper_than_promised",
    }  # fmt: skip


def values(finish: Finish) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in finish.metrics}


def test_decisions_count_where_the_agents_were_not_of_one_mind() -> None:
    found = values(finished("consensus_latency"))
    assert found["p50.consensus_latency.10"] == 900.0
    (row,) = finished("consensus_latency").result["primitives"]["rows"]
    assert (row["n"], row["size"]) == (100, 10)
    assert "100 of 150 divided them" in row["operation"]


def test_single_shots_give_the_99th_percentile_where_there_are_any() -> None:
    found = values(finished("snapshot_reads", *everything()))
    assert found["p50.snapshot_reads.1000"] == 0.1
    assert found["p99.snapshot_reads.1000"] == pytest.approx(0.248, abs=0.05)


def test_throughput_is_that_of_the_worst_size() -> None:
    found = values(finished("orchestration_throughput", *everything()))
    assert found["orchestration_throughput.10"] == pytest.approx(500.0)
    assert found["orchestration_throughput.100"] == pytest.approx(800.0)
    assert found["orchestration_throughput"] == pytest.approx(500.0)


def test_speed_up_is_of_pairs_and_efficiency_of_the_cores() -> None:
    found = {metric.name: metric for metric in finished("parallel_agents", *everything()).metrics}
    assert found["speed_up.2"].value == pytest.approx(1.94)
    assert (found["speed_up.2"].low, found["speed_up.2"].high) == pytest.approx((1.9, 1.98))
    assert found["parallel_efficiency"].value == pytest.approx(0.97)


def test_variation_has_an_interval_that_holds_it() -> None:
    found = {metric.name: metric for metric in finished("integrated", *everything()).metrics}["variation"]
    assert found.value == pytest.approx(0.0163, abs=0.001)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


def test_what_the_whole_did_on_its_way_is_no_row_of_its_own() -> None:
    inside = msgspec.structs.replace(
        result("memory_overhead", 10, [], weight=1e5, kind=Weighed), task="whole-0-weigh"
    )
    rows = finished("integrated", inside, result("integrated", 1, [1.0, 2.0, 3.0])).result["primitives"][
        "rows"
    ]
    assert {row["scenario"] for row in rows} == {"integrated", "consensus_latency"}


def test_a_curve_that_is_steeper_is_named() -> None:
    finish = finished("all", curve("proposal_conflicts", "hash"), curve("snapshot_writes", verdict="steeper"))
    (metric,) = (metric for metric in finish.metrics if metric.name == "steeper_than_promised")
    assert metric.value == 1
    assert "snapshot_writes" in metric.estimator
    assert values(finish)["exponent.snapshot_writes"] == 1.02


def test_every_figure_of_time_stays_out_of_the_digest() -> None:
    finish = finished("all", *everything(), curve("proposal_conflicts", "hash"))
    assert all(metric.timing for metric in finish.metrics)
