"""Endpoints that are asked on an event loop of their own, in a thread of their own.

The libraries take a millisecond of computing a call, and their connection pool looks at every connection and every
waiting call each time one of them comes or goes. On the service's own loop, a thousand calls at once kept its
heartbeats and its other tasks waiting for seconds. In a thread they cost it no more than Python's switch of threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from swarm_common.llm import Request, Response
from swarm_model_agent.executors.core import Ability, Endpoint

T = TypeVar("T")


class Loop:
    """An event loop in a thread, which begins with the first call and ends with :meth:`close`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns there; cancelling this cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = type(asyncio.get_running_loop())()  # of the kind that the service runs on
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="model-endpoints", daemon=True
            )
            self._thread.start()
        return self._loop

    async def close(self) -> None:
        """End the thread; what is under way there is cancelled."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)
            self._loop = self._thread = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class Apart:
    """An endpoint that is asked on such a loop."""

    def __init__(self, endpoint: Endpoint, loop: Loop) -> None:
        self.model = endpoint.model
        self.abilities: frozenset[Ability] = endpoint.abilities
        self._endpoint = endpoint
        self._loop = loop

    async def answer(self, request: Request) -> Response:
        """Ask there."""
        return await self._loop.run(self._endpoint.answer(request))

    async def close(self) -> None:
        """Close the endpoint, where its connections live."""
        await self._loop.run(self._endpoint.close())
