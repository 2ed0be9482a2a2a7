"""The state machine over the decisions of a live agent: registers in a key-value store that clients read and write.

A read is decided like a write, so that what it returns is what the register held at its place in the order.
"""

from __future__ import annotations

from typing import Any

import msgspec

from swarm_consensus.keyvalue import Answer, Command, KeyValue, encode
from swarm_consensus.protocols.core import Decision, Mechanism, Value

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Answer).decode


class Registers:
    """One agent's replica."""

    def __init__(self) -> None:
        self._store = KeyValue()

    def apply(self, decision: Decision) -> list[tuple[Value, int, str]]:
        """Take a decision; return value, slot and result of what could be carried out now, in the order of slots."""
        return [
            (encode(one.command), one.slot, _write(one.answer).decode())
            for one in self._store.apply(decision)
        ]

    def set(self, slot: int, state: str) -> None:
        """Go to the state of a snapshot, which has applied ``slot``."""
        self._store.restore(slot, state)


def machine_for(mechanism: Mechanism) -> Registers | None:
    """Return a new replica; ``None`` where decisions are answers to questions, which have no order."""
    return None if mechanism.votes else Registers()


def command(client: int, number: int, write: int | None) -> Command:
    """Return a client's operation on its register: a write of a number, or a read."""
    if write is None:
        return Command(client=str(client), number=number, f="get", key="r")
    return Command(client=str(client), number=number, f="put", key="r", value=write)


def read_of(result: str) -> Any:
    """Return what a read found, ``None`` where nothing had been written.

    Raises:
        msgspec.DecodeError: It is no result of a store: a liar's.
    """
    return _read(result).value


def is_command(value: Value) -> bool:
    """Return whether a value is for the state machine: what it is, it says when its turn has come."""
    return value.startswith("{")
