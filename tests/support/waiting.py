"""Waiting on conditions: the only place in the tests that polls. Nothing else sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_EVERY_S = 0.01


async def until(condition: Callable[[], T | Awaitable[T]], timeout_s: float = 20.0, what: str = "") -> T:
    """Return the condition's value once it is true; ``condition`` may be a coroutine function.

    Fails the test after ``timeout_s``, saying ``what`` was waited for and the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        value: T = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or 'the condition'} did not come about in {timeout_s} s; last: {value!r}"
            )
        await asyncio.sleep(_EVERY_S)


def until_sync(condition: Callable[[], T], timeout_s: float = 20.0, what: str = "") -> T:
    """Do the same in a test without an event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or 'the condition'} did not come about in {timeout_s} s; last: {value!r}"
            )
        time.sleep(_EVERY_S)
