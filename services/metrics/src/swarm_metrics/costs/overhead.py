"""The same empty tasks, with nothing measured beside and with one thing measured: what that thing costs.

Tasks go the way that a service's tasks go: the worker of :mod:`swarm_common.runtime.worker` opens, handles, encodes,
checks and appends them, on the loop that services have. Only the broker is not there: messages end where they would be
sent. Blocks of tasks with each condition take turns, in an order that is drawn anew in each round, so what the machine
does meanwhile falls on all of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from nats.aio.msg import Msg

from swarm_common import live
from swarm_common.events import Data, encode
from swarm_common.events.agent import TaskDone
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import new_event
from swarm_common.log.eventlog import EventLog
from swarm_common.log.publisher import Ack, Message
from swarm_common.runtime.collecting import Collector
from swarm_common.runtime.consumer import Consumer, Delivery
from swarm_common.runtime.context import Context
from swarm_common.runtime.host import run_as_services_do
from swarm_common.runtime.service import Service, Work
from swarm_common.runtime.worker import Worker
from swarm_common.settings import Settings
from swarm_common.tracing import LogTracer, OtelTracer

OFF, TRACED, SAMPLED, COLLECTED = CONDITIONS = ("off", "tracing", "tracing_sampled", "collection")
#: The share of traces that condition ``tracing_sampled`` exports.
SHARE = 0.1
#: Of each task: its handling, and sending its result.
SPANS = 2
_SAMPLES, _NOTES = 240, 20_000
_SERVICE = "overhead"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured; a collector of traces is named by ``OTEL_EXPORTER_OTLP_ENDPOINT``."""

    tasks: int
    rounds: int
    seed: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Times are microseconds."""

    cpu: dict[str, list[float]]
    """By condition: processor time of the process for a task, one value a round."""
    wall: dict[str, list[float]]
    spans: dict[str, int]
    """By condition: those that the collector took."""
    sample_cpu: list[float]
    """Processor time of single samples of collection."""
    note_cpu: float
    """Processor time of noting one task for collection."""


class _Nowhere:
    """Where messages and acknowledgements end that would go to the broker."""

    def __init__(self) -> None:
        self.published = self.open = 0
        self.done = asyncio.Event()

    def expect(self, many: int) -> None:
        """Begin to wait for so many acknowledgements: :attr:`done` is set with the last."""
        self.open = many
        self.done.clear()

    async def publish(self, what: Message | str, _body: bytes = b"") -> Ack:
        if isinstance(what, Message):
            self.published += 1
        return Ack(1, duplicate=False)

    name, doubtful_until = _SERVICE, 0

    def _settled(self, _delivery: Delivery) -> None:
        self.open -= 1
        if self.open == 0:
            self.done.set()


class _Log(EventLog):
    """The log up to the broker: events become messages, encoded and checked as ever, which go nowhere."""

    def __init__(self, nowhere: _Nowhere) -> None:
        self._publisher = cast("Any", nowhere)


service = Service(_SERVICE, "agent")


@service.task("empty")
async def empty(work: Work) -> Data:
    """Do nothing, as the tasks of ``noop`` do."""
    return TaskDone(task=work.task.task, index=work.task.params["index"])


class _Bench:
    """A worker, and the deliveries that it is given."""

    def __init__(self, order: Order) -> None:
        self._nowhere = _Nowhere()
        settings = Settings(sample_s=0)
        self.context = Context(service, settings, cast("Any", None), _Log(self._nowhere))
        self._deliveries = [self._delivery(index, body) for index, body in enumerate(_bodies(order))]
        self.worker = Worker(self.context)

    def _delivery(self, index: int, body: bytes) -> Delivery:
        subject = f"swarm.benchmark.run.task_scheduled.{_SERVICE}.io"
        message = Msg(cast("Any", self._nowhere), subject, f"$JS.ACK.{index}", body)
        return Delivery(message, index + 1, 1, cast("Consumer", self._nowhere))

    async def block(self, finish: Callable[[], object]) -> tuple[float, float]:
        """Do all tasks once, and ``finish``, whose processor time counts too; return microseconds a task."""
        before = self._nowhere.published
        self._nowhere.expect(len(self._deliveries))
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        for delivery in self._deliveries:
            await self.worker.on_task(delivery)
        await self._nowhere.done.wait()
        wall = time.perf_counter_ns() - wall
        finish()
        cpu = time.process_time_ns() - cpu
        many = len(self._deliveries)
        if self._nowhere.published - before != many:
            msg = f"{self._nowhere.published - before} of {many} tasks have a result"
            raise RuntimeError(msg)
        return cpu / many / 1000, wall / many / 1000


def _bodies(order: Order) -> list[bytes]:
    """Return the tasks as they lie in the log; each is of a trace of its own, so that some traces can be sampled."""
    ids = random.Random(f"{order.seed}/overhead/traces")  # noqa: S311 - seeded, nothing secret
    return [
        encode(
            new_event(
                TaskScheduled(task=f"t-{index}", kind="empty", service=_SERVICE, params={"index": index}),
                run="run",
                source="/swarm/coordinator/overhead-1",
                cause="request",
                handler="overhead",
                index=index,
                traceparent=f"00-{ids.getrandbits(128):032x}-{ids.getrandbits(64) | 1:016x}-01",
            )
        )
        for index in range(order.tasks)
    ]


def _tracer(name: str, sampler: str = "") -> OtelTracer:
    # The SDK takes its sampler from the environment when a tracer is made, as in a service.
    os.environ["OTEL_TRACES_SAMPLER"] = sampler or "always_on"
    os.environ["OTEL_TRACES_SAMPLER_ARG"] = str(SHARE)
    return OtelTracer(f"swarm-{name}", f"{name}-1", "0")


def work(order: Order) -> Found:
    """Measure as ordered."""
    return run_as_services_do(_measured(order))


async def _measured(order: Order) -> Found:
    bench = _Bench(order)
    tracers = {TRACED: _tracer(TRACED), SAMPLED: _tracer(SAMPLED, "traceidratio")}
    collector = Collector(_SERVICE, "overhead-1", 1.0)
    finishing: dict[str, Callable[[], object]] = {
        OFF: lambda: None,
        TRACED: tracers[TRACED].flush,
        SAMPLED: tracers[SAMPLED].flush,
        COLLECTED: lambda: live.encode(collector.sample(1, 0, 0)),
    }
    silent, none = Collector(_SERVICE, "overhead-1", 0), LogTracer()
    cpu: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    wall: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    collector.begin()
    warm = dict.fromkeys(CONDITIONS, 0)
    for turn in range(-1, order.rounds):  # the first round warms up
        for name in _drawn(order.seed, turn):
            bench.context.tracer = tracers.get(name, none)
            bench.context.collector = collector if name == COLLECTED else silent
            if name == COLLECTED:
                collector.pauses.begin()
            found = await bench.block(finishing[name])
            collector.pauses.end()
            if turn >= 0:
                cpu[name].append(found[0])
                wall[name].append(found[1])
            else:
                warm[name] = tracers[name].sent if name in tracers else 0
    samples, note = _single(collector)
    spans = {name: tracers[name].sent - warm[name] if name in tracers else 0 for name in CONDITIONS}
    collector.end()
    for tracer in tracers.values():
        tracer.close()
    if spans[TRACED] != (made := SPANS * order.tasks * order.rounds):
        msg = f"the collector took {spans[TRACED]} of {made} spans: what exporting costs is not known"
        raise RuntimeError(msg)
    return Found(cpu=cpu, wall=wall, spans=spans, sample_cpu=samples, note_cpu=note)


def _drawn(seed: int, turn: int) -> Sequence[str]:
    order = list(CONDITIONS)
    random.Random(f"{seed}/overhead/{turn}").shuffle(order)  # noqa: S311 - seeded, nothing secret
    return order


def _single(collector: Collector) -> tuple[list[float], float]:
    """Return what single samples take, and what noting one task takes."""
    samples = []
    for _ in range(_SAMPLES):
        began = time.thread_time_ns()
        live.encode(collector.sample(1, 0, 0))
        samples.append((time.thread_time_ns() - began) / 1000)
    began = time.thread_time_ns()
    for _ in range(_NOTES):
        collector.task_ended(0)
    collector.tasks.take()
    return samples, (time.thread_time_ns() - began) / _NOTES / 1000
