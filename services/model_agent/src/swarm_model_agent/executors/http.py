"""What the libraries of OpenAI and Anthropic share, being generated alike: how an answer is read, and how it fails."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any

from swarm_common.llm import Trouble
from swarm_model_agent.executors.core import MOST_BYTES, Failed

#: The server's own words in an error of ours.
_LONGEST = 300
_BY_STATUS: dict[int, Trouble] = {
    401: "unauthorized",
    403: "unauthorized",
    408: "timeout",
    429: "rate_limited",
}


async def body_of(asking: Any, library: ModuleType, variable: str, secret: str) -> bytes:
    """Return the bytes of an answer, the key taken out; raises :class:`Failed` where there is none.

    Args:
        asking: What ``with_streaming_response.create`` of a library returned.
        library: That library.
        variable: Where its key comes from, for what is said of a key that is refused.
        secret: The key.
    """
    import httpx2  # noqa: PLC0415 - comes with the library

    body = bytearray()
    try:
        async with asking as response:
            async for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise Failed("invalid_answer", f"the answer is longer than {MOST_BYTES} bytes")
    except httpx2.TransportError as error:
        # The libraries turn only those into their own that come before the body.
        raise broken(error, secret, bytes(body)) from None
    except library.APIError as error:
        raise failed_of(error, library, variable, secret, bytes(body)) from None
    return redacted(bytes(body), secret)


def failed_of(error: Any, library: ModuleType, variable: str, secret: str, raw: bytes) -> Failed:
    """Return our failure for an ``APIError`` of one of the libraries; the key is taken out of what it says."""
    status = getattr(error, "status_code", None)
    words = without(str(error), secret)[:_LONGEST]
    if status is None:
        if isinstance(error, library.APITimeoutError):
            return Failed("timeout", "the endpoint did not answer in time", raw=raw)
        if type(error.__cause__).__name__ == "RemoteProtocolError":
            return broken(error.__cause__, secret, raw)
        return Failed("unreachable", f"the endpoint cannot be reached: {words}", raw=raw)
    if status in {401, 403}:  # in our words: servers repeat part of the key
        given = "not the key that it wants" if secret else "not set"
        return Failed("unauthorized", f"the endpoint refuses us ({status}): {variable} is {given}")
    trouble: Trouble = _BY_STATUS.get(status, "overloaded" if status >= 500 else "refused_request")
    return Failed(
        trouble, f"the endpoint answered {status}: {words}", pause_s=_pause_s(error.response), raw=raw
    )


def broken(error: Exception, secret: str, raw: bytes) -> Failed:
    """Return our failure for a connection that broke while the body came."""
    why = without(str(error), secret)[:_LONGEST]
    return Failed(
        "interrupted", f"the connection broke before the answer was whole: {why}", raw=redacted(raw, secret)
    )


def _pause_s(response: Any) -> float | None:
    """Return what ``Retry-After`` says (RFC 9110, 10.2.3: seconds or a date), in seconds."""
    given = response.headers.get("retry-after-ms")
    try:
        if given is not None:
            return max(0.0, float(given) / 1000)
        given = response.headers.get("retry-after")
        if given is None:
            return None
        if given.replace(".", "", 1).isdigit():
            return float(given)
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def without(text: str, secret: str) -> str:
    """Return a text that is to be recorded, without our key."""
    return text.replace(secret, "***") if secret else text


def redacted(raw: bytes, secret: str) -> bytes:
    """Return bytes that are to be recorded, without our key."""
    return raw.replace(secret.encode(), b"***") if secret else raw
