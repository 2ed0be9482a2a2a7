"""Keys for the agents of a live swarm, derived from a secret that the driver draws for the run."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2b

from swarm_consensus.protocols.core import Keys, Mechanism


class _Signer:
    """Signs and verifies with keyed BLAKE2b (RFC 7693)."""

    def __init__(self, secret: bytes, agent: int, members: Sequence[int]) -> None:
        self._own = _key(secret, agent)
        self._keys = {member: _key(secret, member) for member in members}

    def sign(self, payload: bytes) -> bytes:
        return blake2b(payload, digest_size=16, key=self._own).digest()

    def verify(self, signer: int, payload: bytes, signature: bytes) -> bool:
        key = self._keys.get(signer)
        return key is not None and hmac.compare_digest(
            blake2b(payload, digest_size=16, key=key).digest(), signature
        )


def _key(secret: bytes, agent: int) -> bytes:
    return blake2b(b"live agent %d" % agent, digest_size=32, key=secret).digest()


def keys_for(mechanism: Mechanism, secret: bytes, agent: int, members: Sequence[int]) -> Keys | None:
    """Return an agent's own secret key and everybody's public ones; ``None`` where the mechanism signs nothing."""
    if not any(mechanism.liars(n) for n in range(1, 8)):
        return None
    return _Signer(secret, agent, members)
