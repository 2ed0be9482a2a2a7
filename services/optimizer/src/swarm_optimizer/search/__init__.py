"""Search over pipelines: policies that say what to evaluate next, given what is known."""

from swarm_optimizer.search.policies import POLICIES, TPE, propose
from swarm_optimizer.search.steps import Move, Trial

__all__ = ["POLICIES", "TPE", "Move", "Trial", "propose"]
