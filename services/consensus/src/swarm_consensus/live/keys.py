"""Keys for the agents of a live swarm: each process has its own agents' secrets, and everybody's public halves.

Agents sign with Ed25519, or authenticate with MACs as the implementation of Castro and Liskov (1999, section 5) does: a
vector with one entry for each agent, under a key that only the two share. A MAC costs a fiftieth. But it convinces
nobody else: a liar can send one of which some entries are right and others wrong, and what one agent shows in a view
change another may then not believe. So signatures are the default, and MACs are there to see what signatures cost.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import Literal

from swarm_consensus.protocols.core import Keys, Mechanism
from swarm_consensus.protocols.signatures import Ed25519, new_secret, public_of

Authentication = Literal["ed25519", "mac"]
_KEY, _MAC = 16, 8


class Authenticator:
    """One agent's MACs; ``secret`` has the keys that it shares with every agent, one after the other."""

    def __init__(self, agent: int, secret: bytes) -> None:
        self._own = slice(_MAC * agent, _MAC * (agent + 1))
        self._keys = [secret[at : at + _KEY] for at in range(0, len(secret), _KEY)]

    def sign(self, payload: bytes) -> bytes:
        """Return a MAC for every agent."""
        return b"".join([blake2b(payload, digest_size=_MAC, key=key).digest() for key in self._keys])

    def verify(self, signer: int, payload: bytes, signature: bytes) -> bool:
        """Return whether the MAC for this agent is the one that ``signer`` and it alone can make."""
        if not 0 <= signer < len(self._keys):
            return False
        expected = blake2b(payload, digest_size=_MAC, key=self._keys[signer]).digest()
        return compare_digest(signature[self._own], expected)


def secrets_for(mechanism: Mechanism, agents: Iterable[int], how: Authentication) -> dict[int, bytes]:
    """Return a new secret an agent; none where the mechanism signs nothing: where nobody is thought to lie."""
    if not any(map(mechanism.liars, range(1, 8))):
        return {}
    members = tuple(agents)
    if how == "ed25519":
        return {agent: new_secret() for agent in members}
    shared: dict[tuple[int, int], bytes] = {}
    for one in members:
        for other in members[one:]:
            shared[one, other] = shared[other, one] = secrets.token_bytes(_KEY)
    return {one: b"".join(shared[one, other] for other in members) for one in members}


def publics_of(keys: Mapping[int, bytes], how: Authentication) -> dict[int, bytes]:
    """Return the public half of each secret; MACs have none."""
    return {agent: public_of(secret) for agent, secret in keys.items()} if how == "ed25519" else {}


def keys_of(agent: int, own: Mapping[int, bytes], publics: Mapping[int, bytes]) -> Keys | None:
    """Return an agent's keys; ``None`` where it has no secret."""
    if agent not in own:
        return None
    return Ed25519(own[agent], publics) if publics else Authenticator(agent, own[agent])
