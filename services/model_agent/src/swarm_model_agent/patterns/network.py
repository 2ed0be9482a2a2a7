"""A small feedforward network, trained by Adam on batches: all that the patterns need, and nothing hidden in it.

One hidden layer of rectified linear units. Gradients are those of the mean loss of a batch; the tests hold them against
differences. Sources: Rumelhart, Hinton and Williams 1986 (back-propagation), Glorot and Bengio 2010 (first weights),
Kingma and Ba 2015 (Adam).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from swarm_model_agent.patterns.core import Floats

Out = Literal["softmax", "sigmoid", "linear"]
_BATCH = 32
_RATE = 0.003
_MEANS = (0.9, 0.999)
_TINY = 1e-8


class Network:
    """From ``(rows, inputs)`` to ``(rows, outputs)``: shares of one, shares each for itself, or values."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        out: Out,
        rng: np.random.Generator,
        *,
        still: bool = False,
    ) -> None:
        """Draw the first weights; ``still``: the last layer's are 0, so that it says 0 until it has learned."""
        self._out = out
        self._rng = rng
        self.weights: list[Floats] = [
            _first(inputs, hidden, rng),
            np.zeros(hidden),
            np.zeros((hidden, outputs)) if still else _first(hidden, outputs, rng),
            np.zeros(outputs),
        ]
        self._first = [np.zeros_like(one) for one in self.weights]
        self._second = [np.zeros_like(one) for one in self.weights]
        self._steps = 0

    def predict(self, x: Floats) -> Floats:
        """Return the outputs for some rows."""
        return self._outputs(self._hidden(x))

    def epoch(self, x: Floats, y: Floats) -> None:
        """Go through all rows once, in an order drawn anew, a step a batch."""
        order = self._rng.permutation(len(x))
        for start in range(0, len(x), _BATCH):
            rows = order[start : start + _BATCH]
            self._step(self.gradients(x[rows], y[rows]))

    def loss(self, x: Floats, y: Floats) -> float:
        """Return the mean over rows of cross-entropy, or of half the squared error where outputs are values."""
        found = self.predict(x)
        lost = 0.5 * (found - y) ** 2
        if self._out == "softmax":
            lost = -y * np.log(found)
        elif self._out == "sigmoid":
            lost = -y * np.log(found) - (1 - y) * np.log(1 - found)
        return float(lost.sum(axis=1).mean())

    def gradients(self, x: Floats, y: Floats) -> list[Floats]:
        """Return the gradients of :meth:`loss`, in the order of :attr:`weights`."""
        hidden = self._hidden(x)
        # Each output's loss is the one that goes with it, so its gradient is the plain difference.
        wrong = (self._outputs(hidden) - y) / len(x)
        back = (wrong @ self.weights[2].T) * (hidden > 0)
        return [x.T @ back, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]

    def _hidden(self, x: Floats) -> Floats:
        return np.maximum(x @ self.weights[0] + self.weights[1], 0.0)

    def _outputs(self, hidden: Floats) -> Floats:
        raw = hidden @ self.weights[2] + self.weights[3]
        if self._out == "softmax":
            grown = np.exp(raw - raw.max(axis=-1, keepdims=True))
            return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
        if self._out == "sigmoid":
            return np.asarray(
                0.5 * (1.0 + np.tanh(0.5 * raw))
            )  # the same as 1 / (1 + exp(-raw)), and never too large
        return np.asarray(raw)

    def _step(self, gradients: list[Floats]) -> None:
        self._steps += 1
        slow, slower = _MEANS
        rate = _RATE * np.sqrt(1 - slower**self._steps) / (1 - slow**self._steps)
        for at, gradient in enumerate(gradients):
            self._first[at] = slow * self._first[at] + (1 - slow) * gradient
            self._second[at] = slower * self._second[at] + (1 - slower) * gradient**2
            self.weights[at] = self.weights[at] - rate * self._first[at] / (np.sqrt(self._second[at]) + _TINY)


def _first(inputs: int, outputs: int, rng: np.random.Generator) -> Floats:
    widest = np.sqrt(6.0 / (inputs + outputs))
    return rng.uniform(-widest, widest, size=(inputs, outputs))
