"""From a job's bytes to the answer's bytes, in the worker process. A new kind of job is a line in :data:`JOBS`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from swarm_common.errors import SwarmError, UsageError
from swarm_common.events import Data
from swarm_model_agent import datasets, leaks, search, training
from swarm_model_agent.params import (
    JOB_PARAMS,
    DataParams,
    EvaluateParams,
    HalvingParams,
    LeakParams,
    PartParams,
    PatternParams,
    TrainParams,
)
from swarm_model_agent.patterns import learning
from swarm_model_agent.wire import Answer, Broke, Job, Refused, decode_job, done, encode


def _prepare(job: Job, params: DataParams) -> Sequence[Data]:
    return (datasets.prepare(job.task, params),)


def _train(job: Job, params: TrainParams) -> Sequence[Data]:
    return training.train(job.task, params, seed=job.seed, instance=job.instance)


def _train_part(job: Job, params: PartParams) -> Sequence[Data]:
    return (training.train_part(job.task, params, seed=job.seed, instance=job.instance),)


def _evaluate(job: Job, params: EvaluateParams) -> Sequence[Data]:
    return (search.evaluate(job.task, params, seed=job.seed, instance=job.instance),)


def _halving_search(job: Job, params: HalvingParams) -> Sequence[Data]:
    return (search.halving_search(job.task, params, seed=job.seed, instance=job.instance),)


def _check_leaks(job: Job, params: LeakParams) -> Sequence[Data]:
    return (leaks.check_leaks(job.task, params, seed=job.seed, instance=job.instance),)


def _learn_pattern(job: Job, params: PatternParams) -> Sequence[Data]:
    return (learning.learn_pattern(job.task, params, seed=job.seed, instance=job.instance),)


#: By kind of task; what each gets is in :data:`swarm_model_agent.params.JOB_PARAMS`.
JOBS: dict[str, Callable[[Job, Any], Sequence[Data]]] = {
    "check_leaks": _check_leaks,
    "evaluate": _evaluate,
    "halving_search": _halving_search,
    "learn_pattern": _learn_pattern,
    "prepare": _prepare,
    "prepare_file": _prepare,
    "train": _train,
    "train_part": _train_part,
}


def answer(frame: bytes) -> bytes:
    """Do a job; whatever goes wrong becomes an answer, so that the worker stays warm for the next one."""
    try:
        return encode(_do(decode_job(frame)))
    except UsageError as error:
        return encode(Refused(str(error), error.field, error.given, error.allowed))
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the task's failure and not the worker's
        return encode(Broke(type(error).__name__, str(error), traceback.format_exc()))


def _do(job: Job) -> Answer:
    if job.kind not in JOBS:
        raise SwarmError(f"no worker does {job.kind!r}; there are {', '.join(JOBS)}")
    datasets.keep_in(job.store)
    return done(*JOBS[job.kind](job, msgspec.msgpack.decode(job.params, type=JOB_PARAMS[job.kind])))
