"""Do the runs of two sides meet what the tests assume? Words for each assumption that they break."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from swarm_cli.comparing_runs import Facts
from swarm_common import clock
from swarm_common.events import Host
from swarm_statistics.independence import Order, Orders, effective, orders

#: A check fails where shuffled runs look so only this often. Four checks look at all metrics together.
TOGETHER_P = 0.01 / 4
ALONE_P = 0.005
#: With fewer values a side, neither their order nor their spread tells anything.
FEWEST = 4
#: Sides whose machines were this differently busy (processes a core) are no like sides.
LOAD_APART = 1.0
#: Sides this far apart, and farther than each is long, are one session each, whatever they consist of.
SESSIONS_APART_S = 600.0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics by units, in the order of time: larger is worse."""

    names: tuple[str, ...]
    base: list[list[float]]
    head: list[list[float]]


def look_at_order(table: Table) -> tuple[dict[str, Order], Orders] | None:
    """Return how much order matters, for each metric and for all together; ``None`` where there is too little."""
    if not table.names or min(len(table.base[0]), len(table.head[0])) < FEWEST:
        return None
    found = orders([table.base, table.head])
    return dict(zip(table.names, found.alone, strict=True)), found


def order_words(alone: Mapping[str, Order], found: Orders) -> dict[str, tuple[str, ...]]:
    """Return what is wrong with the order, by metric; under the empty name what is wrong with all."""
    words: dict[str, tuple[str, ...]] = {}
    if len(alone) > 1:
        alike = min((found.mean, found.common), key=lambda order: order.alike_p)
        trend = min((found.mean, found.common), key=lambda order: order.trend_p)
        words[""] = _words(alike, trend, TOGETHER_P, "taken together")
    for name, order in alone.items():
        words[name] = _words(order, order, ALONE_P, "")
    return words


def _words(alike: Order, trend: Order, limit: float, of: str) -> tuple[str, ...]:
    of = f"{of}, " if of else ""
    found = []
    if alike.alike_p < limit:
        found.append(
            f"{of}runs resemble those just before them (correlation {alike.autocorrelation:.2f}, "
            f"p {alike.alike_p:.2g}): they are not independent; interleave"
        )
    if trend.trend_p < limit:
        found.append(
            f"{of}runs drift with time within the sides (correlation {trend.trend:.2f}, p {trend.trend_p:.2g}): "
            "the machine or the state of the services changes; interleave"
        )
    return tuple(found)


def certainty_of(order: Order, n: int) -> float:
    """Return the share of ``n`` values that count as independent."""
    return effective(n, order.autocorrelation) / n


def host_reasons(base: Sequence[Facts], head: Sequence[Facts]) -> tuple[str, ...]:
    """Return in what the machines of two sides differ, and whether they are known at all."""
    unknown = [
        name for name, side in (("base", base), ("head", head)) if any(run.host is None for run in side)
    ]
    if unknown:
        return (f"the log does not say which machine {' and '.join(unknown)} ran on",)
    sides = [[run.host for run in side if run.host is not None] for side in (base, head)]
    found = []
    for what, read in _MACHINE.items():
        here, there = ({read(host) for host in side} for side in sides)
        if here != there or len(here) > 1:
            found.append(f"machines differ: {what} {_listed(here)} and {_listed(there)}")
    loads = [[host.load for host in side if host.load is not None] for side in sides]
    if all(loads):
        apart = [statistics.median(side) for side in loads]
        if abs(apart[0] - apart[1]) > LOAD_APART:
            found.append(
                f"the machine was not as busy: {apart[0]:.2g} processes a core in base, {apart[1]:.2g} in head"
            )
    return tuple(found)


def apart_reasons(base: Sequence[Facts], head: Sequence[Facts]) -> tuple[str, ...]:
    """Return that the sides are two sessions with a pause between: what the machine was like in each is one value."""
    spans = [_span(side) for side in (base, head)]
    if None in spans:
        return ()
    (first, second) = sorted(span for span in spans if span is not None)
    gap_s = (second[0] - first[1]) / 1e9
    longer_s = max(end - start for start, end in (first, second)) / 1e9
    if gap_s <= max(longer_s, SESSIONS_APART_S):
        return ()
    words = f"the sides lie {_duration(gap_s)} apart, each within {_duration(longer_s)}"
    return (f"{words}: what the machine was like in each is one value; interleave, or compare many sessions",)


def _span(runs: Sequence[Facts]) -> tuple[int, int] | None:
    """Return when the first and the last run began, in nanoseconds; ``None`` where the log does not say."""
    try:
        times = [clock.parse_ns(run.started) for run in runs]
    except ValueError:
        return None
    return min(times), max(times)


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _versions(host: Host) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()))


_MACHINE = {
    "processor": lambda host: host.cpu,
    "cores": lambda host: str(host.cores),
    "memory": lambda host: f"{host.memory / 2**30:.0f} GiB",
    "system": lambda host: host.system,
    "Python": lambda host: host.python,
    "versions": _versions,
}


def _listed(values: set[str]) -> str:
    return " / ".join(sorted(value or "unknown" for value in values))
