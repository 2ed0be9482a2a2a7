"""A B A B in fresh processes: pairs whose order a seeded coin decides, so that what drifts falls on both arms alike.

Independence is made here and not assumed: whichever of the two would be the slower because of its moment, the coin has
given it that moment. The test of the pairs needs nothing else (Fisher 1935, chapter 2).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec

from swarm_cli.comparing_runs import Facts
from swarm_cli.exporting import writing
from swarm_common.errors import InvalidEvent, NotFound
from swarm_common.events import Host

FORMAT = "swarm-pairs/1"
Name = Literal["base", "head"]
NAMES: tuple[Name, Name] = ("base", "head")


class Arm(Protocol):
    """One of the two: what it is called, and how it runs once."""

    label: str

    def run(self) -> Facts:
        """Run in fresh processes and return what came of it; raises :class:`SwarmError` where nothing did."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms, one right after the other."""

    first: Name
    base: Facts
    head: Facts


class Pairs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an interleaved comparison measured: ``swarm compare FILE`` reads it again."""

    format: str
    base: str
    """What the arm was: a commit, a command."""
    head: str
    seed: int
    looks: Annotated[int, msgspec.Meta(ge=1)] = 1
    """How often they could have been judged, as it was fixed beforehand."""
    host: Host | None = None
    pairs: tuple[Pair, ...]


def order_of(pairs: int, seed: int) -> list[Name]:
    """Return which arm goes first in each pair: a coin for each, from the seed."""
    coin = random.Random(f"{seed}/interleave")  # noqa: S311 - seeded, nothing secret
    return [coin.choice(NAMES) for _ in range(pairs)]


def looks_at(pairs: int, most: int) -> list[int]:
    """Return after how many pairs to look: twice as many each time, the last time at ``most``."""
    found = [pairs]
    while found[-1] < most:
        found.append(min(most, 2 * found[-1]))
    return found


def interleave(
    arms: tuple[Arm, Arm],
    looks: Sequence[int],
    seed: int,
    *,
    say: Callable[[str], None],
    host: Host | None = None,
    warmed: Callable[[Sequence[Facts]], None] = lambda _: None,
    decided: Callable[[Pairs], bool] = lambda _: False,
) -> Pairs:
    """Run both arms once for nothing (bytecode is compiled, files are read), then pairs until one of ``looks`` decides.

    ``looks`` are numbers of pairs, rising; at each of them but the last ``decided`` is asked whether that is enough.
    ``warmed`` sees what the first runs measured, and may refuse it.
    """
    by_name = dict(zip(NAMES, arms, strict=True))
    most = looks[-1]
    first_runs = []
    for name, arm in by_name.items():
        say(f"warming up {name}: {arm.label}")
        first_runs.append(arm.run())
    warmed(first_runs)
    done: list[Pair] = []

    def so_far() -> Pairs:
        return Pairs(
            format=FORMAT,
            base=arms[0].label,
            head=arms[1].label,
            seed=seed,
            looks=len(looks),
            host=host,
            pairs=tuple(done),
        )

    for number, first in enumerate(order_of(most, seed), 1):
        found = {name: by_name[name].run() for name in sorted(NAMES, key=lambda name: name != first)}
        done.append(Pair(first=first, base=found["base"], head=found["head"]))
        say(f"pair {number} of {most}: {_words(found['base'], found['head'])}")
        if number in looks[:-1]:
            if decided(so_far()):
                break
            say(f"after {number} pairs it is open: going on to {looks[looks.index(number) + 1]}")
    return so_far()


def _words(base: Facts, head: Facts) -> str:
    """Return the first metric of time, side by side."""
    values = {one.name: one for one in head.metrics}
    for one in base.metrics:
        other = values.get(one.name)
        if one.timing and one.value is not None and other is not None and other.value is not None:
            return f"{one.name} {one.value:.4g} and {other.value:.4g} {one.unit}"
    return "done"


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write the pairs to a file that appears once it is whole."""
    with writing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(pairs), indent=1) + b"\n")


def is_pairs(path: Path) -> bool:
    """Say whether a file calls itself one of pairs."""
    try:
        with path.open("rb") as stream:
            return FORMAT.encode() in stream.read(200)
    except OSError:
        return False


def read_pairs(path: Path) -> Pairs:
    """Return the pairs of a file; raises :class:`InvalidEvent` where it holds none."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Pairs)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"{path} is no file of pairs: {error}", field="file", given=str(path)) from None
    if found.format != FORMAT or not found.pairs:
        raise InvalidEvent(
            f"{path} holds no pairs of the format {FORMAT}",
            field="format",
            given=found.format,
            allowed=FORMAT,
        )
    return found


def sides(pairs: Pairs) -> tuple[Sequence[Facts], Sequence[Facts]]:
    """Return the runs of both arms."""
    return [pair.base for pair in pairs.pairs], [pair.head for pair in pairs.pairs]


def described(pairs: Pairs) -> dict[str, Any]:
    """Return what a document says of the pairs beside the comparison; how often they were looked at, it says itself."""
    return {"base": pairs.base, "head": pairs.head, "seed": pairs.seed, "pairs": len(pairs.pairs)}
