"""Signatures for live swarms: Ed25519 (RFC 8032) of the library ``cryptography``.

An agent makes a secret and tells the others its public half before the swarm begins. Simulated worlds have keys of
their own, faster and of no use outside of one process: :mod:`swarm_consensus.simulator.keys`.

The library is loaded when the first secret or key is made, so that a service that signs nothing does not pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from swarm_common.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIZE = 32
"""Of secrets and of public keys, in bytes; signatures have twice as many."""


def new_secret() -> bytes:
    """Return a secret key of 32 bytes from the system's source of randomness."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - lazy

    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_of(secret: bytes) -> bytes:
    """Return the public key of 32 bytes that belongs to ``secret``.

    Raises:
        UsageError: The secret is not 32 bytes long.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    _sized("secret", secret)
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


class Ed25519:
    """The keys of one agent: its own secret, and everybody's public key. Fits ``Setup.keys``.

    Raises:
        UsageError: A key is not 32 bytes long.
    """

    def __init__(self, secret: bytes, publics: Mapping[int, bytes]) -> None:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PrivateKey,
            Ed25519PublicKey,
        )

        _sized("secret", secret)
        self._invalid = InvalidSignature
        self._secret = Ed25519PrivateKey.from_private_bytes(secret)
        self._publics: dict[int, Ed25519PublicKey] = {}
        for agent, public in publics.items():
            _sized(f"public key of agent {agent}", public)
            self._publics[agent] = Ed25519PublicKey.from_public_bytes(public)

    def sign(self, payload: bytes) -> bytes:
        """Return this agent's signature, 64 bytes; of the same payload always the same."""
        return self._secret.sign(payload)

    def verify(self, signer: int, payload: bytes, signature: bytes) -> bool:
        """Return whether ``signer`` signed ``payload``; nobody has who has no public key here."""
        public = self._publics.get(signer)
        if public is None:
            return False
        try:
            public.verify(signature, payload)
        except self._invalid:
            return False
        return True


def _sized(what: str, key: bytes) -> None:
    if len(key) != SIZE:
        raise UsageError(
            f"the {what} has {len(key)} bytes; Ed25519 has {SIZE}: make one with new_secret() or public_of()",
            field=what,
            given=f"{len(key)} bytes",
            allowed=f"{SIZE} bytes",
        )
