"""Checks: what must hold of a swarm that agrees, by the names of the literature; each apart from what it checks."""

# Protocols name their checks, and checks know the protocols' words: whichever is imported first, both are whole.
import swarm_consensus.protocols  # noqa: F401
