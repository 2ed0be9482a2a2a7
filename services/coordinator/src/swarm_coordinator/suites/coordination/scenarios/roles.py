"""Scenario ``roles``: every role in its seat, on the same questions in one mode with one strategy."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.coordination import params as shared
from swarm_coordinator.suites.coordination.arms import Arm, Setup, warm_up
from swarm_coordinator.suites.coordination.comparing import finish, step
from swarm_coordinator.suites.coordination.measures import Measured
from swarm_coordinator.suites.coordination.modes import MODES
from swarm_coordinator.suites.coordination.scenarios.modes import one_mode


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the questions, one agent alone, then role after role."""
    setup = shared.setup_of(sofar)
    arms = _arms(setup)
    if sofar.step == 0:
        return Step(tasks=(shared.pose(sofar), warm_up(setup)))
    alone = shared.alone(setup, range(setup.params["items"]), ())
    if (next_step := step([alone, *arms], setup, sofar)) is not None:
        return next_step
    done = finish([*arms, alone], sofar, alone=alone)
    done.result["coordination"]["verdicts"] = [told(measured(done, alone.name))]
    return done


def measured(done: Finish, besides: str) -> list[Measured]:
    """Return the figures of all arms but one."""
    found = msgspec.convert(done.result["coordination"]["arms"], list[Measured])
    return [one for one in found if one.name != besides]


def told(found: Sequence[Measured]) -> str:
    """Return which roles differ from one agent alone, and how many would by chance: so many intervals are not one."""
    questions = found[0].n
    by = [
        f"{one.name} by {one.gain:+.2f} [{one.gain_low:+.2f}, {one.gain_high:+.2f}]"
        for one in found
        if one.gain_low is not None and one.gain_high is not None and not one.gain_low <= 0 <= one.gain_high
    ]
    head = f"Of {len(found)} roles on {questions} questions "
    if not by:
        return f"{head}none differs from one agent alone beyond its interval."
    return (
        f"{head}these differ from one agent alone beyond their interval: {'; '.join(by)}. "
        f"Of {len(found)} intervals of 95 %, {0.05 * len(found):.1f} are expected to do so by chance."
    )


def _arms(setup: Setup) -> list[Arm]:
    params = setup.params
    shared.check_agents(MODES[params["mode"]], params["agents"])
    names = dict.fromkeys(params["roles"] or setup.book.roles)
    questions = range(params["items"])
    return [one_mode(setup, name, params["mode"], params["strategy"], [name], questions) for name in names]


SCENARIO = Scenario(
    name="roles",
    description="Every role in its seat, the others as usual, on the same questions",
    params=(
        shared.roles_param(description="which roles run, one after another; none named: all there are"),
        shared.mode_param("centralized"),
        shared.strategy_param("development"),
        *shared.common(family="split_evidence", items=6, agents=4),
    ),
    targets=shared.TARGETS,
    timeout_s=7200.0,
    timed_by=shared.TIMED_BY,
    timed_with=shared.OUTSIDERS,
    settled_by="recording",
)
