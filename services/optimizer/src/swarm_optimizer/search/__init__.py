"""Search over pipelines: policies that say what to evaluate next, given what is known."""

from swarm_optimizer.search.policies import LLM, POLICIES, TPE, propose, propose_told
from swarm_optimizer.search.steps import Move, Question, Trial

__all__ = ["LLM", "POLICIES", "TPE", "Move", "Question", "Trial", "propose", "propose_told"]
