"""Putting parts of a training together. Pure, and without scikit-learn: the service does it in its own process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swarm_common.errors import UsageError
from swarm_common.events import Array
from swarm_common.events.agent import ModelTrained, PartTrained, Predicted

if TYPE_CHECKING:
    from numpy.typing import NDArray


def assemble(task: str, model: str, parts: Sequence[PartTrained]) -> tuple[ModelTrained, Predicted]:
    """Return what training the model whole would have reported.

    ``parts`` are all folds, in any order, and either the fit on all rows or shares of its trees that make up all of
    them. Raises :class:`UsageError` for parts that are missing or belong to different trainings.
    """
    folds = sorted((part for part in parts if part.fold is not None), key=lambda part: part.fold or 0)
    whole = sorted((part for part in parts if part.fold is None), key=lambda part: part.trees or (0, 0))
    _check(model, folds, whole)
    held_out = _mean_of_trees(whole)
    first = whole[0]
    fit_s = sum(part.fit_s for part in whole)
    trained = ModelTrained(
        task=task,
        model=model,
        model_type=first.model_type,
        hyperparameters=first.hyperparameters,
        device=first.device,
        n_train=first.n_train,
        n_features=first.n_features,
        folds=first.folds,
        fold_scores=tuple(part.score for part in folds if part.score is not None),
        score_name=first.score_name,
        fitted=hashlib.sha256(held_out.astype(held_out.dtype.newbyteorder("<")).tobytes()).hexdigest(),
        fit_s=fit_s,
        fold_s=tuple(part.elapsed_s for part in folds),
        score_s=sum(part.elapsed_s for part in whole) - fit_s,
        cpu_s=sum(part.cpu_s for part in parts),
        max_rss_bytes=max(part.max_rss_bytes for part in parts),
        worker=", ".join(sorted({part.worker for part in parts})),
        started=min(part.started for part in parts),
        waited_s=sum(part.waited_s for part in parts),
        warnings=tuple(dict.fromkeys(text for part in (*folds, *whole) for text in part.warnings)),
        parts=len(parts),
    )
    return trained, Predicted(
        task=task,
        model=model,
        held_out=Array.of(held_out),
        out_of_fold=Array.of(_scattered(folds)) if folds else None,
    )


def _mean_of_trees(whole: Sequence[PartTrained]) -> NDArray[Any]:
    if len(whole) == 1:
        return whole[0].predictions.numpy()
    trees = [part.trees[1] - part.trees[0] for part in whole if part.trees is not None]
    mean: NDArray[Any] = whole[0].predictions.numpy() * 0
    for part, count in zip(whole, trees, strict=True):
        mean = mean + part.predictions.numpy() * (count / sum(trees))
    return mean


def _scattered(folds: Sequence[PartTrained]) -> NDArray[Any]:
    """Return the folds' predictions, each in the place of its training row."""
    import numpy as np  # noqa: PLC0415 - the service's process may never need it

    predictions = [part.predictions.numpy() for part in folds]
    found = np.zeros((folds[0].n_train, *predictions[0].shape[1:]))
    for part, prediction in zip(folds, predictions, strict=True):
        if part.rows is not None:
            found[part.rows.numpy()] = prediction
    return found


def _check(model: str, folds: Sequence[PartTrained], whole: Sequence[PartTrained]) -> None:
    what = ""
    if not whole:
        what = "no fit on all rows among them"
    elif [part.fold for part in folds] != list(range(whole[0].folds)):
        what = f"{len(folds)} folds of {whole[0].folds}"
    elif any(part.model != model for part in (*folds, *whole)):
        what = f"models {', '.join(sorted({part.model for part in (*folds, *whole)}))}"
    elif whole[0].trees is not None or len(whole) > 1:
        shares = [part.trees or (0, 0) for part in whole]
        ends = [0, *(last for _, last in shares)]
        all_trees = whole[0].hyperparameters.get("n_estimators")
        if [first for first, _ in shares] != ends[:-1] or ends[-1] != all_trees:
            what = f"trees {', '.join(f'{first} to {last}' for first, last in shares)} of {all_trees}"
    if what:
        raise UsageError(
            f"the parts of {model} do not make up one training: {what}; every fold once, and all trees once",
            field="needs",
            given=what,
        )
