"""Wiring of the coordinator: requests, results, timers and abandoned tasks wake the engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from swarm_common import __version__
from swarm_common.errors import InvalidEvent, NotFound, StreamFull, SwarmError, UsageError
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.envelope import decode
from swarm_common.events.subjects import CONTEXTS, REQUESTS, results_filter
from swarm_common.log.eventlog import IMPORTED
from swarm_common.log.publisher import MSG_ID
from swarm_common.log.reader import read_at
from swarm_common.log.streams import ADVISORY_STREAM, STREAM, TIMER_STREAM
from swarm_common.log.timers import FIRED, fired, is_fired
from swarm_common.runtime import Service, deadletters
from swarm_common.runtime.consumer import ACK_WAIT_S, Delivery
from swarm_common.runtime.context import Context
from swarm_common.runtime.worker import FULL_AGAIN_S
from swarm_coordinator.engine import Engine
from swarm_coordinator.plans import complete_params, find_scenario
from swarm_coordinator.replay import decide_again
from swarm_coordinator.requests import read_request
from swarm_coordinator.suites import SUITES
from swarm_coordinator.suites.coordination.data import listed
from swarm_coordinator.suites.coordination.estimating import Shape, estimate
from swarm_coordinator.wakeups import Wakeups

log = structlog.get_logger(__name__)

service = Service(
    "coordinator",
    "benchmark",
    version=__version__,
    description="Plans runs, schedules their tasks, retries, finishes them",
)
service.decide_again = decide_again

#: Wake-ups held at once. Results are read from the log, so a wake-up is small.
SLOTS = 2048


class _Advisory(msgspec.Struct):
    consumer: str = ""
    stream_seq: int = 0
    deliveries: int = 0


class Coordinator:
    """The engine with its consumers."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.engine = Engine(
            context.log,
            context.tracer,
            context.source,
            SUITES,
            __version__,
            endpoint=bool(context.settings.llm_url),
        )
        self.wakeups = Wakeups(self.handle)

    async def start(self) -> None:
        self.context.spawn(self.hold(), "hold")
        filters = [REQUESTS, "swarm.benchmark.*.cancel_requested"]
        filters += [results_filter(name) for name in CONTEXTS if name != "benchmark"]
        await self.context.consume("coordinator", filters, self.deliver, slots=SLOTS)
        await self.context.consume("coordinator-timers", [FIRED], self.deliver, slots=64, stream=TIMER_STREAM)
        await self.context.consume("coordinator-sweeper", [">"], self.sweep, slots=8, stream=ADVISORY_STREAM)

    async def deliver(self, delivery: Delivery) -> None:
        """Sort a message by the run it is about."""
        if delivery.header(IMPORTED):
            await delivery.ack()
        elif delivery.subject == REQUESTS:
            self.wakeups.add(f"{REQUESTS}:{delivery.seq}", delivery)
        elif is_fired(delivery.subject):
            # Beside the run's results, not behind them: whoever is busy deciding on those may be so for long.
            self.wakeups.add(f"{FIRED}:{fired(delivery.subject)[0]}", delivery)
        else:
            self.wakeups.add(delivery.subject.split(".")[2], delivery)

    async def handle(self, run: str, deliveries: Sequence[Delivery]) -> None:
        """Take a run forward because of some messages, and settle them. While the log is full they are kept."""
        while True:
            try:
                await self.advance(run, deliveries)
            except StreamFull as error:
                log.warning("log_full", run=run, message=str(error))
                await asyncio.sleep(FULL_AGAIN_S)
            except Exception as error:
                passing = isinstance(error, SwarmError) and not isinstance(error, InvalidEvent)
                log.warning(
                    "not_handled",
                    run=run,
                    error=type(error).__name__,
                    message=str(error),
                    exc_info=not passing,
                )
                for delivery in deliveries:
                    await self.settle(delivery, error)
                return
            else:
                break
        for delivery in deliveries:
            await delivery.ack()

    async def advance(self, run: str, deliveries: Sequence[Delivery]) -> None:
        """Do what the messages ask for: begin a run, record timers, decide on results."""
        if run.startswith(REQUESTS):
            await self.accept(deliveries[0])
            return
        for delivery in deliveries:
            if is_fired(delivery.subject):
                await self.engine.timer(*fired(delivery.subject))
        results = [d for d in deliveries if not is_fired(d.subject)]
        if results:
            links = [link for d in results[:32] if (link := d.header("traceparent"))]
            await self.engine.advance(run, at_least=max(d.seq for d in results), links=links)

    async def hold(self) -> None:
        """Tell the broker of what waits here, so that a log that is full for long costs no deliveries."""
        while True:
            await asyncio.sleep(ACK_WAIT_S / 3)
            for delivery in self.wakeups.held():
                await delivery.in_progress()

    async def accept(self, delivery: Delivery) -> None:
        """Begin the run of a request. Bytes that are no request at all become a dead letter."""
        try:
            request = read_request(
                delivery.data,
                message_id=delivery.header(MSG_ID),
                position=f"{STREAM}:{delivery.seq}:{_stored_ns(delivery)}",
                headers=delivery.msg.headers,
            )
        except InvalidEvent as error:
            await self.bury(delivery, error)
            return
        run = await self.engine.request(request)
        await self.engine.advance(run)

    async def settle(self, delivery: Delivery, error: Exception) -> None:
        """Have a message come again; after the last time it goes to the dead letters."""
        if delivery.last:
            with contextlib.suppress(SwarmError):
                await self.bury(delivery, error)
                await delivery.ack()
        else:
            await delivery.nak()

    async def bury(self, delivery: Delivery, error: Exception) -> None:
        await deadletters.bury(
            self.context.log,
            consumer=delivery.consumer.name,
            subject=delivery.subject,
            seq=delivery.seq,
            body=delivery.data,
            headers=delivery.msg.headers,
            deliveries=delivery.deliveries,
            error=f"{type(error).__name__}: {error}",
        )

    async def sweep(self, delivery: Delivery) -> None:
        """JetStream gave a message up: bury it, and if it was a task, tell its run."""
        try:
            advisory = msgspec.json.decode(delivery.data, type=_Advisory)
            stored = await read_at(self.context.broker, advisory.stream_seq)
            await deadletters.bury(
                self.context.log,
                consumer=advisory.consumer,
                subject=stored.subject,
                seq=stored.seq,
                body=stored.data,
                headers={
                    k: v
                    for k, v in stored.headers.items()
                    if k not in {"Nats-Stream", "Nats-Subject", "Nats-Sequence"}
                },
                deliveries=advisory.deliveries,
                error=f"delivered {advisory.deliveries} times and never settled: its worker died or hung each time",
            )
            if ".task_scheduled." in stored.subject:
                event = decode(stored.data)
                if isinstance(event.data, TaskScheduled):
                    reason = f"delivered {advisory.deliveries} times and never reported"
                    await self.engine.abandon(event.run, event.data.task, event.data.attempt, reason)
            elif advisory.consumer == "coordinator" and stored.subject != REQUESTS:
                await self.engine.advance(stored.subject.split(".")[2])  # what it would have woken us for
        except (NotFound, InvalidEvent, msgspec.DecodeError) as error:
            log.warning("advisory_without_message", error=str(error))
        except SwarmError as error:
            log.warning("sweep_again", error=str(error))
            await delivery.nak()
            return
        await delivery.ack()


def _stored_ns(delivery: Delivery) -> str:
    """Return when the broker stored a message, from its reply subject; the same however often it is delivered."""
    tokens = delivery.msg.reply.split(".")
    return tokens[7] if len(tokens) == 9 else tokens[9]  # with domain and account in front, as ADR-15 has it


@service.on_start
async def _start(context: Context) -> None:
    await Coordinator(context).start()


@service.query("suites")
async def _suites(_: Context, given: dict[str, Any]) -> Any:  # noqa: ARG001 - takes no parameters
    """Return the suites with their scenarios, parameters and targets."""
    return [
        {
            "name": suite.name,
            "description": suite.description,
            "scenarios": [msgspec.to_builtins(scenario) for scenario in suite.scenarios],
        }
        for suite in SUITES.values()
    ]


@service.query("estimate")
async def _estimate(_: Context, given: dict[str, Any]) -> Any:
    """Return what a run of `coordination` will ask for; `items` and `guide` are as model-agent outlines them."""
    suite = SUITES["coordination"]
    scenario = find_scenario(suite, str(given.get("scenario", "")))
    params = complete_params(scenario, given.get("params", {}))
    try:
        shapes = msgspec.convert(given.get("items", ()), tuple[Shape, ...])
    except msgspec.ValidationError as error:
        raise UsageError(f"items: {error}", field="items") from None
    if not shapes:
        raise UsageError("items is empty; it needs one question at least", field="items")
    guide, seed = int(given.get("guide", 0)), int(given.get("seed", 0))
    # In a thread: a large plan takes a moment, and runs want decisions meanwhile.
    found = await asyncio.to_thread(estimate, suite, scenario.name, params, seed, shapes, guide)
    return msgspec.to_builtins(found)


@service.query("roles")
async def _roles(_: Context, given: dict[str, Any]) -> Any:
    """Return the roles of agents, those in the TOML text ``own`` among them."""
    return _cast(given, "roles")


@service.query("strategies")
async def _strategies(_: Context, given: dict[str, Any]) -> Any:
    """Return the strategies of the coordination suite, those in the TOML text ``own`` among them."""
    return _cast(given, "strategies")


def _cast(given: dict[str, Any], what: str) -> Any:
    try:
        found = listed(str(given.get("own", "")))
    except UsageError as error:
        return {"error": str(error)}
    return {what: found[what]}
