"""What metrics knows, as typed answers: runs, metrics over runs, single samples and what they come to.

:class:`swarm_common.client.Client` has these methods. Lists are read page by page, to their end or to
``limit``. Times are RFC 3339 and select runs by when they began; a filter that is empty selects everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_common.events.values import Better

T = TypeVar("T")
_PAGE = 1000
_VALUES = 10_000
#: How long a view that reads the log is waited for.
PATIENCE_S = 5.0
_LOOK_S = 0.1


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list."""

    run: str
    suite: str
    scenario: str
    session: str
    status: str
    """``running``, ``completed``, ``failed``, ``cancelled``, ``rejected``."""
    seed: int | None
    trace: str
    started: str
    ended: str | None
    duration_s: float | None
    tasks: int | None
    digest: str | None
    reason: str
    main: dict[str, Any] | None = None
    """Name, value, unit and interval of the run's main metric."""
    progress: dict[str, int] | None = None
    """Of a run that goes on: how many tasks are ``scheduled`` and ``done``."""


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session in the list of sessions."""

    session: str
    runs: int
    statuses: dict[str, int]
    """How many runs have which status."""
    suites: tuple[str, ...]
    first: str
    """When its first run began."""
    last: str


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of a run, as ``benchmark.completed`` tells it."""

    run: str
    place: int
    """In the list of the run's metrics."""
    suite: str
    scenario: str
    session: str
    started: str
    name: str
    value: float | None
    unit: str
    better: Better
    n: int | None
    low: float | None
    high: float | None
    estimator: str
    timing: bool
    source: tuple[str, ...]
    reason: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run's value of a metric, in the metric's history."""

    run: str
    suite: str
    scenario: str
    session: str
    seed: int | None
    started: str
    value: float
    low: float | None
    high: float | None
    n: int | None
    unit: str
    better: Better
    timing: bool
    estimator: str


class SampleSet(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements of one quantity that one event tells."""

    run: str
    suite: str
    scenario: str
    session: str
    started: str
    """When the run began."""
    event: str
    """Id of the event that tells them."""
    seq: int
    part: int
    """Which of the event's sets."""
    task: str
    name: str
    of: str
    """What was measured: a kind of task, a model, a size."""
    unit: str
    better: Better
    clock: str
    time: str
    """Of the event."""
    n: int
    """How many values the event tells; ``values`` has less where ``limit`` cut them off."""
    place: int
    """Which of them is the first of ``values``, from 0."""
    values: tuple[float, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the samples of one quantity come to."""

    name: str
    of: str
    unit: str
    clock: str
    better: Better
    n: int
    mean: float
    low: float
    high: float
    quantiles: dict[str, float]
    """By share: ``0.5`` is the median. The least value that so large a share of the values does not exceed."""
    relative_error: float
    """Most by which a quantile differs from that value, as a share of it; 0: it is that value."""


class Asking:
    """Methods that ask metrics; whoever has them can :meth:`query`."""

    async def query(
        self, service: str, name: str, given: Mapping[str, Any] | None = None, *, timeout_s: float = 3.0
    ) -> Any:
        """Ask a service."""
        raise NotImplementedError

    async def runs(
        self,
        *,
        session: str = "",
        suite: str = "",
        scenario: str = "",
        status: str = "",
        since: str = "",
        until: str = "",
        limit: int = 100,
    ) -> list[RunRow]:
        """Return runs, the latest first."""
        given = _given(
            session=session, suite=suite, scenario=scenario, status=status, since=since, until=until
        )
        return await self._listed("runs", given, RunRow, limit)

    async def sessions(self, *, since: str = "", until: str = "", limit: int = 1000) -> list[SessionRow]:
        """Return sessions by name, each with how many runs it has."""
        return await self._listed("sessions", _given(since=since, until=until), SessionRow, limit)

    async def metrics(
        self,
        name: str = "",
        *,
        run: str = "",
        session: str = "",
        suite: str = "",
        scenario: str = "",
        status: str = "",
        since: str = "",
        until: str = "",
        limit: int = 1000,
    ) -> list[MetricRow]:
        """Return metrics of completed runs, those of the latest run first."""
        given = _given(
            name=name,
            run=run,
            session=session,
            suite=suite,
            scenario=scenario,
            status=status,
            since=since,
            until=until,
        )
        return await self._listed("metrics", given, MetricRow, limit)

    async def history(
        self,
        metric: str,
        *,
        session: str = "",
        suite: str = "",
        scenario: str = "",
        since: str = "",
        until: str = "",
        limit: int = 10_000,
    ) -> list[Point]:
        """Return a metric's values over runs, the oldest first; runs that could not measure it are left out."""
        given = _given(session=session, suite=suite, scenario=scenario, since=since, until=until)
        return await self._listed("history", {"metric": metric, **given}, Point, limit)

    async def samples(
        self,
        name: str = "",
        *,
        run: str = "",
        event: str = "",
        session: str = "",
        suite: str = "",
        scenario: str = "",
        of: str = "",
        task: str = "",
        since: str = "",
        until: str = "",
        limit: int = 100_000,
    ) -> list[SampleSet]:
        """Return single measurements, at most ``limit`` values, in the order of runs, names, and the log."""
        given: dict[str, Any] = _given(
            name=name,
            run=run,
            event=event,
            session=session,
            suite=suite,
            scenario=scenario,
            of=of,
            task=task,
            since=since,
            until=until,
        )
        found: list[SampleSet] = []
        left = _positive(limit)
        while left:
            page = await self._page("samples", given | {"limit": min(left, _VALUES)})
            for one in msgspec.convert(page["samples"], list[SampleSet]):
                left -= len(one.values)
                if found and (found[-1].seq, found[-1].part) == (one.seq, one.part):
                    values = found[-1].values + one.values
                    found[-1] = msgspec.structs.replace(found[-1], values=values)
                else:
                    found.append(one)
            if not page["next"]:
                break
            given["cursor"] = page["next"]
        return found

    async def summary(
        self,
        name: str = "",
        *,
        run: str = "",
        session: str = "",
        suite: str = "",
        scenario: str = "",
        of: str = "",
        since: str = "",
        until: str = "",
        quantiles: Sequence[float] = (0.5, 0.9, 0.99),
    ) -> list[Summary]:
        """Return what samples come to, one for each quantity: count, mean, least, greatest, quantiles."""
        given = _given(
            name=name,
            run=run,
            session=session,
            suite=suite,
            scenario=scenario,
            of=of,
            since=since,
            until=until,
        )
        answer = await self._page("summary", {**given, "quantiles": list(quantiles)})
        return msgspec.convert(answer["summary"], list[Summary])

    async def _listed(self, query: str, given: dict[str, Any], kind: type[T], limit: int) -> list[T]:
        found: list[T] = []
        left = _positive(limit)
        while left:
            page = await self._page(query, given | {"limit": min(left, _PAGE)})
            rows = msgspec.convert(page[query], list[kind])  # type: ignore[valid-type]
            found += rows
            left -= len(rows)
            if not page["next"]:
                break
            given["cursor"] = page["next"]
        return found

    async def _page(self, query: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, and wait a while for a view that is behind the log; raises :class:`SwarmError` if that takes long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            answer: dict[str, Any] = await self.query("metrics", query, given, timeout_s=10.0)
            if not answer["behind"]:
                return answer
            if loop.time() > deadline:
                raise SwarmError(
                    f"metrics is reading the log and {answer['behind']:,} events behind it: ask again in a while; "
                    "`query.metrics.view` tells how far it is"
                )
            await asyncio.sleep(_LOOK_S)


def _given(**fields: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _positive(limit: int) -> int:
    if limit < 1:
        raise UsageError(
            f"limit is {limit}; allowed is 1 and above", field="limit", given=str(limit), allowed=">= 1"
        )
    return limit
