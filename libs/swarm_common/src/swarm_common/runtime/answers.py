"""How a service is asked: it registers with NATS micro, and answers for its health and its queries."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
import nats.micro
import structlog
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, ServiceConfig
from nats.micro.service import Service as MicroService

from swarm_common import clock
from swarm_common.errors import SwarmError, UsageError
from swarm_common.live import ClockReading, clock_subject
from swarm_common.runtime import deadletters
from swarm_common.runtime.context import Context

log = structlog.get_logger(__name__)


async def announce(context: Context, state: Callable[[], dict[str, Any]]) -> MicroService:
    """Register with NATS micro: discovery, health (``state``) and queries; stop what is returned at the end."""
    service = context.service
    micro = await nats.micro.add_service(
        context.broker.nc,
        ServiceConfig(
            name=f"swarm-{service.name}",
            version=service.version,
            description=service.description or f"Swarmbench {service.name}",
            metadata={"instance": context.instance, "pid": str(os.getpid()), "service": service.name},
        ),
    )

    async def health(request: Request) -> None:
        await request.respond(msgspec.json.encode(state()))

    async def clock_shows(request: Request) -> None:
        received = clock.now_ns()
        await request.respond(msgspec.json.encode(ClockReading(received, clock.now_ns())))

    def stats(_endpoint: object) -> dict[str, Any]:
        return state()

    await micro.add_endpoint(
        EndpointConfig(name="health", handler=health, subject=f"query.{service.name}.health")
    )
    await micro.add_endpoint(
        EndpointConfig(
            name="clock", handler=clock_shows, subject=clock_subject(service.name, context.instance)
        )
    )
    micro._stats_handler = stats  # noqa: SLF001 - STATS of NATS micro carries our state
    for name, query in service.queries.items():
        await micro.add_endpoint(
            EndpointConfig(
                name=name.replace(".", "-"),
                handler=_query_handler(context, query),
                subject=f"query.{service.name}.{name}",
            )
        )
    return micro


def _query_handler(context: Context, query: Any) -> Any:
    async def handle(request: Request) -> None:
        try:
            given = msgspec.json.decode(request.data or b"{}", type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            await refuse(request, "400", f"the query is no JSON object: {error}")
            return
        try:
            answer = msgspec.json.encode(await query(context, given))
        except UsageError as error:
            await refuse(request, "400", str(error))
        except SwarmError as error:
            await refuse(request, "500", str(error))
        except Exception as error:
            log.exception("query_failed", subject=request.subject)
            await refuse(request, "500", f"{type(error).__name__}: {error}")
        else:
            await request.respond(answer)

    async def refuse(request: Request, code: str, why: str) -> None:
        await request.respond_error(code, deadletters.ascii_line(why))

    return handle
