"""Keys for the agents of a live swarm: each process has its own agents' secrets, and everybody's public halves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarm_consensus.protocols.core import Keys, Mechanism
from swarm_consensus.protocols.signatures import Ed25519, new_secret, public_of


def secrets_for(mechanism: Mechanism, agents: Iterable[int]) -> dict[int, bytes]:
    """Return a new secret an agent; none where the mechanism signs nothing: where nobody is thought to lie."""
    return {agent: new_secret() for agent in agents} if any(map(mechanism.liars, range(1, 8))) else {}


def publics_of(secrets: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return the public half of each secret."""
    return {agent: public_of(secret) for agent, secret in secrets.items()}


def keys_of(agent: int, secrets: Mapping[int, bytes], publics: Mapping[int, bytes]) -> Keys | None:
    """Return an agent's keys; ``None`` where it has no secret."""
    return Ed25519(secrets[agent], publics) if agent in secrets else None
