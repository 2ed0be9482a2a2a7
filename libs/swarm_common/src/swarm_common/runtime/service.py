"""What a service is: a name, a context and handlers. Declared here, run by :mod:`swarm_common.runtime.host`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from swarm_common.errors import InvalidEvent, NotFound
from swarm_common.events import Data, Event
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.values import Lane
from swarm_common.ids import is_token

if TYPE_CHECKING:
    from swarm_common.runtime.context import Context

D = TypeVar("D", bound=Data)


class History(Protocol):
    """Where a handler's inputs come from: the live log, or a recorded one."""

    async def run(self, run: str) -> Sequence[Event]:
        """Return the run's events so far, in the order of the log."""

    async def result(self, run: str, task: str) -> Event | None:
        """Return the event that concluded a task, or ``None``."""

    async def numbered(self, run: str, task: str, kind: type[Data]) -> Sequence[Event]:
        """Return what a task has recorded of several things while it was at it, in their order."""

    async def since(self, run: str, kind: type[Data], mark: int) -> tuple[Sequence[Event], int]:
        """Return a run's events of a type behind a mark, and the mark behind them; 0 is the run's beginning."""


class Work(msgspec.Struct, frozen=True):
    """One thing to handle: the event, and the way to what it needs."""

    event: Event
    history: History
    repeated: bool = False
    """Whether somebody may have been at it before, who was killed or gave it back."""
    append: Callable[[Data], Awaitable[None]] | None = None
    """Writes to the log at once; ``None`` where there is none, as in an offline replay."""

    @property
    def task(self) -> TaskScheduled:
        """The task, where the event schedules one."""
        if not isinstance(self.event.data, TaskScheduled):
            raise InvalidEvent(f"{self.event.type} schedules no task", field="type", given=self.event.type)
        return self.event.data

    async def inputs(self) -> list[Event]:
        """Return the results of the tasks that this one needs, in the order of ``needs``."""
        found = []
        for name in self.task.needs:
            event = await self.history.result(self.event.run, name)
            if event is None:
                raise NotFound(f"task {self.task.task} needs the result of {name}, which is not in the log")
            found.append(event)
        return found

    async def inputs_of(self, kind: type[D]) -> list[tuple[Event, D]]:
        """Return those inputs whose data are of a type, with their data."""
        return [(event, event.data) for event in await self.inputs() if isinstance(event.data, kind)]

    async def recorded(self, kind: type[D]) -> list[D]:
        """Return what this task recorded before it was given to this worker; empty for one that is new."""
        if not self.repeated and self.task.attempt == 1:
            return []
        events = await self.history.numbered(self.event.run, self.task.task, kind)
        return [event.data for event in events if isinstance(event.data, kind)]

    async def record(self, data: Data) -> None:
        """Append an event before the task ends, so that it need not be done again; a second one stays unwritten.

        It is of a type that has a number (see :mod:`swarm_common.events.subjects`), and does not conclude.
        """
        if self.append is not None:
            await self.append(data)

    async def run_events(self) -> Sequence[Event]:
        """Return the run's events up to the one at hand."""
        return [event for event in await self.history.run(self.event.run) if event.seq <= self.event.seq]


Handler = Callable[[Work], Awaitable[Data | Sequence[Data]]]
Query = Callable[["Context", dict[str, Any]], Awaitable[Any]]
Hook = Callable[["Context"], Awaitable[None]]


DecideAgain = Callable[[Sequence[Event]], Awaitable[Any]]


class TaskHandler(msgspec.Struct, frozen=True):
    """How a kind of task is done."""

    kind: str
    lane: Lane
    pure: bool
    """Whether the same inputs give the same events, so that ``replay --decide`` can hold them against the log."""
    handle: Handler


class Reaction(msgspec.Struct, frozen=True):
    """What happens when an event of a type appears."""

    event_type: str
    pure: bool
    handle: Handler


class Service:
    """The declaration of a service: its methods decorate the functions that it consists of."""

    def __init__(self, name: str, context: str, *, version: str = "0.1.0", description: str = "") -> None:
        if not is_token(name):
            raise InvalidEvent(f"{name!r} is no service name", field="name", given=name)
        self.name = name
        self.context = context
        self.version = version
        self.description = description
        self.tasks: dict[str, TaskHandler] = {}
        self.reactions: dict[str, Reaction] = {}
        self.queries: dict[str, Query] = {}
        self.start_hooks: list[Hook] = []
        self.stop_hooks: list[Hook] = []
        self.decide_again: DecideAgain | None = None
        """Replay of a service whose decider is more than its handlers."""

    def task(self, kind: str, *, lane: Lane = "io", pure: bool = True) -> Callable[[Handler], Handler]:
        """Register the handler of a kind of task. It returns the events that report it; the last one concludes it."""

        def register(handler: Handler) -> Handler:
            self.tasks[kind] = TaskHandler(kind, lane, pure, handler)
            return handler

        return register

    def reaction(self, data: type[Data], *, pure: bool = True) -> Callable[[Handler], Handler]:
        """Register a handler of an event type, over all runs."""

        def register(handler: Handler) -> Handler:
            self.reactions[data.type] = Reaction(data.type, pure, handler)
            return handler

        return register

    def query(self, name: str) -> Callable[[Query], Query]:
        """Register a query: request/reply on ``query.<service>.<name>``, JSON both ways."""

        def register(query: Query) -> Query:
            self.queries[name] = query
            return query

        return register

    def on_start(self, hook: Hook) -> Hook:
        """Call ``hook(context)`` when the log is there and before work is taken."""
        self.start_hooks.append(hook)
        return hook

    def on_stop(self, hook: Hook) -> Hook:
        """Call ``hook(context)`` when work has been drained."""
        self.stop_hooks.append(hook)
        return hook

    def lanes(self) -> Mapping[Lane, tuple[str, ...]]:
        """Return the kinds of task by lane."""
        found: dict[Lane, tuple[str, ...]] = {}
        for handler in self.tasks.values():
            found[handler.lane] = (*found.get(handler.lane, ()), handler.kind)
        return found
