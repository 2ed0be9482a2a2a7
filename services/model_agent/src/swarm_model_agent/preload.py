"""Runs once in the fork server, before the first worker is forked: what is loaded here every worker has, shared."""

from __future__ import annotations

import contextlib
import gc
import warnings

from threadpoolctl import threadpool_limits

from swarm_common.errors import UsageError
from swarm_model_agent import jobs
from swarm_model_agent.datasets import Training, load_training
from swarm_model_agent.lifeline import die_with_parent
from swarm_model_agent.models import MODEL_TYPES, build
from swarm_model_agent.params import DataParams

__all__ = ["jobs"]


#: As little of each type as makes it load what it needs.
_FEW = {"max_iter": 2, "n_estimators": 2}
#: CatBoost starts threads when it is imported, and a process that has some must not fork: a worker imports it itself.
_STARTS_THREADS = "catboost"


def _fit_each() -> None:
    """Fit each type of model once, so that what its library loads at a first fit is loaded for all workers.

    Types that other distributions bring are left alone: what they load, and whether it bears a fork, is theirs.
    """
    kinds = {"classification": "wine", "regression": "diabetes"}
    wanted = [
        (name, problem)
        for problem in kinds
        for name, entry in MODEL_TYPES.items()
        if entry.solves(problem) and entry.installed() and entry.extra != _STARTS_THREADS
    ]
    data = {problem: load_training(DataParams(dataset=dataset)) for problem, dataset in kinds.items()}
    # A type that cannot be built says why when a task wants it; the others are to be warm all the same.
    for name, problem in wanted:
        with contextlib.suppress(UsageError):
            MODEL_TYPES[name].prototype(name, problem)
    # One thread a worker, one worker a core: pools within pools only fight. Children inherit the limit.
    threadpool_limits(limits=1)
    for name, problem in wanted:
        with contextlib.suppress(UsageError):
            _fit_few(name, problem, data[problem])


def _fit_few(name: str, problem: str, data: Training) -> None:
    model = build(name, problem, {}, seed=0)
    inner = model[-1] if hasattr(model, "steps") else model
    names = inner.get_params(deep=False).keys()
    inner.set_params(**{key: _FEW[key] for key in _FEW.keys() & names})
    model.fit(data.x, data.y).predict(data.x[:8])


die_with_parent()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # two iterations do not converge, and are not meant to
    _fit_each()
# What is there now stays: the collector need not look at it, and looking would copy every page it lies on.
gc.collect()
gc.freeze()
