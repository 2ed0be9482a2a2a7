"""Scenario ``votes``: differently instructed agents who never speak together, and what most of them say."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import msgspec

from swarm_common.events import Metric, Task
from swarm_common.events.agent import Graded
from swarm_coordinator.plans import Finish, Scenario, SoFar, Step
from swarm_coordinator.suites.coordination import params as shared
from swarm_coordinator.suites.coordination.arms import Arm, Setup, grade, task_id, warm_up
from swarm_coordinator.suites.coordination.comparing import finish, step
from swarm_coordinator.suites.coordination.data import Role, Strategy, role_of
from swarm_coordinator.suites.coordination.intervals import difference, share
from swarm_coordinator.suites.coordination.modes import ALONE
from swarm_coordinator.suites.coordination.talk import Question, Talk

_ROLES = ("batch-executor", "coder", "researcher", "analyzer", "designer", "innovator", "security-reviewer")


def plan(sofar: SoFar) -> Step | Finish:
    """Plan the questions, one agent without any role, the members, each member's grades, then the vote."""
    setup = shared.setup_of(sofar)
    if sofar.step == 0:
        return Step(tasks=(shared.pose(sofar), warm_up(setup)))
    greedy, members = _greedy(setup), _members(setup)
    if (next_step := step([greedy, members], setup, sofar)) is not None:
        return next_step
    grades = tuple(_grades(members, sofar))
    if grades[0].id not in sofar.planned:
        return Step(tasks=grades)
    metrics, verdicts, table = _told(members, greedy, grades, sofar)
    return finish(
        [members, greedy], sofar, alone=greedy, metrics=metrics, verdicts=verdicts, more={"members": table}
    )


def _greedy(setup: Setup) -> Arm:
    """Return an arm of one agent without any role: the usual one would be a member's, and say what that says."""
    found = shared.alone(setup, range(setup.params["items"]), ())
    nobody = ("agent", Role(description="Nobody in particular", instructions=""))
    return msgspec.structs.replace(found, cast=msgspec.structs.replace(found.cast, work=(nobody,)))


def _members(setup: Setup) -> Arm:
    """Return an arm of one agent a role: whatever its usual seat, here each answers."""
    names = list(dict.fromkeys(setup.params["roles"]))
    cast = shared.cast(setup.book, ())
    work = tuple((name, role_of(setup.book, name)) for name in names)
    return Arm(
        name="votes",
        mode=ALONE,
        agents=len(names),
        strategy="analysis",
        cast=msgspec.structs.replace(cast, work=work),
        questions=tuple(range(setup.params["items"])),
        temperature=setup.params["temperature"],
    )


def _grades(members: Arm, sofar: SoFar) -> Iterator[Task]:
    """Return the tasks that grade each member by itself."""
    for number, agent in enumerate(members.team.agents):
        answers = {
            str(index): task_id(members, index, turn)
            for index in members.questions
            for turn in _turns(members, index, agent)
        }
        yield grade(members, answers, sofar, f"{members.name}-{number}-grade")


def _turns(members: Arm, index: int, agent: str) -> list[str]:
    """Return the turns of one agent on a question, as the mode names them."""
    talk = Talk(
        question=Question(index=index),
        team=members.team,
        strategy=Strategy(description=""),
        said=lambda _: None,
    )
    say = members.mode.next(talk)
    return [turn.name for turn in say if turn.agent == agent] if isinstance(say, tuple) else []


def _told(
    members: Arm, greedy: Arm, grades: tuple[Task, ...], sofar: SoFar
) -> tuple[list[Metric], list[str], list[dict[str, object]]]:
    scores = [_scores(sofar, task.id) for task in grades]
    names = [name for name, _ in members.cast.work]
    table: list[dict[str, object]] = []
    for name, one in zip(names, scores, strict=True):
        quality = share(one, sofar.seed, f"votes/{name}")
        table.append({"role": name, "quality": quality.value, "low": quality.low, "high": quality.high})
    most = _scores(sofar, members.grade)
    mean = [statistics.fmean(column) for column in zip(*scores, strict=True)]
    best = max(range(len(scores)), key=lambda at: (sum(scores[at]), -at))
    source = tuple(sofar.results[name].event for name in (members.grade, *(task.id for task in grades)))
    metrics, told = [], []
    for metric, what, theirs in (
        ("votes_minus_mean", "the mean member", mean),
        ("votes_minus_best", f"the best member ({names[best]}, known only afterwards)", scores[best]),
        ("votes_minus_greedy", "one agent without a role", _scores(sofar, greedy.grade)),
    ):
        gap = difference(most, theirs, sofar.seed, metric)
        metrics.append(
            Metric(
                name=metric,
                value=gap.value,
                unit="ratio",
                n=len(most),
                low=gap.low,
                high=gap.high,
                estimator=f"majority minus {what}: {gap.how}",
                source=source,
            )
        )
        told.append(f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] over {what}")
    head = f"majority of {len(names)} roles: {statistics.fmean(most):.2f} on {len(most)} questions"
    return metrics, [f"{head}, {', '.join(told)}."], table


def _scores(sofar: SoFar, name: str) -> list[float]:
    data = sofar.results[name].data
    assert isinstance(data, Graded)  # noqa: S101 - what concludes a task of kind grade
    return [one.score for one in data.grades]


SCENARIO = Scenario(
    name="votes",
    description="Differently instructed agents and their majority, beside mean member, best member and one agent alone",
    params=(
        shared.roles_param(_ROLES, "the members' roles, one agent each"),
        *(
            one
            for one in shared.common(family="sentiment", items=60)
            if one.name not in {"agents", "join", "rounds"}
        ),
    ),
    targets=shared.TARGETS,
    timeout_s=3600.0,
    timed_by=shared.TIMED_BY,
    timed_with=shared.OUTSIDERS,
    settled_by="recording",
)
