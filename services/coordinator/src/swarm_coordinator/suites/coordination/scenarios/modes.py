"""Scenario ``modes``: the same questions to every mode, beside one agent asked once and asked as often as they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_common.events import Target
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step
from swarm_coordinator.suites.coordination import params as shared
from swarm_coordinator.suites.coordination.arms import Arm, Setup, warm_up
from swarm_coordinator.suites.coordination.comparing import finish, samples_for, step
from swarm_coordinator.suites.coordination.modes import MODES


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the questions, then mode after mode, then one agent: once, and for the tokens that the modes spent."""
    setup = shared.setup_of(sofar)
    arms = arms_of(setup)
    if sofar.step == 0:
        return Step(tasks=(shared.pose(sofar), warm_up(setup)))
    alone = shared.alone(setup, _all(setup), setup.params["roles"])
    if (next_step := step([alone, *arms], setup, sofar)) is not None:
        return next_step
    samples = samples_for(arms, alone, sofar)
    budget = shared.alone(setup, _all(setup), setup.params["roles"], samples)
    if (next_step := step([alone, *arms, budget], setup, sofar)) is not None:
        return next_step
    return finish([*arms, alone, budget], sofar, alone=alone, budget=budget)


def arms_of(setup: Setup) -> list[Arm]:
    """Return an arm for each mode that is named."""
    params = setup.params
    found = []
    for name in dict.fromkeys(params["modes"]):
        shared.check_agents(MODES[name], params["agents"])
        found.append(one_mode(setup, name, name, params["strategy"], params["roles"], _all(setup)))
    return found


def one_mode(
    setup: Setup, name: str, mode: str, strategy: str, roles: Sequence[str], questions: Sequence[int]
) -> Arm:
    """Return an arm: ``agents`` in a mode, with a strategy and these roles."""
    params: Any = setup.params
    return Arm(
        name=name,
        mode=MODES[mode],
        agents=params["agents"],
        strategy=strategy,
        cast=shared.cast(setup.book, roles),
        questions=tuple(questions),
        temperature=params["temperature"],
    )


def _all(setup: Setup) -> range:
    return range(setup.params["items"])


SCENARIO = Scenario(
    name="modes",
    description="Five ways to coordinate on the same questions, beside one agent alone and one with the same tokens",
    params=(
        Param(
            name="modes",
            type="list",
            default=list(MODES),
            choices=tuple(MODES),
            description="which modes run",
        ),
        shared.strategy_param(),
        shared.roles_param(),
        Param(
            name="spread",
            type="float",
            default=0.7,
            low=0.0,
            high=2.0,
            description="temperature of the one agent that is asked as often as the modes' tokens allow",
        ),
        *shared.common(family="split_evidence", items=12),
    ),
    targets=(*shared.TARGETS, Target(metric="seconds", op="<=", target=300)),
    timeout_s=3600.0,
    timed_by=shared.TIMED_BY,
    timed_with=shared.OUTSIDERS,
    settled_by="recording",
)
