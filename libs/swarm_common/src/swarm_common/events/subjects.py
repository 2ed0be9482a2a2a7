"""Subjects: where an event lies in the log.

``swarm.<context>.<run>.<event>``, with further tokens where work is routed or a result is addressed:
``swarm.benchmark.<run>.task_scheduled.<service>.<lane>`` and ``swarm.<context>.<run>.<event>.<task>``, of which a task
that says the same of several things has one a number: ``swarm.consensus.<run>.decided.<task>.<number>``,
``swarm.agent.<run>.called.<task>.<number>``.
What a worker says of a task thus has a subject of its own: a result is found in one look-up, and the broker refuses a
second one.
"""

from __future__ import annotations

from swarm_common.errors import InvalidEvent
from swarm_common.events.agent import Called
from swarm_common.events.benchmark import TaskScheduled
from swarm_common.events.consensus import Decided
from swarm_common.events.registry import Data
from swarm_common.ids import is_token

#: The only subject that outsiders need.
REQUESTS = "benchmark.requested"

CONTEXTS = ("benchmark", "agent", "consensus", "memory", "metrics", "optimizer")


def run_filter(run: str) -> str:
    """Return the filter that catches all events of a run."""
    return f"swarm.*.{run}.>"


def decisions_filter(run: str) -> str:
    """Return the filter under which the coordinator writes a run: what it expects nobody else to have changed."""
    return f"swarm.benchmark.{run}.>"


def scheduled_filter(service: str, lane: str) -> str:
    """Return the filter of a service's tasks, over all runs."""
    return f"swarm.benchmark.*.task_scheduled.{service}.{lane}"


def results_filter(context: str) -> str:
    """Return the filter of everything a context's tasks end with: results and failures, over all runs."""
    return f"swarm.{context}.*.*.*"


def type_filter(event_type: str, run: str) -> str:
    """Return what the subjects of a run's events of a type begin with."""
    context, name = event_type.split(".")
    return f"swarm.{context}.{run}.{name}"


def result_subject(event_type: str, run: str, task: str) -> str:
    """Return the one subject on which the result of a task lies."""
    return f"{type_filter(event_type, run)}.{task}"


def numbered_filter(event_type: str, run: str, task: str) -> str:
    """Return the filter of what a task says of several things."""
    return f"{result_subject(event_type, run, task)}.*"


def subject_of(run: str, data: Data) -> str:
    """Return the subject of an event; raises :class:`InvalidEvent` where a part of it is no token."""
    context, _, name = data.type.partition(".")
    subject = f"swarm.{context}.{run}.{name}"
    tokens: tuple[str, ...] = (run,)
    if isinstance(data, TaskScheduled):
        subject = f"{subject}.{data.service}.{data.lane}"
        tokens = (run, data.service, data.task)
    elif context != "benchmark" and hasattr(data, "task"):
        subject = f"{subject}.{data.task}"
        tokens = (run, data.task)
        if isinstance(data, Called | Decided):
            subject = f"{subject}.{data.number}"
    for token in tokens:
        if not is_token(token):
            raise InvalidEvent(
                f"{data.type}: {token!r} cannot stand in a subject; use letters, digits, '_' and '-', at most 128",
                field="subject",
                given=token,
            )
    return subject
