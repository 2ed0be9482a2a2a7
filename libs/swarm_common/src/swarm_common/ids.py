"""Identifiers: random for what is new, derived for what may be written twice."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid

#: Namespace of every derived id (RFC 9562, section 5.5).
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:swarmbench")

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


def new_id() -> str:
    """Return a random UUID, for requests and instances."""
    return str(uuid.uuid4())


def derive(cause: str, handler: str, index: int | str) -> str:
    """Return the id of what ``handler`` makes of ``cause``: the same inputs give the same id (UUID 5).

    Handling an event twice therefore writes it once.
    """
    digest = hashlib.sha1(
        NAMESPACE.bytes + f"{cause}\x00{handler}\x00{index}".encode(), usedforsecurity=False
    ).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def run_id(request_id: str) -> str:
    """Return the run that a request leads to: 16 hexadecimal digits, derived, so a request is one run."""
    return uuid.UUID(derive(request_id, "run", 0)).hex[:16]


def trace_id(request_id: str) -> str:
    """Return a trace id (32 hexadecimal digits) for a request that brought none."""
    return uuid.UUID(derive(request_id, "trace", 0)).hex


def new_span_id() -> str:
    """Return a random span id: 16 hexadecimal digits, not all zero (W3C Trace Context, section 3.2.2.4)."""
    return secrets.token_hex(8)


def is_token(text: str) -> bool:
    """Say whether ``text`` can stand as one token of a subject: letters, digits, ``_`` and ``-``, up to 128."""
    return _TOKEN.match(text) is not None
