"""Critical: find the inconsistent item. Of five records, four hang together and one does not; which?

A record's numbers follow from a few hidden causes, so they constrain each other. The odd one has some of its numbers
from another record: each is as likely as ever, only together they are not. An autoencoder (Hinton and Salakhutdinov
2006) learns from consistent records to say a record again through a narrow middle; what it says worst is the odd
one. The baseline looks at each number by itself, by its distance from the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from sklearn.metrics import roc_auc_score

from swarm_model_agent.patterns.core import Floats, Ints, Posed
from swarm_model_agent.patterns.network import Network

_NUMBERS = 16
_CAUSES = 4
_SWAPPED = 5
_BESIDE = 5
"""Records of a question."""
_NOISE = 0.05
_UNIT = 150
_MIDDLE = 8


class Odd:
    """Consistent records to learn from, and questions with one that is not."""

    chance = 1 / _BESIDE

    def __init__(self, posed: Posed) -> None:
        drawn = posed.stream("causes")
        self._mixing = drawn.normal(size=(_CAUSES, _NUMBERS)) / np.sqrt(_CAUSES)
        self.lessons = posed.size * _UNIT
        self._x = self._records(self.lessons, posed.stream("lessons"))
        if posed.shuffled:
            self._x = posed.stream("shuffle").permuted(self._x, axis=0)
        asked = posed.stream("questions")
        self._shown = self._records(posed.questions * _BESIDE, asked).reshape(posed.questions, _BESIDE, -1)
        self._answers: Ints = asked.integers(0, _BESIDE, size=posed.questions)
        other = self._records(posed.questions, asked)
        for row, answer in enumerate(self._answers):
            swapped = asked.choice(_NUMBERS, _SWAPPED, replace=False)
            self._shown[row, answer, swapped] = other[row, swapped]
        self._network = Network(_NUMBERS, _MIDDLE, _NUMBERS, "linear", posed.stream("network"))

    @cached_property
    def baseline(self) -> float:
        """Return the share of questions in which the record farthest from the mean is the odd one."""
        far = (((self._shown - self._x.mean(axis=0)) / self._x.std(axis=0)) ** 2).sum(axis=2)
        return float((far.argmax(axis=1) == self._answers).mean())

    def learn(self) -> None:
        self._network.epoch(self._x, self._x)

    def scores(self) -> Floats:
        return np.asarray(self._oddness().argmax(axis=1) == self._answers, dtype=np.float64)

    def recognise(self, question: int) -> float:
        """Return how inconsistent one record is."""
        return float(self._wrong(self._shown[question, :1])[0])

    def infer(self, question: int) -> int:
        """Return which of the five is the odd one."""
        return int(self._wrong(self._shown[question]).argmax())

    def measures(self) -> Mapping[str, float]:
        """Return how well single records are told apart: the area under the ROC curve."""
        odd = np.arange(_BESIDE) == self._answers[:, np.newaxis]
        return {"auc": float(roc_auc_score(odd.ravel(), self._oddness().ravel()))}

    def _oddness(self) -> Floats:
        return self._wrong(self._shown.reshape(-1, _NUMBERS)).reshape(-1, _BESIDE)

    def _wrong(self, records: Floats) -> Floats:
        return np.asarray(((self._network.predict(records) - records) ** 2).sum(axis=1))

    def _records(self, count: int, rng: np.random.Generator) -> Floats:
        causes = rng.normal(size=(count, _CAUSES))
        return np.asarray(np.tanh(causes @ self._mixing) + rng.normal(scale=_NOISE, size=(count, _NUMBERS)))
