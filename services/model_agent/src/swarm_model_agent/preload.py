"""Runs once in the fork server, before the first worker is forked: what is loaded here every worker has, shared."""

from __future__ import annotations

import gc
import warnings

from threadpoolctl import threadpool_limits

from swarm_model_agent import jobs
from swarm_model_agent.datasets import load_training
from swarm_model_agent.lifeline import die_with_parent
from swarm_model_agent.models import MODEL_TYPES, build
from swarm_model_agent.params import DataParams

__all__ = ["jobs"]


def _fit_each() -> None:
    """Fit each type of model once, so that what scikit-learn loads at a first fit is loaded for all workers."""
    for dataset, problem in (("wine", "classification"), ("diabetes", "regression")):
        data = load_training(DataParams(dataset=dataset))
        for name, entry in MODEL_TYPES.items():
            if (entry.classifier if problem == "classification" else entry.regressor) is not None:
                model = build(name, problem, {}, seed=0)
                inner = model[-1] if hasattr(model, "steps") else model
                few = {"max_iter": 2, "n_estimators": 2}
                inner.set_params(
                    **{key: few[key] for key in few.keys() & inner.get_params(deep=False).keys()}
                )
                model.fit(data.x, data.y).predict(data.x[:8])


die_with_parent()
# One thread a worker, one worker a core: pools within pools only fight. Children inherit the limit.
threadpool_limits(limits=1)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # two iterations do not converge, and are not meant to
    _fit_each()
# What is there now stays: the collector need not look at it, and looking would copy every page it lies on.
gc.collect()
gc.freeze()
