"""Search over pipelines: policies that say what to evaluate next, given what is known."""

from swarm_optimizer.search.policies import POLICIES, propose
from swarm_optimizer.search.steps import Move, Trial

__all__ = ["POLICIES", "Move", "Trial", "propose"]
