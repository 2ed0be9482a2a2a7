"""A key-value store as a replicated state machine: every agent applies the same decisions in the same order.

A command is decided as a value, in JSON. Whoever asks again, because nothing was heard, may have a command decided
twice: of each client the store remembers the last command with its answer, and the second time only gives the
answer once more (sessions; Ongaro 2014, *Consensus: Bridging Theory and Practice*, section 6.3). So a client has
one command under way at a time and counts them upwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from swarm_consensus.protocols.core import Decision, Value

Refusal = Literal["absent", "differs", "not text", "overtaken"]


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client wants done."""

    client: str
    number: int
    """Of the client's commands, each higher than the one before."""
    f: Literal["get", "put", "append", "cas"]
    key: Any
    """Any JSON; equal keys are the same key."""
    value: Any = None
    """``put``: any JSON; ``append``: text; ``cas``: two values, expected and new; without use in ``get``."""
    create: bool = False
    """``cas`` only: where there is no value, put the new one."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What became of a command: done, or refused without any effect."""

    value: Any = None
    """``get``: what is there."""
    refused: Refusal | None = None
    """``absent``: no such key (get, cas). ``differs``: cas found another value than expected. ``not text``: append
    found, or was given, something else. ``overtaken``: a later command of this client was decided before; whether this
    one had been carried out before that is no longer known."""


class Applied(msgspec.Struct, frozen=True):
    """A command in its place."""

    slot: int
    command: Command
    answer: Answer


class _Held(msgspec.Struct, array_like=True):
    values: dict[str, Any]
    sessions: dict[str, tuple[int, Answer]]


_read = msgspec.json.Decoder(Command).decode
_write = msgspec.json.Encoder(order="sorted").encode
_held = msgspec.json.Decoder(_Held).decode


def encode(command: Command) -> Value:
    """Return a command as the value to be decided."""
    return _write(command).decode()


class KeyValue:
    """One replica. The same decisions lead to the same state and the same answers."""

    def __init__(self) -> None:
        self.slot = -1
        """The last slot that is applied."""
        self._waiting: dict[int, Value] = {}
        self._state = _Held({}, {})

    def apply(self, decision: Decision) -> list[Applied]:
        """Take a decision and return what could be carried out now, in the order of slots.

        What comes before its turn waits for it; what comes again, and values that are no commands (a leader's
        no-ops), are passed over.
        """
        if decision.slot > self.slot:
            self._waiting[decision.slot] = decision.value
        done: list[Applied] = []
        while (value := self._waiting.pop(self.slot + 1, None)) is not None:
            self.slot += 1
            try:
                command = _read(value)
            except msgspec.DecodeError:
                continue
            done.append(Applied(self.slot, command, self._once(command)))
        return done

    def state(self) -> str:
        """Return values and sessions, for :meth:`restore`: all that ``slot`` and the slots before it led to."""
        return _write(self._state).decode()

    def restore(self, slot: int, state: str) -> None:
        """Go to the state after ``slot``, unless this replica is further already.

        Raises:
            msgspec.DecodeError: ``state`` is not what :meth:`state` returns.
        """
        if slot > self.slot:
            self._state, self.slot = _held(state), slot
            self._waiting = {at: value for at, value in self._waiting.items() if at > slot}

    def _once(self, command: Command) -> Answer:
        number, answer = self._state.sessions.get(command.client, (None, Answer()))
        if number == command.number:
            return answer
        if number is not None and command.number < number:
            return Answer(refused="overtaken")
        answer = self._carry_out(command)
        self._state.sessions[command.client] = (command.number, answer)
        return answer

    def _carry_out(self, command: Command) -> Answer:
        values, value = self._state.values, command.value
        key = _write(command.key).decode()
        match command.f:
            case "get":
                return Answer(values[key]) if key in values else Answer(refused="absent")
            case "put":
                values[key] = value
            case "append":
                held = values.get(key, "")
                if not (isinstance(value, str) and isinstance(held, str)):
                    return Answer(refused="not text")
                values[key] = held + value
            case "cas":
                return self._compare_and_set(values, key, command)
        return Answer()

    @staticmethod
    def _compare_and_set(values: dict[str, Any], key: str, command: Command) -> Answer:
        if not (isinstance(command.value, list) and len(command.value) == 2):
            return Answer(refused="differs")
        expected, new = command.value
        if key not in values:
            if not command.create:
                return Answer(refused="absent")
        elif _write(values[key]) != _write(expected):
            return Answer(refused="differs")
        values[key] = new
        return Answer()

    @property
    def values(self) -> Mapping[str, Any]:
        """What is held, by key as text of JSON."""
        return self._state.values
