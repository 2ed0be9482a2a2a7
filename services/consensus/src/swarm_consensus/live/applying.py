"""The state machine over the decisions of a live agent: registers that clients read and write.

A read is decided like a write, so that what it returns is what the register held at its place in the order. A client
that hears nothing asks again, and its operation may be decided twice: the second time has no effect and the same result
(sessions, Ongaro 2014, *Consensus: Bridging Theory and Practice*, section 6.3).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from swarm_consensus.protocols.core import Decision, Mechanism, Value


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """What a client asks of a register."""

    client: int
    number: int
    """Of the client's operations, from 0; one at a time."""
    f: Literal["read", "write"]
    key: str
    value: int | None = None
    """What is written."""


class Machine(Protocol):
    """One agent's replica."""

    def apply(self, decision: Decision) -> list[tuple[Value, int, str]]:
        """Take a decision; return value, slot and result of what could be applied now, in the order of slots."""
        ...

    def set(self, slot: int, state: str) -> None:
        """Go to the state of a snapshot, which has applied ``slot``."""
        ...


_decode = msgspec.json.Decoder(Operation).decode
_encode = msgspec.json.Encoder().encode


class Registers:
    """Registers by key, and of each client the last operation with its result. The result is JSON: what was read."""

    def __init__(self) -> None:
        self._slot = 0
        self._waiting: dict[int, Value] = {}
        self._values: dict[str, int | None] = {}
        self._sessions: dict[int, tuple[int, str]] = {}

    def apply(self, decision: Decision) -> list[tuple[Value, int, str]]:
        """Take a decision; what comes before its turn waits for it, what comes again is left out."""
        if decision.slot >= self._slot:
            self._waiting[decision.slot] = decision.value
        done: list[tuple[Value, int, str]] = []
        while (value := self._waiting.pop(self._slot, None)) is not None:
            done.append((value, self._slot, self._result(value)))
            self._slot += 1
        return done

    def _result(self, value: Value) -> str:
        """Carry out an operation; a value that is none has no effect and no result."""
        try:
            operation = _decode(value)
        except msgspec.DecodeError:
            return ""
        number, result = self._sessions.get(operation.client, (-1, ""))
        if operation.number <= number:
            return result
        if operation.f == "write":
            self._values[operation.key] = operation.value
            result = "null"
        else:
            result = _encode(self._values.get(operation.key)).decode()
        self._sessions[operation.client] = (operation.number, result)
        return result

    def set(self, slot: int, state: str) -> None:
        """Take over another's registers and sessions."""
        held: tuple[dict[str, int | None], dict[int, tuple[int, str]]] = msgspec.json.decode(
            state, type=tuple[dict[str, int | None], dict[int, tuple[int, str]]]
        )
        self._values, self._sessions = held
        self._slot = slot + 1

    def state(self) -> str:
        """Return what :meth:`set` takes over."""
        return _encode((self._values, self._sessions)).decode()


def encode(operation: Operation) -> Value:
    """Return an operation as the value to be decided."""
    return _encode(operation).decode()


def machine_for(mechanism: Mechanism) -> Machine | None:
    """Return a new replica; ``None`` where decisions are answers to questions, which have no order."""
    return None if mechanism.votes else Registers()


def result_of(text: str) -> Any:
    """Return what a read returned; raises ``msgspec.DecodeError`` where that is no result, as a liar's."""
    return msgspec.json.decode(text)
