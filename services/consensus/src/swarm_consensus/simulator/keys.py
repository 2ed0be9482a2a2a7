"""Signatures for simulated worlds: not to be forged there, and fast; no use outside of one process.

A signature is a keyed BLAKE2b (RFC 7693) of the payload under the signer's secret, which only this module holds. A liar
is given its own signer, like everybody: it can sign what it likes, in its own name alone.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import blake2b

from swarm_consensus.protocols.core import Keys


class _Signer:
    __slots__ = ("_agent", "_secrets")

    def __init__(self, agent: int, secrets: tuple[bytes, ...]) -> None:
        self._agent = agent
        self._secrets = secrets

    def sign(self, payload: bytes) -> bytes:
        return blake2b(payload, digest_size=16, key=self._secrets[self._agent]).digest()

    def verify(self, signer: int, payload: bytes, signature: bytes) -> bool:
        expected = blake2b(payload, digest_size=16, key=self._secrets[signer]).digest()
        return hmac.compare_digest(expected, signature)


@lru_cache(maxsize=128)
def signers(n: int) -> tuple[Keys, ...]:
    """Return one signer an agent; all verify each other."""
    secrets = tuple(blake2b(b"simulated agent %d" % agent, digest_size=32).digest() for agent in range(n))
    return tuple(_Signer(agent, secrets) for agent in range(n))
