"""A budget that is spent: the run ends with what was done, and says so."""

from __future__ import annotations

import pytest

from support.talks import play
from swarm_common.events.agent import Acted, Graded
from swarm_common.events.benchmark import Completed
from swarm_common.runs import RunView, fold

SIX = {"items": 6, "agents": 4, "modes": ["centralized", "mesh"], "family": "split_evidence"}


def ended(
    scenario: str, params: dict[str, object], budget: int, order: int = 0
) -> tuple[RunView, list[Graded]]:
    log = play(scenario, params, lambda *_: "positive", budget=budget, order=order)
    (end,) = [one.data for one in log if isinstance(one.data, Completed)]
    assert end.stopped == "nothing is left"
    acted = [one.data for one in log if isinstance(one.data, Acted)]
    assert sum(said.trouble is None for said in acted) == budget
    # Turns that were under way find it spent, too; no further ones are begun.
    assert sum(said.trouble is not None for said in acted) <= 6
    return fold("run-1", log), [one.data for one in log if isinstance(one.data, Graded)]


@pytest.mark.parametrize("order", range(3))
def test_arms_that_were_done_are_reported_and_the_one_under_way_by_its_answered_questions(order: int) -> None:
    view, graded = ended("modes", SIX, 1 + 6 + 20, order)
    assert (view.status, view.stopped, view.good) == ("completed", True, False)
    arms = {arm["name"]: arm for arm in view.result["coordination"]["arms"]}
    assert list(arms) == ["alone", "centralized"]  # mesh was not begun
    assert arms["alone"]["n"] == 6
    assert 0 < arms["centralized"]["n"] < 6
    assert arms["centralized"]["gain"] is not None
    assert [len(one.grades) for one in graded] == [6, arms["centralized"]["n"]]
    metrics = {metric.name: metric for metric in view.metrics}
    assert metrics["stopped"].value == 1
    assert "after 2 arms, the last in part: nothing is left" in metrics["stopped"].estimator
    assert view.result["coordination"]["verdicts"][0] == "Only a part was done: nothing is left."


def test_a_budget_that_is_spent_on_the_first_turn_leaves_nothing_to_report() -> None:
    view, graded = ended("modes", SIX, 0)
    assert (view.result["coordination"]["arms"], graded) == ([], [])
    assert view.stopped


@pytest.mark.parametrize("scenario", ["strategies", "roles", "grid", "votes"])
def test_every_scenario_ends_so(scenario: str) -> None:
    view, _ = ended(scenario, {"items": 4, "family": "split_evidence"}, 30)
    arms = view.result["coordination"]["arms"]
    assert arms[0]["n"] == 4
    assert next(metric for metric in view.metrics if metric.name == "quality.alone").n == 4
