"""Timers: scheduled messages of JetStream (NATS ADR-51), so that they outlive every process.

A timer is no event. It lies in a stream of its own under ``timer.set.<run>.<name>`` and comes out, when due, under
``timer.fired.<run>.<name>``; what it leads to is an event of the coordinator. Setting it twice is setting it once.
"""

from __future__ import annotations

import msgspec

from swarm_common.clock import format_ns
from swarm_common.log.eventlog import EventLog
from swarm_common.log.publisher import Message

FIRED = "timer.fired.>"
_SET = "timer.set"
_FIRED = "timer.fired"


class Timer(msgspec.Struct, frozen=True):
    """A moment that a run waits for."""

    run: str
    name: str
    """``deadline``, or ``retry-<attempt>-<task>``; a token."""
    due_ns: int
    """Wall clock, nanoseconds since 1970."""

    @property
    def due(self) -> str:
        return format_ns(self.due_ns)


async def set_timer(log: EventLog, timer: Timer) -> None:
    """Have the broker publish the timer when it is due; one that is overdue fires at once."""
    await log.publish(
        Message(
            f"{_SET}.{timer.run}.{timer.name}",
            msgspec.json.encode({"run": timer.run, "timer": timer.name, "due": timer.due}),
            {
                "Nats-Schedule": f"@at {timer.due}",
                "Nats-Schedule-Target": f"{_FIRED}.{timer.run}.{timer.name}",
            },
        )
    )


def fired(subject: str) -> tuple[str, str]:
    """Return run and name of a fired timer from its subject."""
    tokens = subject.split(".")
    return tokens[2], tokens[3]


def is_fired(subject: str) -> bool:
    """Say whether a subject is that of a fired timer."""
    return subject.startswith(f"{_FIRED}.")
