"""From a job's bytes to the answer's bytes, in the worker process."""

from __future__ import annotations

import traceback

from swarm_common.errors import SwarmError, UsageError
from swarm_model_agent import datasets, training
from swarm_model_agent.wire import Answer, Broke, Job, Prepare, Refused, Train, decode_job, done, encode


def answer(frame: bytes) -> bytes:
    """Do a job; whatever goes wrong becomes an answer, so that the worker stays warm for the next one."""
    try:
        return encode(_do(decode_job(frame)))
    except UsageError as error:
        return encode(Refused(str(error), error.field, error.given, error.allowed))
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the task's failure and not the worker's
        return encode(Broke(type(error).__name__, str(error), traceback.format_exc()))


def _do(job: Job) -> Answer:
    match job:
        case Prepare(task, params):
            return done(datasets.prepare(task, params))
        case Train(task, params, seed, instance):
            return done(*training.train(task, params, seed=seed, instance=instance))
    raise SwarmError(f"no job: {job!r}")  # pragma: no cover - the decoder admits nothing else
