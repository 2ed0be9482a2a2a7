"""A swarm in one thread: real engines over a log in memory, and a seed that draws every interleaving and every fault.

Coroutines are driven by hand. Each look at the log is a point where anything else may happen: another coordinator
writes, a worker reports, a timer comes due, a process dies before its append or after it and before anybody heard.
After the chaos the faults stop and the run must end (the order of TigerBeetle's simulator).
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from swarm_common import clock
from swarm_common.errors import Conflict
from swarm_common.events import Data, Event, Metric, Task
from swarm_common.events.agent import AgentTaskFailed, ModelTrained, TaskDone
from swarm_common.events.benchmark import TERMINAL, CancelRequested, TaskScheduled
from swarm_common.events.envelope import decode, encode, new_event
from swarm_common.ids import run_id
from swarm_common.log.eventlog import Expected
from swarm_common.log.publisher import Ack, Message
from swarm_common.tracing import LogTracer
from swarm_coordinator.engine import Engine
from swarm_coordinator.moment import Stopwatch
from swarm_coordinator.plans import Finish, Param, Scenario, SoFar, Step, Suite
from swarm_coordinator.requests import Request

START_NS = 1_800_000_000_000_000_000
REQUEST_ID = "request-1"
RUN = run_id(REQUEST_ID)


class Pause:
    """Where a coroutine lets others go on."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Clock:
    """Time that passes a little with every look."""

    def __init__(self) -> None:
        self.ns = START_NS

    def __call__(self) -> int:
        self.ns += 137_000
        return self.ns


class MemoryLog:
    """The log: what EventLog promises, without a broker. Expectations and ids are held as JetStream holds them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.timers: dict[str, str] = {}
        """By name: the run. Those that were set and have not come out."""
        self.conflicts = 0

    def last(self, *, own: bool) -> int:
        return next((e.seq for e in reversed(self.events) if not own or e.type.startswith("benchmark.")), 0)

    def store(self, event: Event) -> Event:
        stored = decode(encode(event), len(self.events) + 1)
        self.events.append(stored)
        return stored

    async def append(self, events: Sequence[Event], expected: Expected | None = None) -> int:
        await Pause()
        ids = {event.id for event in self.events}
        found = [event.id in ids for event in events]
        if all(found):
            return 1  # looked up by its id: it is there
        if any(found):
            raise AssertionError("a batch of which a part is stored: ids are not unique to a decision")
        if expected is not None:
            own = expected.filter.startswith("swarm.benchmark.")
            if self.last(own=own) != expected.seq:
                self.conflicts += 1
                raise Conflict("wrong last sequence")
        for event in events:
            self.store(event)
        await Pause()  # a process may die here: stored, and nobody heard
        return self.events[-1].seq

    async def read_run(self, run: str, *, after: int = 0, unreadable: object = None) -> list[Event]:  # noqa: ARG002
        await Pause()
        return [event for event in self.events[after:] if event.run == run]

    async def publish(self, message: Message) -> Ack:
        await Pause()
        _, _, run, name = message.subject.split(".")
        self.timers[name] = run
        return Ack(1)


class Trial:
    """A suite for simulations: needs, a decision point, and a second step that depends on what the first returned."""

    name = "trial"
    description = "A suite for tests"
    scenarios = (
        Scenario(
            name="small",
            description="",
            params=(
                Param(name="width", type="int", default=8, low=1, high=1000, description="tasks a step"),
            ),
            parallel={"noop": 4},
        ),
    )

    def plan(self, sofar: SoFar) -> Step | Finish:
        width = int(sofar.params["width"])
        if sofar.step == 0:
            first = tuple(task(f"first-{index}") for index in range(width))
            return Step(
                tasks=(*first, task("early", decides=True), task("join", after=tuple(t.id for t in first)))
            )
        if sofar.step == 1:
            return Step(tasks=tuple(task(f"second-{index}", after=("early",)) for index in range(width)))
        if len(sofar.results) < 2 * width + 2:
            return Step()
        value = sum(f.data.index for f in sofar.results.values() if isinstance(f.data, TaskDone))
        return Finish(result={"sum": value}, metrics=(Metric(name="sum", value=value, unit="count"),))


def task(name: str, **more: Any) -> Task:
    """Return an empty task that may be tried often: in a simulation, attempts go as fast as faults come."""
    return Task(**({"id": name, "kind": "noop", "service": "model_agent", "max_attempts": 10_000} | more))


class Wake(msgspec.Struct, frozen=True):
    """A message to a coordinator: a request, a result, a timer, a task that was given up."""

    kind: str
    name: str = ""
    attempt: int = 0


class Swarm:
    """Coordinators, workers and a broker, and what may happen next."""

    def __init__(
        self,
        seed: int,
        *,
        suite: Suite | None = None,
        params: Mapping[str, Any] | None = None,
        coordinators: int = 2,
        faulty: bool = True,
        fails: int = 1,
        cancel: bool = False,
        deadline: bool = False,
        steps: int = 1000,
    ) -> None:
        suite = suite or Trial()
        self.random = random.Random(seed)  # noqa: S311 - a simulation
        self.log = MemoryLog()
        self.clock = Clock()
        self.suites = {suite.name: suite}
        self.body = {"suite": suite.name, "params": dict(params or {})}
        self.faulty = faulty
        self.fails = fails if faulty else 0
        self.chaos = steps if faulty else 0
        self.cancel_left = cancel
        self.deadline = deadline
        self.engines = [self._engine(index) for index in range(coordinators)]
        self.queue: list[Wake] = [Wake("request")]
        self.active: list[tuple[int, Wake, Coroutine[Any, Any, Any]]] = []
        self.work: list[Event] = []
        self.late: list[Event] = []
        self.seen = 0
        self.crashes = 0

    def _engine(self, index: int) -> Engine:
        engine = Engine(
            self.log,
            LogTracer(),
            f"/swarm/coordinator/{index}",
            self.suites,
            "1",  # type: ignore[arg-type]
        )
        engine._stopwatch = Stopwatch(self.clock, self.clock)
        return engine

    @property
    def over(self) -> bool:
        return any(event.type in TERMINAL for event in self.log.events)

    def run(self, most: int = 200_000) -> list[Event]:
        """Run to the end and return the log."""
        for _ in range(most):
            self._notice()
            if self.over and not self.queue and not self.active:
                return self.log.events
            self.random.choices(*zip(*self._possible(), strict=True))[0]()
            self.chaos -= 1
        raise AssertionError(
            f"the run does not end; {len(self.log.events)} events, {self.queue}, {self.work}"
        )

    def _possible(self) -> Iterable[tuple[Any, float]]:
        if self.active:
            yield self._step, 2.0
        if self.queue:
            yield self._deliver, 3.0
        if self.work:
            yield self._do, 4.0
        if timers := [name for name in self.log.timers if name != "deadline" or self.deadline]:
            yield lambda: self._fire(self.random.choice(timers)), 2.0
        if self.late:
            yield self._wake_up, 0.1
        if self.chaos > 0:
            yield self._crash, 0.15
            if self.work:
                yield self._give_up, 1.0
        if self.cancel_left and self.log.events:
            yield self._cancel, 0.3
        if not (self.active or self.queue or self.work):
            # A wake-up that was settled too early would show here: nothing is left that could move the run.
            yield self._stuck, 0.0001

    def _stuck(self) -> None:
        if not self.log.timers and not self.late:
            raise AssertionError("nothing is left to do and the run is not over")

    def _notice(self) -> None:
        """What was stored wakes whom it concerns, as the consumers' filters say."""
        for event in self.log.events[self.seen :]:
            if isinstance(event.data, TaskScheduled):
                self.work.append(event)
            elif not event.type.startswith("benchmark.") or isinstance(event.data, CancelRequested):
                self.queue.append(Wake("result", attempt=event.seq))
        self.seen = len(self.log.events)

    def _again(self) -> bool:
        """Say whether a message comes once more: its acknowledgement was lost."""
        return self.chaos > 0 and self.random.random() < 0.15

    def _deliver(self) -> None:
        wake = self.queue.pop(self.random.randrange(len(self.queue)))
        index = self.random.randrange(len(self.engines))
        # One call at a time for a run, but for what the sweeper sees: it comes from beside.
        if wake.kind != "abandoned" and any(
            at == index and other.kind != "abandoned" for at, other, _ in self.active
        ):
            self.queue.append(wake)
            return
        self.active.append((index, wake, self._handle(self.engines[index], wake)))

    async def _handle(self, engine: Engine, wake: Wake) -> None:
        match wake.kind:
            case "request":
                await engine.advance(await engine.request(Request(id=REQUEST_ID, body=self.body)))
            case "result":
                await engine.advance(RUN, at_least=wake.attempt)
            case "timer":
                await engine.timer(RUN, wake.name)
            case "abandoned":
                await engine.abandon(RUN, wake.name, wake.attempt, "delivered 5 times and never reported")

    def _step(self) -> None:
        at = self.random.randrange(len(self.active))
        _, wake, coroutine = self.active[at]
        try:
            coroutine.send(None)
        except StopIteration:
            del self.active[at]
            if self._again():
                self.queue.append(wake)

    def _crash(self) -> None:
        """A coordinator dies wherever it is; what it had not settled comes again, to any of them."""
        self.crashes += 1
        index = self.random.randrange(len(self.engines))
        for at, wake, coroutine in self.active:
            if at == index:
                coroutine.close()
                self.queue.append(wake)
        self.active = [entry for entry in self.active if entry[0] != index]
        self.engines[index] = self._engine(index)

    def _fire(self, name: str) -> None:
        del self.log.timers[name]
        self.queue.append(Wake("timer", name))
        if self._again():
            self.queue.append(Wake("timer", name))

    def _cancel(self) -> None:
        self.cancel_left = False
        self._store(CancelRequested(reason="enough"), self.log.events[0].id, "cancel", 0)

    def _give_up(self) -> None:
        """A worker hangs: its task is given up, and may be reported after all, much later."""
        event = self.work.pop(self.random.randrange(len(self.work)))
        assert isinstance(event.data, TaskScheduled)
        self.late.append(event)
        self.queue.append(Wake("abandoned", event.data.task, event.data.attempt))

    def _wake_up(self) -> None:
        self.work.append(self.late.pop(self.random.randrange(len(self.late))))

    def _do(self) -> None:
        """A worker takes a task: it may die, fail, do it, or do it twice."""
        event = self.work.pop(self.random.randrange(len(self.work)))
        if self.chaos > 0 and self.random.random() < 0.1:
            self.work.append(event)  # it died
            return
        if self._again():
            self.work.append(event)  # it was done and not acknowledged
        given = event.data
        assert isinstance(given, TaskScheduled)
        index = sum(given.task.encode()) % 97
        if given.attempt <= index % (self.fails + 1):
            data = AgentTaskFailed(
                task=given.task, attempt=given.attempt, error="TaskFailed", message="no", retryable=True
            )
            self._store(data, event.id, "model_agent.noop.failed", 0)
            return
        if index % 3 == 0:  # a fact that concludes nothing, as ModelTrained is before Predicted
            self._store(fact(given.task), event.id, "model_agent.noop", 0)
        elapsed = self.random.random()
        self._store(
            TaskDone(task=given.task, index=index, elapsed_us=elapsed), event.id, "model_agent.noop", 1
        )

    def _store(self, data: Data, cause: str, handler: str, index: int) -> None:
        """Store what a worker says: one event an id, one result a task."""
        event = new_event(
            data,
            run=RUN,
            source="/swarm/model_agent/1",
            cause=cause,
            handler=handler,
            index=index,
            correlation=REQUEST_ID,
            traceparent=self.log.events[-1].traceparent,
            time_ns=self.clock(),
        )
        for other in self.log.events:
            if other.id == event.id:
                return
            if not isinstance(data, AgentTaskFailed | CancelRequested) and (
                other.type == event.type and other.data.task == data.task  # type: ignore[union-attr,attr-defined]
            ):
                return
        self.log.store(event)


def fact(name: str) -> Data:
    """Return something that a worker records of a task before its result."""
    return ModelTrained(
        task=name,
        model=name,
        model_type="svm",
        hyperparameters={},
        n_train=1,
        n_features=1,
        folds=0,
        score_name="accuracy",
        fitted="0",
        fit_s=0.1,
        score_s=0.1,
        cpu_s=0.1,
        max_rss_bytes=1,
        worker="w",
        started=clock.format_ns(START_NS),
        waited_s=0.0,
    )
