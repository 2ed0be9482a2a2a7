"""What service and worker processes say to each other: MessagePack of these, over a socket pair. Nothing is pickled."""

from __future__ import annotations

import msgspec

from swarm_common.errors import SwarmError, TaskFailed, UsageError
from swarm_common.events import Data, lookup


class Job(msgspec.Struct, frozen=True, tag=True):
    """A task for a worker."""

    kind: str
    """Which function does it; see :mod:`~swarm_model_agent.jobs`."""
    task: str
    params: msgspec.Raw
    """MessagePack of the kind's parameters, checked by the service."""
    seed: int
    """The run's; the estimator's ``random_state``."""
    instance: str
    """Of the service, for the record of who did it."""
    store: str = ""
    """Directory with data sets beside the workers."""


class Done(msgspec.Struct, frozen=True, tag=True):
    """The events that report the work: name and MessagePack of each."""

    events: tuple[tuple[str, msgspec.Raw], ...]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """What was asked for makes no sense; the same words would be refused again."""

    message: str
    field: str = ""
    given: str = ""
    allowed: str = ""


class Broke(msgspec.Struct, frozen=True, tag=True):
    """The work ended with an error that another attempt may not meet."""

    error: str
    message: str
    where: str = ""
    """The traceback, for the service's log."""


Answer = Done | Refused | Broke

_encoder = msgspec.msgpack.Encoder()
_job_decoder = msgspec.msgpack.Decoder(Job)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def job(kind: str, task: str, params: msgspec.Struct, *, seed: int, instance: str, store: str) -> bytes:
    """Return the bytes of a job."""
    return encode(Job(kind, task, msgspec.Raw(_encoder.encode(params)), seed, instance, store))


def encode(message: Job | Answer) -> bytes:
    """Return the bytes of a job or an answer."""
    return _encoder.encode(message)


def decode_job(frame: bytes) -> Job:
    """Return the job in ``frame``."""
    job: Job = _job_decoder.decode(frame)
    return job


def decode_answer(frame: bytes) -> Answer:
    """Return the answer in ``frame``."""
    return _answer_decoder.decode(frame)


def done(*events: Data) -> Done:
    """Return the answer that carries these events' data."""
    return Done(tuple((event.type, msgspec.Raw(_encoder.encode(event))) for event in events))


def events_of(answer: Answer) -> list[Data]:
    """Return the data an answer carries; raises :class:`UsageError` or :class:`TaskFailed` for what went wrong."""
    match answer:
        case Done(events):
            return [msgspec.msgpack.decode(raw, type=lookup(name).cls) for name, raw in events]
        case Refused(message, field, given, allowed):
            raise UsageError(message, field=field, given=given, allowed=allowed)
        case Broke(error, message):
            raise TaskFailed(f"{error}: {message}", retryable=True)
    raise SwarmError(f"no answer: {answer!r}")  # pragma: no cover - the decoder admits nothing else
