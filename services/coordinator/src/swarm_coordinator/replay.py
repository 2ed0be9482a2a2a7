"""The coordinator's replay: every decision of a recorded log, made again by the code as it is now.

A decision was made on everything up to its cause (its ``causationid``), at the moment its event names. Both are in the
log, so the same code gives the same events bit for bit: ids, times, digests and the chain over the log included.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

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
from swarm_common.runtime.offline import Difference, Outcome
from swarm_coordinator.decider import decide
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
    """Replay one run; return how many events were decided again, how many were not, and what differs."""
    state = RunState(run=events[0].run)
    folded = 0
    decisions = skipped = 0
    found: list[Difference] = []
    positions = {event.id: index for index, event in enumerate(events)}
    for cause, group in _decisions(events):
        if any(isinstance(event.data, _RECORDED) or _cut(event.data) for event in group):
            skipped += len(group)
            continue
        decisions += len(group)
        first = group[0]
        if isinstance(first.data, Started | Rejected):
            found += _compare(group, [_begun(first)])
            continue
        upto = positions.get(cause)
        if upto is None:
            found.append(_difference(first, f"its cause {cause} is not in the log", first.data, None))
            continue
        while folded <= upto:
            state = evolve(state, events[folded])
            folded += 1
        if folded != upto + 1:
            found.append(
                _difference(first, "was decided on less than the log holds before it", first.data, None)
            )
            continue
        found += _compare(group, decide(state, _moment(first), SUITES))
        found += _written_otherwise(group)
    return decisions, skipped, found


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
        return begin(Request(id=data.request_id, body=body), SUITES, _moment(event), data.engine)
    assert isinstance(data, Rejected)  # noqa: S101 - the caller has looked
    return begin(Request(id=event.correlation, body=data.request), SUITES, _moment(event), "")


def _compare(recorded: Sequence[Event], decided: Sequence[Data]) -> list[Difference]:
    found = []
    for index in range(max(len(recorded), len(decided))):
        then = recorded[index] if index < len(recorded) else None
        now = decided[index] if index < len(decided) else None
        if then is None:
            found.append(_difference(recorded[-1], "decided now, not in the log", None, now))
        elif now is None:
            found.append(_difference(then, "in the log, not decided now", then.data, None))
        elif then.data != now:
            found.append(_difference(then, "decided otherwise", then.data, now))
    return found


def _written_otherwise(group: Sequence[Event]) -> list[Difference]:
    """Events of one decision say the same time: they were written at once."""
    return [
        _difference(event, "has another time than the decision it belongs to", event.data, None)
        for event in group
        if event.time != group[0].time
    ]


def _difference(event: Event, what: str, recorded: Data | None, decided: Data | None) -> Difference:
    then = {} if recorded is None else {"type": recorded.type, **msgspec.to_builtins(recorded)}
    now = {} if decided is None else {"type": decided.type, **msgspec.to_builtins(decided)}
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
