"""Lateral: carry a relation to a new domain. ``a`` is to ``b`` as ``c`` is to what?

Words stand for a role in a domain, as *queen* does in one and *conductor* in another. A text is read in which a word
stands beside words that are used of its domain and words that are used of its role, and beside noise. Embeddings are
learned from counts of what stands beside what: positive pointwise mutual information, cut to its largest singular
values (Levy and Goldberg 2014). Each question has ``a`` and ``b`` from one domain and ``c`` from another; it is
answered by 3CosAdd (Mikolov et al. 2013) among all other words. The baseline takes the word nearest to ``c`` and does
without the relation, as Linzen (2016) asks for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from swarm_model_agent.patterns.core import Floats, Ints, Posed

_DOMAINS = 12
_ROLES = 6
_WORDS = _DOMAINS * _ROLES
_NEAR = 6
"""Words that are used of one domain or role."""
_CONTEXTS = (_DOMAINS + _ROLES) * _NEAR
_NOISE = 0.6
"""Share of what stands beside a word that is there by accident."""
_WINDOW = 8
"""Words that stand beside each."""
_UNIT = 25
_DIMENSIONS = 20


class Analogies:
    """A text that is read a piece an iteration, and analogies across domains."""

    def __init__(self, posed: Posed) -> None:
        self.lessons = posed.size * _UNIT
        self._text = posed.stream("text")
        self._shuffled = posed.shuffled
        self._counts = np.zeros((_WORDS, _CONTEXTS))
        self._vectors = unit(posed.stream("vectors").normal(size=(_WORDS, _DIMENSIONS)))
        asked = posed.stream("questions")
        here, there = _two(asked, _DOMAINS, posed.questions)
        role, other = _two(asked, _ROLES, posed.questions)
        self._asked = np.stack([here * _ROLES + role, here * _ROLES + other, there * _ROLES + role], axis=1)
        self._answers: Ints = there * _ROLES + other

    @property
    def chance(self) -> float:
        """Return one of all words but the three that the question names."""
        return 1 / (_WORDS - 3)

    @property
    def baseline(self) -> float:
        """Return the share of right answers of the word nearest to ``c``, at the time of asking."""
        found = self._nearest(self._vectors[self._asked[:, 2]], self._asked)
        return float((found == self._answers).mean())

    def learn(self) -> None:
        """Read some sentences more, and make the vectors anew from all there have been."""
        words = self._text.integers(0, _WORDS, size=self.lessons)
        beside = self._beside(words)
        if self._shuffled:
            beside = self._text.permutation(beside.ravel()).reshape(beside.shape)
        np.add.at(self._counts, (np.repeat(words, _WINDOW), beside.ravel()), 1)
        self._vectors = unit(embedded(self._counts))

    def scores(self) -> Floats:
        return np.asarray(self._answer(self._asked) == self._answers, dtype=np.float64)

    def recognise(self, question: int) -> int:
        """Return the word that is most like ``c``."""
        asked = self._asked[question : question + 1]
        return int(self._nearest(self._vectors[asked[:, 2]], asked[:, 2:])[0])

    def infer(self, question: int) -> int:
        """Return the word that is to ``c`` as ``b`` is to ``a``."""
        return int(self._answer(self._asked[question : question + 1])[0])

    def measures(self) -> Mapping[str, float]:
        """Return how often the right word is among the five nearest, and how parallel one relation's offsets are."""
        target = self._target(self._asked)
        near = self._likeness(target, self._asked).argsort(axis=1)[:, -5:]
        offsets = self._vectors[self._asked[:, 1]] - self._vectors[self._asked[:, 0]]
        others = self._vectors[self._answers] - self._vectors[self._asked[:, 2]]
        return {
            "hits_at_5": float((near == self._answers[:, np.newaxis]).any(axis=1).mean()),
            "parallel": float((unit(offsets) * unit(others)).sum(axis=1).mean()),
        }

    def _beside(self, words: Ints) -> Ints:
        """Return what stands beside each word: half of the domain's words, half of the role's, some by accident."""
        of_domain = (words // _ROLES)[:, np.newaxis] * _NEAR
        of_role = (_DOMAINS + words % _ROLES)[:, np.newaxis] * _NEAR
        shape = (len(words), _WINDOW)
        of = np.where(self._text.random(shape) < 0.5, of_domain, of_role)
        chosen = of + self._text.integers(0, _NEAR, size=shape)
        accident = self._text.integers(0, _CONTEXTS, size=shape)
        return np.where(self._text.random(shape) < _NOISE, accident, chosen)

    def _target(self, asked: Ints) -> Floats:
        a, b, c = (self._vectors[asked[:, at]] for at in range(3))
        return b - a + c

    def _answer(self, asked: Ints) -> Ints:
        return self._nearest(self._target(asked), asked)

    def _nearest(self, target: Floats, but: Ints) -> Ints:
        return np.asarray(self._likeness(target, but).argmax(axis=1))

    def _likeness(self, target: Floats, but: Ints) -> Floats:
        """Return the cosine with each word, up to a factor; those a question names are out of it."""
        likeness = target @ self._vectors.T
        likeness[np.arange(len(but))[:, np.newaxis], but] = -np.inf
        return np.asarray(likeness)


def embedded(counts: Floats) -> Floats:
    """Return vectors ``(words, dimensions)`` of counts ``(words, contexts)``: truncated SVD of positive PMI.

    Each dimension is weighed by the root of its singular value (Levy, Goldberg and Dagan 2015).
    """
    total = max(counts.sum(), 1.0)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    ratio = np.divide(counts, expected, out=np.zeros_like(counts), where=counts > 0)
    positive = np.log(np.maximum(ratio, 1.0))
    left, values, _ = np.linalg.svd(positive, full_matrices=False)
    return np.asarray(left[:, :_DIMENSIONS] * np.sqrt(values[:_DIMENSIONS]))


def unit(vectors: Floats) -> Floats:
    """Return the vectors with length 1; one of no length stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0))


def _two(rng: np.random.Generator, things: int, count: int) -> tuple[Ints, Ints]:
    """Return two different things, ``count`` times."""
    one = rng.integers(0, things, size=count)
    return one, (one + rng.integers(1, things, size=count)) % things
