"""Divergent: many different valid answers. Propose words of a language that nobody has told you the rules of.

The language is strictly 3-local (McNaughton and Papert 1971): of each two letters, it is drawn which may follow. A
network learns from words which letter comes next (Bengio et al. 2003) and proposes words of its own. A program checks
each: a proposal counts that is valid, was not among the words learned from, and was not proposed before. Chance is
known exactly: the share of all strings that are valid. The baseline goes by the letter before alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from swarm_model_agent.patterns.core import Floats, Ints, Posed
from swarm_model_agent.patterns.network import Network

_LETTERS = 8
_FOLLOW = 3
"""Letters that may follow two others."""
_LENGTH = 12
_UNIT = 40
_HIDDEN = 64


class Words:
    """Valid words to learn from, and room for proposals."""

    def __init__(self, posed: Posed) -> None:
        rules = posed.stream("rules")
        self.allowed = np.zeros((_LETTERS, _LETTERS, _LETTERS), dtype=bool)
        for one, two in np.ndindex(_LETTERS, _LETTERS):
            self.allowed[one, two, rules.choice(_LETTERS, _FOLLOW, replace=False)] = True
        self.lessons = posed.size * _UNIT
        self._known = self._draw(self.lessons, posed.stream("lessons"))
        if posed.shuffled:
            self._known = posed.stream("shuffle").permuted(self._known, axis=1)
        self._questions = posed.questions
        self._posed = posed
        self._one = posed.stream("one")
        self._codes = np.eye(_LETTERS)
        windows = np.lib.stride_tricks.sliding_window_view(self._known, 3, axis=1).reshape(-1, 3)
        self._x = self._codes[windows[:, :2]].reshape(len(windows), -1)
        self._y = self._codes[windows[:, 2]]
        self._network = Network(2 * _LETTERS, _HIDDEN, _LETTERS, "softmax", posed.stream("network"))

    @property
    def chance(self) -> float:
        """Return the share of strings that are valid, exactly: each next letter is one of those that may follow."""
        return float((_FOLLOW / _LETTERS) ** (_LENGTH - 2))

    @cached_property
    def baseline(self) -> float:
        """Return the score of a Markov chain of the first order, which has counted the same words."""
        pairs = np.zeros((_LETTERS, _LETTERS))
        np.add.at(pairs, (self._known[:, :-1].ravel(), self._known[:, 1:].ravel()), 1)
        pairs += 1e-9  # a letter that none was seen after: anything may come
        rng = self._posed.stream("baseline")
        words = self._starts(self._questions, rng)
        for at in range(2, _LENGTH):
            shares = pairs[words[:, at - 1]]
            words[:, at] = _choose(shares / shares.sum(axis=1, keepdims=True), rng)
        return float(self._worth(words).mean())

    def learn(self) -> None:
        self._network.epoch(self._x, self._y)

    def scores(self) -> Floats:
        return self._worth(self._proposals())

    def recognise(self, question: int) -> float:
        """Return how likely a word is, as the mean over its letters of the logarithm of the share."""
        word = self._known[question % len(self._known)]
        context = self._codes[np.stack([word[:-2], word[1:-1]], axis=1)].reshape(_LENGTH - 2, -1)
        shares = self._network.predict(context)
        return float(np.log(shares[np.arange(_LENGTH - 2), word[2:]]).mean())

    def infer(self, question: int) -> Ints:
        """Return one proposal; ``question`` makes none of it."""
        del question
        return np.asarray(self._propose(1, self._one)[0])

    def measures(self) -> Mapping[str, float]:
        """Return how different the proposals are from each other, and how much of the language they use."""
        words = self._proposals()
        valid = self.valid(words)
        apart = (words[:, np.newaxis] != words[np.newaxis]).mean(axis=2)
        rows = len(words)
        used = np.zeros_like(self.allowed)
        for at in range(_LENGTH - 2):
            used[tuple(words[valid, at : at + 3].T)] = True
        return {
            "valid": float(valid.mean()),
            "distinct": len(np.unique(words, axis=0)) / rows,
            "distance": float(apart.sum() / (rows * (rows - 1))) if rows > 1 else 0.0,
            "coverage": float((used & self.allowed).sum() / self.allowed.sum()),
        }

    def valid(self, words: Ints) -> NDArrayBool:
        """Say of each word whether every letter may follow the two before it."""
        triples = np.lib.stride_tricks.sliding_window_view(words, 3, axis=1)
        return np.asarray(self.allowed[triples[..., 0], triples[..., 1], triples[..., 2]].all(axis=1))

    def _proposals(self) -> Ints:
        # The same random numbers each time, so that a curve tells of learning and not of luck.
        return self._propose(self._questions, self._posed.stream("proposals"))

    def _propose(self, count: int, rng: np.random.Generator) -> Ints:
        words = self._starts(count, rng)
        for at in range(2, _LENGTH):
            context = self._codes[words[:, at - 2 : at]].reshape(count, -1)
            words[:, at] = _choose(self._network.predict(context), rng)
        return words

    def _worth(self, words: Ints) -> Floats:
        taken = {word.tobytes() for word in self._known}
        worth = np.zeros(len(words))
        for row, (word, good) in enumerate(zip(words, self.valid(words), strict=True)):
            key = word.tobytes()
            worth[row] = good and key not in taken
            taken.add(key)
        return worth

    def _draw(self, count: int, rng: np.random.Generator) -> Ints:
        words = self._starts(count, rng)
        for at in range(2, _LENGTH):
            words[:, at] = _choose(self.allowed[words[:, at - 2], words[:, at - 1]] / _FOLLOW, rng)
        return words

    def _starts(self, count: int, rng: np.random.Generator) -> Ints:
        words = np.zeros((count, _LENGTH), dtype=np.int64)
        words[:, :2] = rng.integers(0, _LETTERS, size=(count, 2))
        return words


def _choose(shares: Floats, rng: np.random.Generator) -> Ints:
    """Return a column drawn from each row of shares."""
    drawn = rng.random((len(shares), 1))
    return np.asarray(np.minimum((shares.cumsum(axis=1) < drawn).sum(axis=1), shares.shape[1] - 1))


NDArrayBool = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
