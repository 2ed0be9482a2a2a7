"""What members said of the training rows, laid out for learning how much each of them counts.

The rows are split into :data:`FOLDS` folds. All that is learned is learned once on all rows, for the answer, and once
without each fold, for an honest score: how much members count in a row has then not seen that row's truth (*cross-
fitting*; the members' own folds see to it that neither have they).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm_common.resampling import Floats
from swarm_consensus.scoring import row_losses

FOLDS = 5


class Table(msgspec.Struct, frozen=True):
    """Out-of-fold predictions, rows in the order of their folds.

    ``parts`` below are all rows, then all but each fold.
    """

    names: tuple[str, ...]
    voices: Floats
    """``(members, classes, rows)``, or ``(members, 1, rows)`` for values."""
    truth: NDArray[Any]
    rows: NDArray[np.intp]
    """Which row of the data each row here is."""
    edges: NDArray[np.intp]
    """Where each fold begins, and the end."""
    row_losses: Floats
    """``(members, rows)``: log losses in nats, or squared errors."""
    sizes: NDArray[np.intp]
    """How many rows each fold has."""
    inside: Floats
    """``(folds, parts)``: 1 where a fold is in a part."""

    @classmethod
    def of(
        cls, names: Sequence[str], predictions: Sequence[Floats], truth: NDArray[Any], stream: list[int]
    ) -> Table:
        """Lay out ``predictions``, each ``(rows, classes)`` or ``(rows,)``; ``stream`` draws the folds.

        Every fold gets the same share of each class, as far as that goes.
        """
        classes = predictions[0].ndim == 2
        drawn = np.random.default_rng(stream).permutation(len(truth))
        folds = min(FOLDS, len(truth))
        dealt = drawn[np.argsort(truth[drawn], kind="stable")] if classes else drawn
        fold = np.empty(len(truth), dtype=np.intp)
        fold[dealt] = np.arange(len(truth)) % folds
        # Within a fold the rows stay as drawn: bayesian() counts on rows in no order.
        rows = drawn[np.argsort(fold[drawn], kind="stable")]
        sizes = np.bincount(fold, minlength=folds)
        inside = np.hstack([np.ones((folds, 1)), 1 - np.eye(folds)])
        voices = laid_out([np.take(prediction, rows, axis=0) for prediction in predictions])
        truth = truth[rows]
        return cls(
            names=tuple(names),
            voices=voices,
            truth=truth,
            rows=rows,
            edges=np.concatenate([[0], np.cumsum(sizes)]),
            row_losses=row_losses(truth, voices),
            sizes=sizes,
            inside=inside,
        )

    @property
    def classes(self) -> bool:
        """Whether members predict classes."""
        return bool(self.voices.shape[1] > 1)

    def sums(self, values: Floats) -> Floats:
        """Return the sums over the rows of each part, ``(..., parts)``, of ``values`` ``(..., rows)``."""
        return np.asarray(np.add.reduceat(values, self.edges[:-1], axis=-1) @ self.inside)

    def means(self, values: Floats) -> Floats:
        """Return the means over the rows of each part."""
        return np.asarray(self.sums(values) / (self.sizes @ self.inside))

    def mixed(self, voices: Floats, weights: Floats) -> Floats:
        """Return ``(classes, rows)``: each row mixed with the weights that were learned without its fold.

        ``weights`` is ``(folds, members)``.
        """
        by_row = np.repeat(weights.T, self.sizes, axis=1)
        # Products and sums one by one, in this order: a matrix product rounds differently on different processors, and
        # then equal shares are no longer equal.
        mixed, part = np.zeros(voices.shape[1:]), np.empty(voices.shape[1:])
        for voice, share in zip(voices, by_row, strict=True):
            np.multiply(voice, share, out=part)
            mixed += part
        return mixed


def laid_out(predictions: Sequence[Floats]) -> Floats:
    """Return ``(members, classes, rows)``, or ``(members, 1, rows)``: classes apart, for rows are many."""
    classes = predictions[0].shape[1] if predictions[0].ndim == 2 else 1
    voices = np.empty((len(predictions), classes, len(predictions[0])))
    for voice, prediction in zip(voices, predictions, strict=True):
        voice[:] = prediction.T
    return voices
