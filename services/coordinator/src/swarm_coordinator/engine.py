"""The engine: reads a run's log, asks the decider, appends what it decides. The one loop behind every suite.

Nothing is kept that the log does not hold: what is cached is a fold, and any coordinator can take over anywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from swarm_common.errors import Conflict, InvalidEvent, SwarmError
from swarm_common.events import Data, Event
from swarm_common.events.benchmark import TERMINAL, Rejected, Started, TaskAbandoned, TimerFired
from swarm_common.events.envelope import new_event
from swarm_common.events.subjects import decisions_filter, run_filter
from swarm_common.hosts import this_host
from swarm_common.ids import run_id, trace_id
from swarm_common.log.eventlog import EventLog, Expected
from swarm_common.log.publisher import MSG_ID
from swarm_common.log.reader import Stored
from swarm_common.log.timers import Timer, set_timer
from swarm_common.runtime import deadletters
from swarm_common.tracing import Tracer, messaging, root
from swarm_coordinator.decider import decide
from swarm_coordinator.moment import Stopwatch
from swarm_coordinator.plans import Suite
from swarm_coordinator.requests import Request, begin
from swarm_coordinator.state import RunState, evolve, passed

log = structlog.get_logger(__name__)

HANDLER = "coordinator.decide"
#: Ids of what comes from outside must differ from those of decisions on the same cause: the broker takes the same id
#: for the same event, and would call one of them a duplicate of the other.
RECORDER = "coordinator.record"
_CACHED_RUNS = 1000
_MOST_CONFLICTS = 100


class Engine:
    """Takes runs forward. One call at a time for a run; different runs go side by side."""

    def __init__(
        self,
        event_log: EventLog,
        tracer: Tracer,
        source: str,
        suites: Mapping[str, Suite],
        version: str,
        *,
        endpoint: bool = False,
    ) -> None:
        self._log = event_log
        self._tracer = tracer
        self._source = source
        self._suites = suites
        self._version = version
        self._endpoint = endpoint
        self._stopwatch = Stopwatch()
        self._states: dict[str, RunState] = {}
        self._timers: dict[str, set[str]] = {}
        self._over: dict[str, None] = {}
        this_host()  # looked up now, so that no run waits for it

    async def request(self, request: Request) -> str:
        """Begin the run that a request asks for, or reject it; return its id. A second delivery changes nothing."""
        run = run_id(request.id)
        began = time.perf_counter_ns()
        parent = request.traceparent or root(trace_id(request.id))
        with self._tracer.span(
            "process benchmark.requested",
            parent,
            links=(request.traceparent,) if request.traceparent else (),
            attributes=messaging("process", "benchmark.requested", request.id) | {"swarm.run": run},
        ) as span:
            moment = self._stopwatch.moment(run)
            if moment.elapsed_s is not None:
                return run  # delivered twice: it began here
            self._stopwatch.start(run)
            try:
                decided = begin(
                    request,
                    self._suites,
                    moment,
                    f"swarm-coordinator {self._version}",
                    this_host(),
                    endpoint=self._endpoint,
                )
                with self._tracer.send((decided,), span) as sent:
                    event = new_event(
                        decided,
                        run=run,
                        source=self._source,
                        cause=request.id,
                        handler=HANDLER,
                        correlation=request.id,
                        traceparent=sent.traceparent,
                        tracestate=request.tracestate,
                        duration_us=(time.perf_counter_ns() - began) // 1000,
                        time_ns=moment.now_ns,
                    )
                    sent.set(messaging__message__id=event.id, swarm__run=run)
                    await self._log.append([event], Expected(0, decisions_filter(run)))
            except BaseException as error:
                self._stopwatch.forget(run)
                if isinstance(error, Conflict):
                    return run  # delivered twice: the run is under way
                raise
            state = await self._read(run)
            if state.started_ns != moment.now_ns:
                # Another process began it: its first moment is not ours to measure from.
                self._stopwatch.forget(run)
            if isinstance(decided, Started):
                log.info(
                    "run_started",
                    run=run,
                    suite=decided.suite,
                    scenario=decided.scenario,
                    trace_id=event.trace_id,
                )
            elif isinstance(decided, Rejected):
                log.info(
                    "run_rejected",
                    run=run,
                    field=decided.field,
                    reason=decided.reason,
                    trace_id=event.trace_id,
                )
        return run

    async def advance(self, run: str, *, at_least: int = 0, links: Sequence[str] = ()) -> None:
        """Read what is new of a run and decide until there is nothing left to decide.

        ``at_least`` is a sequence that must have been read: the one of the message that woke us.
        """
        if run in self._over:
            return
        conflicts = 0
        while conflicts < _MOST_CONFLICTS:
            began = time.perf_counter_ns()
            state = await self._read(run, at_least)
            moment = self._stopwatch.moment(run)
            decided = decide(state, moment, self._suites)
            if not decided:
                await self._set_timers(state)
                return
            with self._tracer.span(
                "process swarm.*",
                state.traceparent,
                links=links or (state.traceparent,),
                attributes=messaging("process", "swarm.*", state.last_id, "coordinator") | {"swarm.run": run},
            ) as span:
                terminal = decided[-1].type in TERMINAL
                expected = (
                    Expected(state.last_seq, run_filter(run))
                    if terminal
                    else Expected(state.own_seq, decisions_filter(run))
                )
                try:
                    with self._tracer.send(decided, span) as sent:
                        events = self._events(state, decided, sent.traceparent, moment.now_ns, began)
                        sent.set(swarm__run=run)
                        await self._log.append(events, expected)
                except Conflict:
                    conflicts += 1
                    continue  # somebody wrote in between: read and decide again
            conflicts = 0
            if terminal:
                self._ended(run, decided[-1], state)
                return
            # Not only when all is decided: a run whose results come without a pause has a deadline, too.
            await self._set_timers(state)
        raise SwarmError(f"run {run}: {_MOST_CONFLICTS} conflicts in a row")

    async def timer(self, run: str, name: str) -> None:
        """A timer came due: record it where the run still waits for it, and decide."""
        await self._record(run, lambda state: _timer_fired(state, name))

    async def abandon(self, run: str, task: str, attempt: int, reason: str) -> None:
        """A task was delivered as often as allowed: record it where it is still in flight, and decide."""
        await self._record(run, lambda state: _abandoned(state, task, attempt, reason))

    async def _record(self, run: str, observed: Callable[[RunState], Data | None]) -> None:
        """Append what was observed from outside, where the run's state has a place for it; then decide."""
        for _ in range(_MOST_CONFLICTS):
            if run in self._over:  # most deadlines come due long after their run has ended
                return
            state = await self._read(run)
            data = observed(state)
            if data is None:
                break
            what = "timer.fired" if isinstance(data, TimerFired) else "advisory"
            with self._tracer.span(
                f"process {what}",
                state.traceparent,
                attributes=messaging("process", what, group="coordinator") | {"swarm.run": run},
            ) as span:
                try:
                    with self._tracer.send((data,), span) as sent:
                        events = self._events(
                            state,
                            (data,),
                            sent.traceparent,
                            self._stopwatch.moment(run).now_ns,
                            time.perf_counter_ns(),
                            handler=f"{RECORDER}.{_what(data)}",
                        )
                        sent.set(swarm__run=run)
                        await self._log.append(events, Expected(state.own_seq, decisions_filter(run)))
                except Conflict:
                    continue
            break
        await self.advance(run)

    async def _read(self, run: str, at_least: int = 0) -> RunState:
        """Return the state of a run as the log has it now."""
        state = self._states.get(run) or RunState(run=run)
        odd: list[tuple[Stored, InvalidEvent]] = []

        def note(stored: Stored, error: InvalidEvent) -> None:
            odd.append((stored, error))

        for attempt in range(50):
            odd.clear()
            for event in await self._log.read_run(run, after=state.last_seq, unreadable=note):
                state = evolve(state, event)
            for stored, error in odd:
                state = passed(state, stored.seq, own=stored.subject.startswith("swarm.benchmark."))
                await self._bury(stored, error)
            if state.last_seq >= at_least:
                break
            await asyncio.sleep(0.01 * attempt)  # a replica of the stream that lags behind its leader
        else:
            raise SwarmError(f"run {run}: the log does not show event {at_least} yet")
        if state.over:
            self._forget(run)
        else:
            if len(self._states) >= _CACHED_RUNS and run not in self._states:
                del self._states[next(iter(self._states))]
            self._states[run] = state
        return state

    async def _bury(self, stored: Stored, error: InvalidEvent) -> None:
        """Keep what lies among a run's events and is none; one such message must not stop the run."""
        log.warning("unreadable_event", seq=stored.seq, subject=stored.subject, message=str(error))
        await deadletters.bury(
            self._log,
            consumer="coordinator",
            subject=stored.subject,
            seq=stored.seq,
            body=stored.data,
            headers={MSG_ID: found} if (found := stored.headers.get(MSG_ID, "")) else {},
            deliveries=1,
            error=f"{type(error).__name__}: {error}",
        )

    def _events(
        self,
        state: RunState,
        decided: Sequence[Data],
        traceparent: str,
        now_ns: int,
        began_ns: int,
        handler: str = HANDLER,
    ) -> list[Event]:
        duration_us = (time.perf_counter_ns() - began_ns) // 1000
        return [
            new_event(
                data,
                run=state.run,
                source=self._source,
                cause=state.last_id,
                handler=handler,
                index=index,
                correlation=state.correlation,
                traceparent=traceparent,
                tracestate=state.tracestate,
                duration_us=duration_us,
                time_ns=now_ns,
            )
            for index, data in enumerate(decided)
        ]

    async def _set_timers(self, state: RunState) -> None:
        """Have the broker hold every timer the run waits for; those this process set already are left alone."""
        if state.over:
            return
        held = self._timers.setdefault(state.run, set())
        for name, due_ns in state.timers.items():
            if name not in held:
                await set_timer(self._log, Timer(state.run, name, due_ns))
                held.add(name)

    def _forget(self, run: str) -> None:
        """Keep no more of a run than that it is over."""
        self._states.pop(run, None)
        self._timers.pop(run, None)
        self._over[run] = None
        if len(self._over) > 10 * _CACHED_RUNS:
            del self._over[next(iter(self._over))]
        self._stopwatch.forget(run)

    def _ended(self, run: str, data: Data, state: RunState) -> None:
        self._forget(run)
        log.info(
            "run_ended", run=run, how=data.type, events=state.events + 1, trace_id=state.traceparent[3:35]
        )


def _timer_fired(state: RunState, name: str) -> TimerFired | None:
    due_ns = state.timers.get(name)
    if due_ns is None or state.over:
        return None
    due = Timer(state.run, name, due_ns).due
    if name == "deadline":
        return TimerFired(timer=name, due=due)
    _, attempt, task = name.split("-", 2)
    return TimerFired(timer=name, due=due, task=task, attempt=int(attempt))


def _what(data: Data) -> str:
    """Return what tells apart two things that are recorded on the same cause."""
    match data:
        case TimerFired(timer=timer):
            return timer
        case TaskAbandoned(task=task, attempt=attempt):
            return f"{task}.{attempt}"
        case _:
            return data.type


def _abandoned(state: RunState, task: str, attempt: int, reason: str) -> TaskAbandoned | None:
    known = state.tasks.get(task)
    if state.over or known is None or known.status != "in_flight" or known.attempt != attempt:
        return None
    return TaskAbandoned(task=task, attempt=attempt, reason=reason)
