"""The client for Python users.

::

from swarm_common import Client

async with Client() as swarm:
    run = await swarm.run("ensemble", "digits")
    print(run.metrics["accuracy"])
    run = await swarm.run("ensemble", "file", {"data": Path("people.csv"), "target": "income"})
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import nats.errors

from swarm_common import datafiles
from swarm_common.asking import Asking
from swarm_common.datafiles import DataFile
from swarm_common.errors import BrokerUnavailable, NotFound, RunFailed, SwarmError, UsageError
from swarm_common.events import Event, Metric
from swarm_common.events.benchmark import CancelRequested, Requested
from swarm_common.events.envelope import CONTENT_TYPE, encode, new_event
from swarm_common.events.subjects import REQUESTS, run_filter
from swarm_common.ids import new_id, run_id, trace_id
from swarm_common.log.broker import Broker
from swarm_common.log.eventlog import EventLog
from swarm_common.log.publisher import MSG_ID, Message
from swarm_common.runs import RunView, new_view
from swarm_common.settings import Settings, load_settings
from swarm_common.tracing import root

SOURCE = "/swarm/client"
#: How long, after a run has completed, its aftermath (memory, suggestions) is waited for.
AFTERMATH_S = 3.0


class Run(msgspec.Struct, frozen=True):
    """A run that ended: its view, with metrics by name."""

    view: RunView

    @property
    def id(self) -> str:
        return self.view.run

    @property
    def status(self) -> str:
        return self.view.status

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric in self.view.metrics}

    @property
    def result(self) -> Mapping[str, Any]:
        return self.view.result

    @property
    def digest(self) -> str:
        return self.view.digest


class Client(Asking):
    """Requests runs, reads the log and asks metrics. Use it as an async context manager."""

    def __init__(
        self, nats_url: str = "", *, settings: Settings | None = None, timeout_s: float = 5.0
    ) -> None:
        self.settings = settings or load_settings({"nats_url": nats_url or None})
        self._timeout_s = timeout_s
        self.broker: Broker
        self.log: EventLog

    async def __aenter__(self) -> Self:
        self.broker = await Broker.connect(
            broker_url(self.settings), name="swarm-client", timeout_s=self._timeout_s
        )
        self.log = EventLog(self.broker, timeout_s=self._timeout_s)
        await self.log.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.log.close()
        await self.broker.close()

    async def request(self, request: Requested, *, request_id: str = "") -> str:
        """Publish a request and return the id of its run; the same request id twice is one run.

        A :class:`~pathlib.Path` among the parameters is uploaded first; raises as :meth:`upload` does.
        """
        request = msgspec.structs.replace(request, params=await self._uploaded(request.params))
        request_id = request_id or new_id()
        event = msgspec.structs.replace(
            new_event(
                request,
                run=run_id(request_id),
                source=SOURCE,
                cause="",
                handler="client",
                traceparent=root(trace_id(request_id)),
            ),
            id=request_id,
            correlation=request_id,
        )
        message = Message(
            REQUESTS,
            encode(event),
            {MSG_ID: request_id, "Content-Type": CONTENT_TYPE, "traceparent": event.traceparent},
        )
        await self.log.publish(message)
        return run_id(request_id)

    async def run(
        self,
        suite: str,
        scenario: str = "",
        params: Mapping[str, Any] | None = None,
        *,
        session: str = "",
        seed: int = 42,
        timeout_s: float | None = None,
        on_event: Callable[[RunView, Event], None] | None = None,
    ) -> Run:
        """Request a run and wait for its end. A :class:`~pathlib.Path` among ``params`` is uploaded.

        Raises :class:`UsageError` where the request is rejected and :class:`RunFailed` where the run fails or is
        cancelled. ``on_event`` sees every event as it comes, with the view after it.
        """
        request = Requested(
            suite=suite,
            scenario=scenario,
            params=dict(params or {}),
            session=session or self.settings.session,
            seed=seed,
            timeout_s=timeout_s,
        )
        view = await self.wait(await self.request(request), on_event=on_event)
        if view.rejected is not None:
            raise UsageError(
                view.reason,
                field=view.rejected.field,
                given=view.rejected.given,
                allowed=view.rejected.allowed,
            )
        if view.status != "completed":
            raise RunFailed(f"run {view.run} {view.status}: {view.reason}")
        return Run(view)

    async def upload(self, path: Path, field: str = "path") -> DataFile:
        """Put a file's bytes into the object store, once however often they come; return what a request calls it.

        At most 256 MiB (:data:`swarm_common.datafiles.MOST_BYTES`). Raises :class:`UsageError`, naming ``field``, for a
        path that is no file, an empty or a larger one, and :class:`SwarmError` where the broker does not take it.
        """
        data = await asyncio.to_thread(datafiles.read, path, field)
        try:
            ref = await self.log.blobs.put(data)
        except (nats.errors.Error, TimeoutError) as error:
            raise SwarmError(
                f"{path} could not be put into the object store ({error or 'no answer'}): "
                "is the broker's disk full, or may this user not write to SWARM_BLOBS?"
            ) from error
        return DataFile(datafiles.safe_name(path.name), ref)

    async def _uploaded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters with each path replaced by the reference of its bytes."""
        return {
            name: str(await self.upload(value, f"params.{name}")) if isinstance(value, Path) else value
            for name, value in params.items()
        }

    async def wait(self, run: str, *, on_event: Callable[[RunView, Event], None] | None = None) -> RunView:
        """Follow a run to its end, and its aftermath for a moment longer; return the view."""
        view = new_view(run)
        async with contextlib.aclosing(self.follow(run)) as events:
            it = events.__aiter__()
            while not view.settled:
                try:
                    event = await asyncio.wait_for(anext(it), AFTERMATH_S if view.over else None)
                except TimeoutError:
                    break
                view.apply(event)
                if on_event is not None:
                    on_event(view, event)
        return view

    async def follow(self, run: str, *, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield a run's events, those of the past first, then live ones, without end."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        subject = run_filter(run) if run else "swarm.>"
        replay = await self.log.replay(queue.put_nowait, subject=subject, after=after)
        try:
            while True:
                yield await self.log.resolve(await queue.get())
        finally:
            await replay.stop()

    async def events(self, run: str) -> list[Event]:
        """Return a run's events so far; raises :class:`NotFound` where there are none."""
        events = await self.log.read_run(run)
        if not events:
            raise NotFound(f"no run {run!r} in this log; `swarm runs` lists them")
        return events

    async def cancel(self, run: str, reason: str = "") -> None:
        """Ask for a run to be stopped; raises :class:`NotFound` for an unknown run."""
        events = await self.events(run)
        event = new_event(
            CancelRequested(reason=reason),
            run=run,
            source=SOURCE,
            cause=events[0].id,
            handler="cancel",
            index=new_id(),
            correlation=events[0].correlation,
            traceparent=root(events[0].trace_id),
        )
        await self.log.append([event])

    async def query(
        self, service: str, name: str, given: Mapping[str, Any] | None = None, *, timeout_s: float = 3.0
    ) -> Any:
        """Ask a service; raises :class:`BrokerUnavailable` where it is away, :class:`UsageError` where it refuses."""
        try:
            reply = await self.broker.nc.request(
                f"query.{service}.{name}", msgspec.json.encode(dict(given or {})), timeout=timeout_s
            )
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError, TimeoutError) as error:
            raise BrokerUnavailable(
                f"{service} does not answer; `swarm status` shows what runs, `swarm up` starts it"
            ) from error
        headers = reply.headers or {}
        if "Nats-Service-Error" in headers:
            refused: type[SwarmError] = (
                UsageError if headers.get("Nats-Service-Error-Code") == "400" else SwarmError
            )
            raise refused(headers["Nats-Service-Error"])
        return msgspec.json.decode(reply.data)

    async def instances(self, *, wait_s: float = 0.5) -> list[dict[str, Any]]:
        """Return the running instances of all services, as NATS micro's STATS tell within ``wait_s``."""
        inbox = self.broker.nc.new_inbox()
        found: list[dict[str, Any]] = []
        subscription = await self.broker.nc.subscribe(inbox)
        await self.broker.nc.publish("$SRV.STATS", b"", reply=inbox)
        deadline = asyncio.get_running_loop().time() + wait_s
        with contextlib.suppress(TimeoutError, nats.errors.TimeoutError):
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                message = await subscription.next_msg(timeout=left)
                if not message.data:
                    break
                stats = msgspec.json.decode(message.data)
                state: dict[str, Any] = next(
                    (e["data"] for e in stats.get("endpoints", []) if e.get("data")), {}
                )
                if str(stats.get("name", "")).startswith("swarm-"):
                    found.append(state | {"service": stats["metadata"].get("service"), "id": stats["id"]})
        await subscription.unsubscribe()
        return sorted(found, key=lambda one: (str(one.get("service")), int(one.get("pid", 0))))


def broker_url(settings: Settings) -> str:
    """Return the broker to use: the one that settings name, else the embedded one that runs under ``home``."""
    if settings.nats_url:
        return settings.nats_url
    state = settings.home_path / "stack.json"
    with contextlib.suppress(OSError, msgspec.DecodeError, KeyError, TypeError):
        return str(msgspec.json.decode(Path(state).read_bytes())["nats_url"])
    return "nats://127.0.0.1:4222"
