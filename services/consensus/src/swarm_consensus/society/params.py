"""What tasks about societies can ask for, checked before numpy is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_common.errors import UsageError
from swarm_consensus.protocols import MECHANISMS

WORLDS = ("condorcet", "experts", "adversaries")
WAYS = ("push", "pull", "push_pull")
#: By phenomenon: the parameters that it alone has.
_OF_PHENOMENON: Mapping[str, tuple[str, ...]] = {
    "specialisation": ("learning", "jobs"),
    "cascades": ("accuracy",),
}
PHENOMENA = tuple(_OF_PHENOMENON)
#: Each repetition is held against each of the null model, so work and memory grow with the square.
MOST_REPETITIONS = 2000


class JudgeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Which swarm decides what; see :mod:`swarm_consensus.society.quality`."""

    mechanism: str
    agents: int = 10
    world: str = "condorcet"
    trials: int = 1000
    competence: float = 0.6
    """How often an honest agent is right: all of ``condorcet``, and those of ``adversaries`` that mean well."""
    earlier: int = 100
    """Questions before the first trial whose truth has come out: the track record that weights are made of."""


class SpreadParams(msgspec.Struct, frozen=True, kw_only=True):
    """How a fact is passed on; see :mod:`swarm_consensus.society.gossip`."""

    way: str = "push"
    agents: int = 100
    repetitions: int = 100
    loss: float = 0.0
    """Share of messages lost."""


class EmergeParams(msgspec.Struct, frozen=True, kw_only=True):
    """What may emerge: see :mod:`~swarm_consensus.society.specialisation`, :mod:`~swarm_consensus.society.cascades`."""

    phenomenon: str
    agents: int = 20
    repetitions: int = 200
    learning: float = 1.0
    """Of ``specialisation``: how fast thresholds follow what an agent does, in multiples of the usual; 0: not."""
    jobs: int = 2
    """Of ``specialisation``: how many kinds of work there are."""
    accuracy: float = 0.7
    """Of ``cascades``: how often a private signal is right."""


def judge_params(given: Mapping[str, Any]) -> JudgeParams:
    """Return the parameters of a task of kind ``judge``; raises :class:`UsageError` for any that is not one."""
    usual = JudgeParams(mechanism="voting")
    _no_others(given, JudgeParams.__struct_fields__, "judge")
    return JudgeParams(
        mechanism=_one_of(given, "mechanism", None, tuple(MECHANISMS)),
        agents=_whole(given, "agents", usual.agents, 3, 100),
        world=_one_of(given, "world", usual.world, WORLDS),
        trials=_whole(given, "trials", usual.trials, 1, 1_000_000),
        competence=_number(given, "competence", usual.competence, 0.0, 1.0),
        earlier=_whole(given, "earlier", usual.earlier, 1, 10_000),
    )


def spread_params(given: Mapping[str, Any]) -> SpreadParams:
    """Return the parameters of a task of kind ``spread``; raises :class:`UsageError` for any that is not one."""
    usual = SpreadParams()
    _no_others(given, SpreadParams.__struct_fields__, "spread")
    return SpreadParams(
        way=_one_of(given, "way", usual.way, WAYS),
        agents=_whole(given, "agents", usual.agents, 2, 10_000),
        repetitions=_whole(given, "repetitions", usual.repetitions, 1, 10_000),
        loss=_number(given, "loss", usual.loss, 0.0, 0.9),
    )


def emerge_params(given: Mapping[str, Any]) -> EmergeParams:
    """Return the parameters of a task of kind ``emerge``; raises :class:`UsageError` for any that is not one."""
    phenomenon = _one_of(given, "phenomenon", None, PHENOMENA)
    known = ("phenomenon", "agents", "repetitions", *_OF_PHENOMENON[phenomenon])
    _no_others(given, known, phenomenon)
    usual = EmergeParams(phenomenon=phenomenon)
    return EmergeParams(
        phenomenon=phenomenon,
        agents=_whole(given, "agents", usual.agents, 2, 1000),
        repetitions=_whole(given, "repetitions", usual.repetitions, 2, MOST_REPETITIONS),
        learning=_number(given, "learning", usual.learning, 0.0, 100.0),
        jobs=_whole(given, "jobs", usual.jobs, 2, 20),
        # At one half a signal says nothing, at one the first agent knows: there is nothing to follow or to learn.
        accuracy=_number(given, "accuracy", usual.accuracy, 0.51, 0.99),
    )


def _no_others(given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        allowed = ", ".join(known)
        raise UsageError(
            f"{what} has no parameter {unknown[0]!r}; it has {allowed}",
            field=f"params.{unknown[0]}",
            given=str(given[unknown[0]]),
            allowed=allowed,
        )


def _one_of(given: Mapping[str, Any], name: str, usual: str | None, names: tuple[str, ...]) -> str:
    value = given.get(name, usual)
    if not isinstance(value, str) or value not in names:
        raise _refused(name, value, "one of " + ", ".join(names))
    return value


def _whole(given: Mapping[str, Any], name: str, usual: int, least: int, most: int) -> int:
    value = given.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _refused(name, value, f"a whole number from {least} to {most}")
    return value


def _number(given: Mapping[str, Any], name: str, usual: float, least: float, most: float) -> float:
    value = given.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _refused(name, value, f"a number from {least:g} to {most:g}")
    return float(value)


def _refused(name: str, given: Any, allowed: str) -> UsageError:
    what = f"is {given!r}" if given is not None else "is missing"
    return UsageError(
        f"params.{name} {what}; allowed is {allowed}",
        field=f"params.{name}",
        given=str(given),
        allowed=allowed,
    )
