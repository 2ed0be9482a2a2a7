"""Runs once in the fork server: imports what workers need, which each then has from its first moment, shared."""

from swarm_model_agent import jobs
from swarm_model_agent.lifeline import die_with_parent

die_with_parent()

__all__ = ["jobs"]
