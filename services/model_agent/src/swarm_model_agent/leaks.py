"""Leaks: ways in which a model comes to know what it should not."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.events.agent import Leak, LeaksChecked
from swarm_common.resampling import stream_of
from swarm_model_agent.blocks import pipeline_of
from swarm_model_agent.datasets import Floats, Training, load_held_out, load_training, sealed
from swarm_model_agent.params import LeakParams
from swarm_model_agent.search import UNFIT, Rows, first_rows, predict_unseen
from swarm_model_agent.training import Meter, score, splits

#: Rows that a single feature's tree looks at: enough to tell whether it gives the target away.
_ENOUGH = 2000
#: Predictions that change so many times more than from fit to fit are changed by the rows.
_FAR = 10.0


def check_leaks(task: str, params: LeakParams, *, seed: int, instance: str = "") -> LeaksChecked:
    """Look at a pipeline and its data for leaks.

    - ``unseen_rows``: one fold's unseen rows and labels are replaced by noise and the folds fitted again; what the
      pipeline then predicts for those rows must be the same bit for bit, as must what it predicts fitted alone.
    - ``not_repeatable``: two fits to the same rows predict otherwise, and no less than among noise.
    - ``duplicate_rows``: held-out rows whose features are those of a training row. Only their number is told.
    - ``giveaway_feature``: a feature from which a tree alone tells the target.

    What a transform wrote down in this process in earlier tasks, and never changes again, is not found. Raises
    :class:`UsageError` for a pipeline that cannot be fitted.
    """
    meter = Meter()
    spec = pipelines.read_spec(params.spec)
    with sealed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says of noise is of no use to anybody
        data = load_training(params)
        parts = splits(data, params.folds, params.split_seed)
        model = pipeline_of(spec, data.problem, categorical=data.about.categorical, seed=seed)
        try:
            found = list(_of_pipeline(model, data, parts, params.candidate, seed))
        except UNFIT as error:
            raise UsageError(
                f"{params.candidate} cannot be fitted: {error}", field="params.spec", given=str(params.spec)
            ) from error
        alone = scores_alone(data, params.folds, params.split_seed, seed)
    names = data.about.columns or tuple(f"feature {number}" for number in range(data.x.shape[1]))
    kind = "accuracy" if data.classes else "r2"
    found += [
        Leak(
            kind="giveaway_feature",
            subject=names[number],
            text=f"{names[number]} alone gives the target away: a tree on it has {kind} {value:.4f}.",
        )
        for number, value in enumerate(alone)
        if value >= params.giveaway
    ]
    known = [_digest(row) for row in data.x]
    distinct = set(known)
    both = sum(_digest(row) in distinct for row in load_held_out(params).x)
    if both:
        text = f"{both} held-out rows have the features of a training row: what is known of those counts as learned."
        found.append(Leak(kind="duplicate_rows", subject=params.dataset, text=text))
    strongest = int(np.argmax(alone))
    return LeaksChecked(
        task=task,
        candidate=params.candidate,
        spec=spec,
        folds=params.folds,
        leaks=tuple(found),
        duplicates=both,
        duplicates_in_training=len(known) - len(distinct),
        strongest_feature=names[strongest],
        strongest_score=alone[strongest],
        fits=2 + 2 * params.folds,
        elapsed_s=meter.wall_s(),
        cpu_s=meter.cpu_s(),
        worker=f"{instance}/{os.getpid()}",
        started=meter.started,
        waited_s=0.0,
    )


def _of_pipeline(
    model: BaseEstimator, data: Training, parts: list[tuple[Rows, Rows]], candidate: str, seed: int
) -> Iterator[Leak]:
    """Yield what is wrong with the pipeline: whether rows it has not been fitted to change what it predicts.

    The order matters: alone first, then among noise, then among the true rows. Whatever the pipeline picks up from
    fold to fold is then something else each time.
    """
    seen, unseen = parts[-1]
    probe = data.x[unseen]

    def last_fold(x: Floats, y: NDArray[Any]) -> Floats:
        for others, rest in parts[:-1]:
            predict_unseen(model, x, y, others, x[rest], data.classes)
        return predict_unseen(model, x, y, seen, probe, data.classes)

    first, second = (predict_unseen(model, data.x, data.y, seen, probe, data.classes) for _ in range(2))
    noise = float(np.abs(first - second).max())
    for where, x, y in (("noise", *noised(data, unseen, seed)), ("the true rows", data.x, data.y)):
        other = last_fold(x, y)
        if not np.array_equal(first, other) and float(np.abs(first - other).max()) >= _FAR * noise:
            text = (
                f"{candidate} predicts a fold's unseen rows otherwise when other folds were fitted among {where}, "
                f"in {_changed(first, other)}: it knows rows that it was not fitted to."
            )
            yield Leak(kind="unseen_rows", subject=candidate, text=text)
            return
    if noise:
        text = (
            f"{candidate} predicts otherwise when fitted again to the same rows, in {_changed(first, second)}: "
            "it draws without a seed, or remembers what it was fitted to before."
        )
        yield Leak(kind="not_repeatable", subject=candidate, text=text)


def noised(data: Training, unseen: Rows, seed: int) -> tuple[Floats, NDArray[Any]]:
    """Return features and truth with the unseen rows replaced by noise.

    Numbers are as spread as the column's; codes of words, and classes, are drawn from those that occur.
    """
    rng = np.random.default_rng(stream_of(seed, "noise"))
    x, y = np.array(data.x), np.array(data.y)
    for column in range(x.shape[1]):
        values = data.x[:, column]
        there = values[np.isfinite(values)]
        if column in data.about.categorical:
            x[unseen, column] = rng.choice(there, len(unseen))
        else:
            spread = there.std() if len(there) else 0.0
            x[unseen, column] = rng.normal(there.mean() if len(there) else 0.0, spread or 1.0, len(unseen))
    y[unseen] = (
        rng.choice(np.unique(data.y), len(unseen))
        if data.classes
        else rng.normal(data.y.mean(), data.y.std() or 1.0, len(unseen))
    )
    return x, y


def scores_alone(data: Training, folds: int, split_seed: int, seed: int) -> list[float]:
    """Return by feature what a tree on it alone scores, cross-validated: the mean accuracy or r2 of the folds."""
    if len(data.y) > _ENOUGH:
        chosen = first_rows(data, _ENOUGH, seed)
        data = Training(data.about, data.x[chosen], data.y[chosen])
    kind = DecisionTreeClassifier if data.classes else DecisionTreeRegressor
    tree = kind(random_state=seed)
    parts = splits(data, folds, split_seed)
    return [
        float(
            np.mean(
                [
                    score(
                        data.y[unseen],
                        predict_unseen(tree, column, data.y, seen, column[unseen], data.classes),
                    )
                    for seen, unseen in parts
                ]
            )
        )
        for column in (data.x[:, [number]] for number in range(data.x.shape[1]))
    ]


def _digest(row: Floats) -> bytes:
    return (row + 0.0).tobytes()  # -0.0 is 0.0


def _changed(before: Floats, after: Floats) -> str:
    differ = (before != after).reshape(len(before), -1).any(axis=1)
    return f"{int(differ.sum())} of {len(differ)} rows"
