"""Convergent: one right answer. Two handwritten digits are shown; what is their sum?

Real data: the 1,797 digits of 8 by 8 pixels that scikit-learn brings (Alpaydin and Kaynak 1998). A network learns to
read single digits; a question shows two that it has never seen, and only one of nineteen sums is right. Chance is the
commonest sum, 9, always. The baseline reads each digit as the class whose mean image is nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from sklearn.datasets import load_digits

from swarm_model_agent.patterns.core import Floats, Ints, Posed
from swarm_model_agent.patterns.network import Network

_UNIT = 100
_MOST = 1200
"""Images to learn from; the rest is held out."""
_HIDDEN = 64


class Sums:
    """Digits to learn from, and sums to say."""

    def __init__(self, posed: Posed) -> None:
        pixels, truth = load_digits(return_X_y=True)
        order = posed.stream("split").permutation(len(truth))
        pixels, truth = pixels[order] / 16.0, truth[order].astype(np.int64)
        self.lessons = min(posed.size * _UNIT, _MOST)
        self._x, self._digits = pixels[: self.lessons], truth[: self.lessons]
        if posed.shuffled:
            self._digits = posed.stream("shuffle").permutation(self._digits)
        self._y = np.eye(10)[self._digits]
        shown = posed.stream("questions").integers(_MOST, len(truth), size=(posed.questions, 2))
        self._shown = pixels[shown]
        self._truth = truth[shown]
        self._network = Network(pixels.shape[1], _HIDDEN, 10, "softmax", posed.stream("network"))
        self._answers: Ints = self._truth.sum(axis=1)

    @property
    def chance(self) -> float:
        """Return the largest share that one sum has."""
        return float(np.bincount(self._answers).max() / len(self._answers))

    @cached_property
    def baseline(self) -> float:
        """Return the share of right sums where the nearest mean image reads."""
        means = np.stack([self._x[self._digits == digit].mean(axis=0) for digit in range(10)])
        read = ((self._shown[:, :, np.newaxis] - means) ** 2).sum(axis=3).argmin(axis=2)
        return float((read.sum(axis=1) == self._answers).mean())

    def learn(self) -> None:
        self._network.epoch(self._x, self._y)

    def scores(self) -> Floats:
        return np.asarray(self._read().sum(axis=1) == self._answers, dtype=np.float64)

    def recognise(self, question: int) -> int:
        """Return which digit the first of the two is taken for."""
        return int(self._network.predict(self._shown[question, :1]).argmax())

    def infer(self, question: int) -> int:
        """Return the sum."""
        return int(self._network.predict(self._shown[question]).argmax(axis=1).sum())

    def measures(self) -> Mapping[str, float]:
        """Return the share of single digits that are read right."""
        return {"digits_right": float((self._read() == self._truth).mean())}

    def _read(self) -> Ints:
        flat = self._shown.reshape(-1, self._x.shape[1])
        return np.asarray(self._network.predict(flat).argmax(axis=1).reshape(-1, 2))
