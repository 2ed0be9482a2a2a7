"""What tasks can ask for, checked before numpy is needed. What a strategy would not heed is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from swarm_common.errors import UsageError

#: Parameters of ``combine`` that belong to one strategy.
_OF_STRATEGY: Mapping[str, tuple[str, ...]] = {"greedy": ("picks",), "best": ("picks",)}
_MOST_PICKS = 1000


class CombineParams(msgspec.Struct, frozen=True, kw_only=True):
    """How to combine."""

    strategy: str = "weighted"
    picks: int = 20
    """Of ``greedy`` (and of ``best``, which considers it): how many members are picked, with replacement."""


class AdaptParams(msgspec.Struct, frozen=True, kw_only=True):
    """How to follow a stream; see :func:`swarm_consensus.adapting.adapt`."""

    block: int = 50
    """Rows that are predicted before their truth is seen."""
    rate: float = 5.0
    """How fast weights follow losses; 0 leaves them where they are."""
    share: float = 0.05
    """What of its weight a member hands to the others after each block; 0 is plain exponential weights."""


def combine_params(given: Mapping[str, Any]) -> CombineParams:
    """Return the parameters of a task of kind ``combine``; raises :class:`UsageError` for any that is not one."""
    strategy = given.get("strategy", "weighted")
    if not isinstance(strategy, str):
        raise _refused("strategy", strategy, "the name of a strategy")
    known = ("strategy", *_OF_STRATEGY.get(strategy, ()))
    _no_others(given, known, f"strategy {strategy}")
    return CombineParams(strategy=strategy, picks=_whole(given, "picks", CombineParams().picks, _MOST_PICKS))


def adapt_params(given: Mapping[str, Any]) -> AdaptParams:
    """Return the parameters of a task of kind ``adapt``; raises :class:`UsageError` for any that is not one."""
    _no_others(given, AdaptParams.__struct_fields__, "adapt")
    usual = AdaptParams()
    return AdaptParams(
        block=_whole(given, "block", usual.block, None),
        rate=_number(given, "rate", usual.rate, math.inf),
        share=_number(given, "share", usual.share, 1.0),
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


def _whole(given: Mapping[str, Any], name: str, usual: int, most: int | None) -> int:
    value = given.get(name, usual)
    allowed = "a whole number from 1" + (f" to {most}" if most else " on")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most and value > most):
        raise _refused(name, value, allowed)
    return value


def _number(given: Mapping[str, Any], name: str, usual: float, below: float) -> float:
    value = given.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        raise _refused(
            name, value, "a number from 0 " + ("on" if below == math.inf else f"to below {below:g}")
        )
    return float(value)


def _refused(name: str, given: Any, allowed: str) -> UsageError:
    return UsageError(
        f"params.{name} is {given!r}; allowed is {allowed}",
        field=f"params.{name}",
        given=str(given),
        allowed=allowed,
    )
