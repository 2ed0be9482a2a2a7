"""Scenario ``strategies``: every strategy on the same questions in one mode, and ``auto`` beside the best fixed one."""

from __future__ import annotations

from swarm_common.events import Metric
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.coordination import params as shared
from swarm_coordinator.suites.coordination.arms import Arm, Setup, questions_of, warm_up
from swarm_coordinator.suites.coordination.comparing import finish, step
from swarm_coordinator.suites.coordination.data import AUTO, chosen, strategy_of
from swarm_coordinator.suites.coordination.intervals import difference
from swarm_coordinator.suites.coordination.measures import measure
from swarm_coordinator.suites.coordination.modes import MODES
from swarm_coordinator.suites.coordination.params import posed_of
from swarm_coordinator.suites.coordination.scenarios.modes import one_mode


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the questions, one agent alone, then strategy after strategy."""
    setup = shared.setup_of(sofar)
    arms = _arms(setup)
    if sofar.step == 0:
        return Step(tasks=(shared.pose(sofar), warm_up(setup)))
    alone = shared.alone(setup, range(setup.params["items"]), setup.params["roles"])
    if (next_step := step([alone, *arms], setup, sofar)) is not None:
        return next_step
    metrics, verdicts = _auto(arms, setup, sofar)
    return finish([*arms, alone], sofar, alone=alone, metrics=metrics, verdicts=verdicts)


def _arms(setup: Setup) -> list[Arm]:
    params = setup.params
    shared.check_agents(MODES[params["mode"]], params["agents"])
    names = dict.fromkeys(params["strategies"] or [AUTO, *setup.book.strategies])
    for name in names:
        if name != AUTO:
            strategy_of(setup.book, name)
    questions = range(params["items"])
    return [one_mode(setup, name, params["mode"], name, params["roles"], questions) for name in names]


def _auto(arms: list[Arm], setup: Setup, sofar: SoFar) -> tuple[list[Metric], list[str]]:
    """Return how ``auto``'s choice did beside the best fixed strategy, which is known only afterwards."""
    found = {arm.name: measure(arm, sofar) for arm in arms}
    auto = found.pop(AUTO, None)
    if auto is None or not found:
        return [], []
    best = max(found.values(), key=lambda one: (one.quality, -one.tokens))
    gap = difference(auto.scores, best.scores, sofar.seed, "auto/best")
    taken = list(
        dict.fromkeys(chosen(setup.book, AUTO, question.shape) for question in questions_of(posed_of(sofar)))
    )
    metric = Metric(
        name="auto_minus_best",
        value=gap.value,
        unit="ratio",
        n=auto.n,
        low=gap.low,
        high=gap.high,
        estimator=f"{gap.how}; the best fixed strategy, known only afterwards, is {best.name}",
        source=(auto.source, best.source),
    )
    told = (
        f"auto took {', '.join(taken)}: {auto.quality:.2f}, beside {best.quality:.2f} of {best.name}, the best fixed "
        f"one ({gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}])."
    )
    return [metric], [told]


SCENARIO = Scenario(
    name="strategies",
    description="Every strategy on the same questions in one mode; auto's choice beside the best fixed one",
    params=(
        Param(
            name="strategies",
            type="list",
            default=[],
            description="which strategies run; none named: auto and all there are",
        ),
        shared.mode_param("centralized"),
        shared.roles_param(),
        *shared.common(family="split_evidence", items=12),
    ),
    targets=shared.TARGETS,
    timeout_s=3600.0,
    timed_by=shared.TIMED_BY,
    timed_with=shared.OUTSIDERS,
    settled_by="recording",
)
