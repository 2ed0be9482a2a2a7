"""Questions with a right answer, and agents of which each has a noisy signal of it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from swarm_consensus.protocols.core import Value

COMPETENCE = 0.7
"""How likely an agent's own answer is the right one, whoever it is."""


def _draw(what: str) -> float:
    """Return a number from 0 to 1 that ``what`` alone decides: in a microsecond; to seed a generator takes ten."""
    return int.from_bytes(blake2b(what.encode(), digest_size=6).digest(), "big") / (1 << 48)


def truth(seed: int, question: Value) -> Value:
    """Return the right answer: ``yes`` or ``no``, each as likely."""
    return "yes" if _draw(f"{seed}/{question}") < 0.5 else "no"


def opinion_of(seed: int, agent: int) -> Callable[[Value], Value]:
    """Return what an agent answers; the same each time it is asked the same."""

    def opinion(question: Value) -> Value:
        answer = truth(seed, question)
        if _draw(f"{seed}/{agent}/{question}") < COMPETENCE:
            return answer
        return "no" if answer == "yes" else "yes"

    return opinion
