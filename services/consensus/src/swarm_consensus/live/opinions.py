"""Questions with a right answer, and agents of which each has a noisy signal of it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from swarm_consensus.protocols.core import Value

COMPETENCE = 0.7
"""How likely an agent's own answer is the right one, whoever it is."""
_BITS = 64
_MASK = (1 << _BITS) - 1
_BELOW = int(COMPETENCE * (1 << _BITS))
_OTHER = {"yes": "no", "no": "yes"}


def truth(seed: int, question: Value) -> Value:
    """Return the right answer: ``yes`` or ``no``, each as likely."""
    return "yes" if _drawn(seed, question) & 1 else "no"


def opinion_of(seed: int, agent: int) -> Callable[[Value], Value]:
    """Return what an agent answers; the same each time it is asked the same.

    It takes a microsecond: it is asked in the midst of a decision that is timed, and to seed a generator takes ten.
    """
    own = (agent + 1) * 0x9E3779B97F4A7C15 & _MASK

    def opinion(question: Value) -> Value:
        drawn = _drawn(seed, question)
        answer = "yes" if drawn & 1 else "no"
        # The finalizer of splitmix64 (Steele, Lea, Flood 2014): agents' draws have nothing to do with one another.
        mixed = (drawn >> 1) + own & _MASK
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
        return answer if mixed ^ mixed >> 31 < _BELOW else _OTHER[answer]

    return opinion


def _drawn(seed: int, question: Value) -> int:
    return int.from_bytes(blake2b(b"%d/%b" % (seed, question.encode()), digest_size=9).digest(), "big")
