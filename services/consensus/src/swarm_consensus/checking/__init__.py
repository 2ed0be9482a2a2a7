"""Checks: what must hold of a swarm that agrees, by the names of the literature; each apart from what it checks."""
