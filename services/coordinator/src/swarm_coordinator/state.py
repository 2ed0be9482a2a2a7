"""The state of a run: a fold over its events, in the order of the log. Pure; knows no suite and no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec
from immutables import Map
from msgspec.structs import replace

from swarm_common.clock import parse_ns
from swarm_common.events import Data, Event, Task, digest_view
from swarm_common.events.benchmark import (
    TERMINAL,
    CancelRequested,
    Planned,
    RetryScheduled,
    Started,
    TaskAbandoned,
    TaskScheduled,
    TimerFired,
)
from swarm_common.events.task import TaskFailedData
from swarm_common.log.files import chain
from swarm_coordinator.plans import Fact
from swarm_primitives.queues import Entry
from swarm_primitives.scheduling import Scheduler

TaskStatus = Literal["waiting", "ready", "in_flight", "failed", "retrying", "done"]

#: What may follow each status of a task, and by which event. docs/ draws its diagram from this table.
TRANSITIONS: tuple[tuple[TaskStatus, str, TaskStatus], ...] = (
    ("waiting", "the last task it needs concluded", "ready"),
    ("ready", "benchmark.task_scheduled", "in_flight"),
    ("in_flight", "<context>.<result>", "done"),
    ("in_flight", "<context>.task_failed, benchmark.task_abandoned", "failed"),
    ("failed", "benchmark.retry_scheduled", "retrying"),
    ("retrying", "benchmark.timer_fired", "ready"),
    # An attempt that was given up may report after all: the first result counts.
    ("failed", "<context>.<result>", "done"),
    ("retrying", "<context>.<result>", "done"),
    ("ready", "<context>.<result>", "done"),
)


#: Parameters that say where answers come from and what they may cost, and not what they are: a run that takes its
#: answers from an earlier one has its digest.
APART = frozenset({"recording", "budget_usd", "consent"})


class TaskState(msgspec.Struct, frozen=True, gc=False):
    """A task of a run."""

    spec: Task
    index: int
    """Place in the order of planning: of equal priority, what is ready is scheduled in this order."""
    missing: int
    """How many of the tasks it needs have not concluded."""
    status: TaskStatus
    attempt: int = 0
    error: str = ""
    retryable: bool = False

    @property
    def entry(self) -> Entry:
        """Where it stands among those that are ready, and its id: the highest priority first, then as planned."""
        return -self.spec.priority, self.index, self.spec.id


class Specs(Mapping[str, Task]):
    """A run's tasks as they were planned: a view, nothing is copied."""

    def __init__(self, tasks: Map[str, TaskState]) -> None:
        self._tasks = tasks

    def __getitem__(self, name: str) -> Task:
        return self._tasks[name].spec

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its coordinator knows it."""

    run: str
    started: Started | None = None
    started_ns: int = 0
    over: bool = False
    tasks: Map[str, TaskState] = Map()
    dependents: Map[str, tuple[str, ...]] = Map()
    schedule: Scheduler = Scheduler()
    """What is ready, and how many tasks are in flight, by kind."""
    failed: Map[int, str] = Map()
    """Tasks whose attempt failed and that wait for a verdict."""
    timers: Map[str, int] = Map()
    """By name: when it is due (nanoseconds since 1970), for those that have not fired."""
    open: int = 0
    """Tasks that have not concluded."""
    ask: bool = False
    """Whether a decision point was passed since tasks were last planned."""
    step: int = 0
    attempts: int = 0
    results: Map[str, Fact] = Map()
    facts: Map[str, tuple[Fact, ...]] = Map()
    cancel: str | None = None
    expired: bool = False
    last_id: str = ""
    """Id of the last event folded: the cause of what is decided next."""
    last_seq: int = 0
    own_seq: int = 0
    """Sequence of the run's last event under ``swarm.benchmark.<run>.>``."""
    correlation: str = ""
    traceparent: str = ""
    tracestate: str = ""
    events: int = 0
    chain: str = ""


def evolve(state: RunState, event: Event) -> RunState:
    """Return the state one event later."""
    own = event.type.startswith("benchmark.")
    state = replace(
        state,
        last_id=event.id,
        last_seq=event.seq,
        own_seq=event.seq if own else state.own_seq,
        events=state.events + 1,
        chain=chain(state.chain, event.raw),
        traceparent=event.traceparent or state.traceparent,
    )
    if state.over:
        return state
    data = event.data
    if data is None:
        return state
    if own:
        return _own(state, event, data)
    if isinstance(data, TaskFailedData):
        return _failed(
            state, data.task, data.attempt, f"{data.error}: {data.message}", retryable=data.retryable
        )
    task = getattr(data, "task", "")
    return _recorded(state, event, data, task) if task in state.tasks else state


def passed(state: RunState, seq: int, *, own: bool) -> RunState:
    """Return the state behind a message that lies among the run's events and is none."""
    return replace(
        state,
        last_seq=max(state.last_seq, seq),
        own_seq=max(state.own_seq, seq) if own else state.own_seq,
    )


def _own(state: RunState, event: Event, data: Data) -> RunState:
    match data:
        case Started():
            timers = state.timers.set("deadline", parse_ns(data.deadline))
            state = replace(
                state,
                started=data,
                started_ns=parse_ns(event.time),
                timers=timers,
                correlation=event.correlation,
                tracestate=event.tracestate,
            )
            return _plan(state, data.tasks)
        case Planned():
            return _plan(state, data.tasks)
        case TaskScheduled():
            return _scheduled(state, data)
        case RetryScheduled():
            return _retrying(state, data)
        case TimerFired():
            return _fired(state, data)
        case TaskAbandoned():
            return _failed(state, data.task, data.attempt, data.reason, retryable=True)
        case CancelRequested():
            return replace(state, cancel=data.reason or "cancelled on request")
        case _:
            return replace(state, over=True) if data.type in TERMINAL else state


def _plan(state: RunState, tasks: tuple[Task, ...]) -> RunState:
    """Add tasks; those whose needs have all concluded are ready."""
    ready: dict[str, list[Entry]] = {}
    with state.tasks.mutate() as known, state.dependents.mutate() as dependents:
        for index, spec in enumerate(tasks, len(state.tasks)):
            needs = [name for name in spec.after if name not in state.results]
            for name in needs:
                dependents[name] = (*dependents.get(name, ()), spec.id)
            task = known[spec.id] = TaskState(spec, index, len(needs), "waiting" if needs else "ready")
            if not needs:
                ready.setdefault(spec.kind, []).append(task.entry)
        state = replace(state, tasks=known.finish(), dependents=dependents.finish())
    schedule = state.schedule
    for kind, entries in ready.items():
        schedule = schedule.extend(kind, entries)
    return replace(state, schedule=schedule, open=state.open + len(tasks), step=state.step + 1, ask=False)


def _scheduled(state: RunState, data: TaskScheduled) -> RunState:
    """A task was handed out. Where a late result came in between decision and append, it stays done."""
    task = state.tasks.get(data.task)
    if task is None or task.status != "ready":
        return replace(state, attempts=state.attempts + 1)
    return replace(
        state,
        tasks=state.tasks.set(data.task, replace(task, status="in_flight", attempt=data.attempt)),
        schedule=state.schedule.start(task.spec.kind, task.entry),
        attempts=state.attempts + 1,
    )


def _recorded(state: RunState, event: Event, data: Data, name: str) -> RunState:
    """A worker recorded something of a task; the first concluding event is its result."""
    task = state.tasks[name]
    fact = Fact(event.id, data, digest_of(data), parse_ns(event.time))
    state = replace(state, facts=state.facts.set(name, (*state.facts.get(name, ()), fact)))
    if not data.concludes or task.status == "done":
        return state
    timers = state.timers
    if (timer := retry_timer(name, task.attempt + 1)) in timers:
        timers = timers.delete(timer)  # an attempt that was given up reported after all
    state = replace(
        _land(state, task),
        results=state.results.set(name, fact),
        timers=timers,
        open=state.open - 1,
        ask=state.ask or task.spec.decides,
    )
    state = replace(state, tasks=state.tasks.set(name, replace(task, status="done")))
    return _release(state, name)


def _land(state: RunState, task: TaskState) -> RunState:
    """Take a task out of wherever it was: in flight, ready again, or waiting for a verdict."""
    kind = task.spec.kind
    if task.status == "in_flight":
        return replace(state, schedule=state.schedule.stop(kind))
    if task.status == "ready":
        return replace(state, schedule=state.schedule.withdraw(kind, task.entry))
    if task.status == "failed":
        return replace(state, failed=state.failed.delete(task.index))
    return state


def _release(state: RunState, name: str) -> RunState:
    """A task concluded: those that waited for it alone are ready."""
    for dependent in state.dependents.get(name, ()):
        task = state.tasks[dependent]
        if task.status != "waiting":
            continue
        missing = task.missing - 1
        status: TaskStatus = "waiting" if missing else "ready"
        state = replace(
            state,
            tasks=state.tasks.set(dependent, replace(task, missing=missing, status=status)),
            schedule=state.schedule if missing else state.schedule.add(task.spec.kind, task.entry),
        )
    return state


def _failed(state: RunState, name: str, attempt: int, error: str, *, retryable: bool) -> RunState:
    task = state.tasks.get(name)
    if task is None or task.status != "in_flight" or task.attempt != attempt:
        return state
    state = _land(state, task)
    failed = replace(task, status="failed", error=error, retryable=retryable)
    return replace(state, tasks=state.tasks.set(name, failed), failed=state.failed.set(task.index, name))


def _retrying(state: RunState, data: RetryScheduled) -> RunState:
    """Another attempt was promised. Where a late result came in between decision and append, none is needed."""
    task = state.tasks.get(data.task)
    if task is None or task.status != "failed":
        return state
    return replace(
        state,
        tasks=state.tasks.set(data.task, replace(task, status="retrying")),
        failed=state.failed.delete(task.index),
        timers=state.timers.set(retry_timer(data.task, data.attempt), parse_ns(data.due)),
    )


def _fired(state: RunState, data: TimerFired) -> RunState:
    state = replace(
        state, timers=state.timers.delete(data.timer) if data.timer in state.timers else state.timers
    )
    if data.timer == "deadline":
        return replace(state, expired=True)
    task = state.tasks.get(data.task)
    if task is None or task.status != "retrying":
        return state
    return replace(
        state,
        tasks=state.tasks.set(data.task, replace(task, status="ready")),
        schedule=state.schedule.add(task.spec.kind, task.entry),
    )


def retry_timer(task: str, attempt: int) -> str:
    """Return the name of the timer before an attempt."""
    return f"retry-{attempt}-{task}"


def digest_of(data: Data) -> str:
    """Return sha256, in hexadecimal, of an event's data without time and place; empty if they do not count."""
    if not data.digested:
        return ""
    return hashlib.sha256(msgspec.json.encode(digest_view(data), order="deterministic")).hexdigest()


def run_digest(state: RunState) -> str:
    """Return ``sha256:...`` over what the run was asked and what its tasks computed, in no order of time."""
    started = state.started
    assert started is not None  # noqa: S101 - only a started run completes
    content = {
        "suite": started.suite,
        "scenario": started.scenario,
        "params": {name: value for name, value in started.params.items() if name not in APART},
        "seed": started.seed,
        "facts": {
            name: sorted(f"{fact.data.type} {fact.digest}" for fact in facts if fact.digest)
            for name, facts in state.facts.items()
        },
    }
    return f"sha256:{hashlib.sha256(msgspec.json.encode(content, order='deterministic')).hexdigest()}"
