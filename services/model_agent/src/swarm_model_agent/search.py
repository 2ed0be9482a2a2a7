"""Searching pipelines: a candidate is cross-validated on training rows; held-out rows are sealed meanwhile."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the import below possible
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import HalvingRandomSearchCV

from swarm_common import pipelines
from swarm_common.events import Array
from swarm_common.events.agent import CandidateEvaluated
from swarm_common.pipelines import Space, Spec
from swarm_common.resampling import stream_of
from swarm_model_agent.blocks import pipeline_of
from swarm_model_agent.datasets import Floats, Training, load_training, sealed
from swarm_model_agent.params import EvaluateParams, HalvingParams
from swarm_model_agent.training import Meter, max_rss_bytes, predict, score, splits, texts

Rows = NDArray[np.intp]
#: What a library raises for a pipeline that does not go with the data; an error of the machine is none of these.
UNFIT = (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError)
#: Of so many candidates one goes on to so many times the rows (scikit-learn's default).
_FACTOR = 3
_MOST_RUNGS = 3
#: Rows a class (or rows at all, for values) below which a rung tells nothing.
_FEWEST = 5


def evaluate(task: str, params: EvaluateParams, *, seed: int, instance: str = "") -> CandidateEvaluated:
    """Cross-validate a pipeline on training rows, in the folds in which models are trained.

    A pipeline that cannot be fitted to these rows is a result with a reason and no score. Raises :class:`UsageError`
    for parameters that make no sense, and where anything in the pipeline asks for held-out rows.
    """
    spec = pipelines.read_spec(params.spec)
    with sealed():
        data = load_training(params)
        return _evaluate(task, params, spec, data, Meter(), seed=seed, instance=instance)


def _evaluate(
    task: str, params: EvaluateParams, spec: Spec, data: Training, meter: Meter, *, seed: int, instance: str
) -> CandidateEvaluated:
    rows = len(data.y)
    if params.rows is not None and params.rows < rows:
        chosen = first_rows(data, params.rows, seed)
        data = msgspec.structs.replace(data, x=data.x[chosen], y=data.y[chosen])
    parts = splits(data, params.folds, params.split_seed)
    model = pipeline_of(spec, data.problem, categorical=data.about.categorical, seed=seed)
    failed, predictions = "", np.zeros((len(data.y), len(data.classes)) if data.classes else len(data.y))
    fold_scores: list[float] = []
    fold_s: list[float] = []
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        work = Meter()
        try:
            for seen, unseen in parts:
                fold = Meter()
                predictions[unseen] = predict_unseen(
                    model, data.x, data.y, seen, data.x[unseen], data.classes
                )
                fold_s.append(fold.wall_s())
                fold_scores.append(score(data.y[unseen], predictions[unseen]))
        except UNFIT as error:
            failed = f"{type(error).__name__}: {error}"
        fit_s = work.wall_s()
    if not failed and not np.isfinite(predictions).all():
        failed = "it predicts values that are not finite"
    return CandidateEvaluated(
        task=task,
        arm=params.arm,
        candidate=params.candidate,
        spec=spec,
        rows=len(data.y),
        folds=params.folds,
        fold_scores=() if failed else tuple(fold_scores),
        score_name="accuracy" if data.classes else "r2",
        score=None if failed else float(np.mean(fold_scores)),
        loss=None if failed else loss_of(data, predictions),
        out_of_fold=Array.of(predictions) if params.out_of_fold and not failed else None,
        failed=failed[:500],
        fits=params.folds * len(data.y) / rows,
        fit_s=fit_s,
        fold_s=tuple(fold_s),
        cpu_s=meter.cpu_s(),
        max_rss_bytes=max_rss_bytes(),
        worker=f"{instance}/{os.getpid()}",
        started=meter.started,
        waited_s=0.0,
        warnings=texts(noted),
    )


def predict_unseen(
    model: BaseEstimator, x: Floats, y: NDArray[Any], seen: Rows, unseen: Floats, classes: tuple[str, ...]
) -> Floats:
    """Return predictions for rows ``unseen`` by a clone that was fitted to rows number ``seen`` and nothing else."""
    return predict(clone(model).fit(x[seen], y[seen]), unseen, classes)


def loss_of(data: Training, predictions: Floats) -> float:
    """Return the log loss of class probabilities, or the mean squared error of values, over all rows."""
    if not data.classes:
        return float(mean_squared_error(data.y, predictions))
    return float(log_loss(data.y, predictions, labels=np.arange(len(data.classes))))


def first_rows(data: Training, count: int, seed: int) -> Rows:
    """Return ``count`` row numbers, ascending: the first of a seeded order in which classes keep their shares.

    Fewer rows are always among more rows, so that a candidate's next, larger evaluation builds on the one before.
    """
    rng = np.random.default_rng(stream_of(seed, "rows"))
    place = rng.permutation(len(data.y)).astype(np.float64)
    if data.classes:
        for number in range(len(data.classes)):
            mine = np.flatnonzero(data.y == number)
            # Spread over 0 to 1, so that any beginning of the order has the same share of each class.
            place[mine] = (place[mine].argsort().argsort() + 0.5) / max(1, len(mine))
    return np.sort(np.argsort(place, kind="stable")[:count])


def halving_search(task: str, params: HalvingParams, *, seed: int, instance: str = "") -> CandidateEvaluated:
    """Search the same space by scikit-learn's ``HalvingRandomSearchCV``; return its best, evaluated as all others are.

    Candidates are drawn evenly and start with few rows; a third of them goes on to three times the rows, up to all
    (successive halving: Jamieson and Talwalkar, AISTATS 2016). As many start as the budget allows, whose last
    evaluation on all rows is that of the best.
    """
    meter = Meter()
    with sealed():
        data = load_training(params)
        space = pipelines.space(
            data.problem,
            data.x.shape[1],
            categorical=bool(data.about.categorical),
            missing=bool(np.isnan(data.x).any()),
            extra_models=params.extra_models,
        )
        rungs, starting = ladder(data, params.folds, params.budget - 1)
        whole = WholeClassifier if data.classes else WholeRegressor
        search = HalvingRandomSearchCV(
            whole(categorical=data.about.categorical, seed=seed),
            {"spec": Drawn(space)},
            n_candidates=starting,
            factor=_FACTOR,
            min_resources=rungs[0],
            max_resources=len(data.y),
            cv=splits(data, params.folds, params.split_seed),
            scoring="accuracy" if data.classes else "r2",
            refit=False,
            random_state=int(np.random.SeedSequence(stream_of(seed, params.candidate)).generate_state(1)[0]),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each candidate's are its own; the best is evaluated again below
            search.fit(data.x, data.y)
        best = search.best_params_["spec"]
        last = EvaluateParams(
            **{name: getattr(params, name) for name in params.__struct_fields__ if name in _SHARED},
            spec=msgspec.to_builtins(best),
        )
        found = _evaluate(task, last, best, data, meter, seed=seed, instance=instance)
    spent = sum(
        count * rows for count, rows in zip(search.n_candidates_, search.n_resources_, strict=True)
    ) / len(data.y)
    return msgspec.structs.replace(
        found,
        evaluations=sum(search.n_candidates_) + 1,
        fits=params.folds * (spent + 1),
        cpu_s=meter.cpu_s(),
        fit_s=meter.wall_s(),
    )


_SHARED = frozenset(EvaluateParams.__struct_fields__)


def ladder(data: Training, folds: int, budget: float) -> tuple[list[int], int]:
    """Return the rows of each rung, and how many candidates may start, for so many evaluations on all rows at most."""
    rows = len(data.y)
    fewest = _FEWEST * folds * max(1, len(data.classes))
    rungs = [rows]
    while len(rungs) < _MOST_RUNGS and rungs[0] // _FACTOR >= fewest:
        rungs.insert(0, rungs[0] // _FACTOR)
    starting = 1
    while _cost(rungs, starting + 1) * 1.0 <= budget * rows:
        starting += 1
    return rungs, starting


def _cost(rungs: Sequence[int], starting: int) -> int:
    """Return the rows that all rungs see: of the candidates of each, a third (rounded up) goes on."""
    total, count = 0, starting
    for number, _ in enumerate(rungs):
        total += count * min(rungs[0] * _FACTOR**number, rungs[-1])
        if count <= 1:
            break
        count = -(-count // _FACTOR)
    return total


class Drawn:
    """A distribution over whole pipelines, as scikit-learn's samplers want one."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def rvs(self, random_state: np.random.RandomState) -> Spec:
        """Return a pipeline drawn from the space."""
        import random  # noqa: PLC0415

        return pipelines.sample(self.space, random.Random(int(random_state.randint(2**31))))  # noqa: S311


class Whole(BaseEstimator):  # type: ignore[misc] # no types published
    """An estimator whose one parameter is the pipeline it is."""

    problem = ""

    def __init__(self, spec: Spec | None = None, categorical: Sequence[int] = (), seed: int = 0) -> None:
        self.spec = spec
        self.categorical = categorical
        self.seed = seed

    def fit(self, x: Floats, y: NDArray[Any]) -> Whole:
        """Fit the pipeline."""
        assert self.spec is not None  # noqa: S101 - the search sets it
        self.model_ = pipeline_of(self.spec, self.problem, categorical=self.categorical, seed=self.seed)
        self.model_.fit(x, y)
        if self.problem == "classification":
            self.classes_ = self.model_.classes_
        return self

    def predict(self, x: Floats) -> NDArray[Any]:
        """Return classes or values ``(rows,)``."""
        return np.asarray(self.model_.predict(x))


class WholeClassifier(ClassifierMixin, Whole):  # type: ignore[misc]
    """For classes."""

    problem = "classification"


class WholeRegressor(RegressorMixin, Whole):  # type: ignore[misc]
    """For values."""

    problem = "regression"
