"""The coordinator's replay: every decision of a recorded log, made again by the code as it is now.

A decision was made on everything up to its cause (its ``causationid``), at the moment its event names. Both are in the
log, so the same code gives the same events bit for bit: ids, times, digests and the chain over the log included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.events import Data, Event
from swarm_common.events.benchmark import (
    Cancelled,
    Completed,
    Failed,
    Rejected,
    Started,
    TaskAbandoned,
    TimerFired,
)
from swarm_common.ids import derive, run_id
from swarm_common.runtime.offline import Difference, Outcome
from swarm_coordinator.decider import decide
from swarm_coordinator.engine import HANDLER
from swarm_coordinator.moment import Moment
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.state import RunState, evolve
from swarm_coordinator.suites import SUITES

_SERVICE = "coordinator"
#: Recorded by the engine from outside (a clock, an advisory), not decided.
_RECORDED = (TimerFired, TaskAbandoned)


async def decide_again(events: Sequence[Event]) -> Outcome:
    """Make every decision of every run again and hold it against the log."""
    runs: dict[str, list[Event]] = {}
    for event in events:
        runs.setdefault(event.run, []).append(event)
    decisions = skipped = 0
    differences: list[Difference] = []
    for recorded in runs.values():
        made, left, found = replay_run(recorded)
        decisions += made
        skipped += left
        differences += found
    return Outcome(service=_SERVICE, decisions=decisions, skipped=skipped, differences=tuple(differences))


def replay_run(events: Sequence[Event]) -> tuple[int, int, list[Difference]]:
    """Replay one run; return how many events were decided again, how many were not, and what differs, in order."""
    state = RunState(run=events[0].run)
    folded = 0
    decisions = skipped = 0
    positions = {event.id: index for index, event in enumerate(events)}
    found = _without_cause(events, positions)
    for cause, group in _decisions(events):
        if any(isinstance(event.data, _RECORDED) or _cut(event.data) for event in group):
            skipped += len(group)
            continue
        decisions += len(group)
        try:
            if isinstance(group[0].data, Started | Rejected):
                found += _compare(group, [_begun(group[0])])
                found += _written_otherwise(group, cause)
                continue
            upto = positions.get(cause, -1)  # one that is missing was said above
            while folded <= upto:
                state = evolve(state, events[folded])
                folded += 1
            found += _decided_otherwise(state, group, seen_all=folded == upto + 1)
        except ValueError as error:  # a time that is none
            found.append(_difference(group[0], f"cannot be decided again: {error}", group[0].data, None))
            break
    return decisions, skipped, sorted(found, key=lambda difference: difference.position)


def _decided_otherwise(state: RunState, group: Sequence[Event], *, seen_all: bool) -> list[Difference]:
    first = group[0]
    if not seen_all:
        return [_difference(first, "was not decided on all that the log holds before it", first.data, None)]
    found = _compare(group, decide(state, _moment(first), SUITES))
    return found + _written_otherwise(group, state.correlation)


def _cut(data: Data | None) -> bool:
    """Say whether a rejection echoes only the beginning of its request, so that it cannot be decided again."""
    return isinstance(data, Rejected) and "excerpt" in data.request


def _decisions(events: Sequence[Event]) -> list[tuple[str, list[Event]]]:
    """Return what the coordinator wrote, grouped by cause, in the order of the log."""
    own = [event for event in events if event.source.startswith(f"/swarm/{_SERVICE}/")]
    return [(cause, list(group)) for cause, group in groupby(own, key=lambda event: event.causation)]


def _moment(event: Event) -> Moment:
    """Return the moment at which a recorded decision was made."""
    now_ns = clock.parse_ns(event.time)
    if isinstance(event.data, Completed | Failed | Cancelled) and event.data.clock == "perf_counter":
        return Moment(now_ns, event.data.duration_s)
    return Moment(now_ns)


def _begun(event: Event) -> Data:
    """Decide a request again, as it is echoed in what it led to."""
    data = event.data
    if isinstance(data, Started):
        body = {
            "suite": data.suite,
            "scenario": data.scenario,
            "params": data.params,
            "session": data.session,
            "seed": data.seed,
            "timeout_s": data.timeout_s,
        }
        return begin(Request(id=event.causation, body=body), SUITES, _moment(event), data.engine, data.host)
    assert isinstance(data, Rejected)  # noqa: S101 - the caller has looked
    return begin(Request(id=event.causation, body=data.request), SUITES, _moment(event), "")


def _compare(recorded: Sequence[Event], decided: Sequence[Data]) -> list[Difference]:
    found = []
    for index in range(max(len(recorded), len(decided))):
        then = recorded[index] if index < len(recorded) else None
        now = decided[index] if index < len(decided) else None
        if then is None:
            found.append(_difference(recorded[-1], "decided now, not in the log", None, now))
        elif now is None:
            found.append(_difference(then, "in the log, not decided now", then.data, None))
        elif then.data is None or _plain(then.data) != _plain(now):
            found.append(_difference(then, "decided otherwise", then.data, now))
    return found


def _written_otherwise(group: Sequence[Event], correlation: str) -> list[Difference]:
    """Return what is wrong with the envelopes of one decision: ids come from the cause, and it was written at once."""
    found = []
    if group[0].run != run_id(correlation):
        found.append(_difference(group[0], "its request leads to another run", group[0].data, None))
    for index, event in enumerate(group):
        if event.id != derive(event.causation, HANDLER, index):
            found.append(_difference(event, "has another id than its cause gives it", event.data, None))
        if event.time != group[0].time:
            found.append(
                _difference(event, "has another time than the decision it belongs to", event.data, None)
            )
        if event.correlation != correlation:
            found.append(_difference(event, "names another request than its run does", event.data, None))
    return found


def _without_cause(events: Sequence[Event], positions: Mapping[str, int]) -> list[Difference]:
    """Return the events, of any service, whose cause is missing before them: a hole in the log."""
    return [
        _difference(event, f"its cause {event.causation} is not in the log before it", event.data, None)
        for index, event in enumerate(events)
        if not isinstance(event.data, Started | Rejected)
        and positions.get(event.causation, len(events)) >= index
    ]


def _plain(data: Data) -> dict[str, Any]:
    """Return the data as they stand in the log: a tuple that was decided is a list there."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data))
    return plain


def _difference(event: Event, what: str, recorded: Data | None, decided: Data | None) -> Difference:
    then = {} if recorded is None else {"type": recorded.type, **_plain(recorded)}
    now = {} if decided is None else {"type": decided.type, **_plain(decided)}
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    return Difference(
        service=_SERVICE,
        run=event.run,
        position=event.seq,
        event_id=event.id,
        what=f"{event.type}: {what}",
        recorded={key: then.get(key) for key in keys} if then else None,
        decided={key: now.get(key) for key in keys} if now else None,
    )
