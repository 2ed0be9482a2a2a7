"""The tree of errors.

::

    SwarmError                 every error this project raises on purpose
    ├── UsageError             what was asked for makes no sense; exit code 2
    │   ├── SettingsError      a flag, variable or key of swarm.toml
    │   └── InvalidEvent       bytes that are no event, or an event that breaks its schema
    ├── BrokerUnavailable      no broker answers
    │   └── AppendTimeout      the broker did not say whether it stored an event
    ├── Conflict               somebody else wrote to the run first
    ├── StreamFull             the broker refuses to store more
    ├── PermissionDenied       the broker refuses the subject to this identity
    ├── NotFound               no such run, event, blob or letter
    ├── TaskFailed             a task ended without a result
    └── RunFailed              a run ended without a result

A message says what was given, what is allowed and what to do next.
"""

from __future__ import annotations


class SwarmError(Exception):
    """Root of the tree; ``exit_code`` is what a command that meets it exits with."""

    exit_code = 1


class UsageError(SwarmError):
    """What was asked for makes no sense.

    ``field`` names the part that is wrong, as in ``params.folds``; ``given`` and ``allowed`` are for people.
    """

    exit_code = 2

    def __init__(self, message: str, *, field: str = "", given: str = "", allowed: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.given = given
        self.allowed = allowed


class SettingsError(UsageError):
    """A flag, an environment variable or a key of swarm.toml has a value that does not fit."""


class InvalidEvent(UsageError):
    """Bytes that are no CloudEvents object, or an event whose data break its schema."""


class BrokerUnavailable(SwarmError):
    """No broker answers at the given address."""


class AppendTimeout(BrokerUnavailable):
    """The broker did not acknowledge an append in time: it may or may not have stored it."""


class Conflict(SwarmError):
    """The expected sequence was wrong: somebody else wrote first. Read again and decide again."""

    def __init__(self, message: str, *, last_sequence: int | None = None) -> None:
        super().__init__(message)
        self.last_sequence = last_sequence


class StreamFull(SwarmError):
    """The stream or the disk is full; nothing that was acknowledged is lost."""


class PermissionDenied(SwarmError):
    """The broker refuses a subject to this identity."""


class NotFound(SwarmError):
    """No such run, event, blob or dead letter."""


class TaskFailed(SwarmError):
    """A task ended without a result. ``retryable`` says whether another attempt may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class RunFailed(SwarmError):
    """A run ended without a result."""
