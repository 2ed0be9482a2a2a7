"""What a correct store would do: models, as tables from names of operations to what these do to a key's value.

Every key has a value of its own, ``null`` before anything is written. There are four kinds of operation:

========  ===================================  =========================================================
kind      value                                possible, and what it leaves
========  ===================================  =========================================================
read      what was read                        where the key has this value; leaves it
write     any                                  always; leaves this value
cas       two: expected and new                where the key has the first; leaves the second
append    text                                 always; leaves the text that was there, and this after it
========  ===================================  =========================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from swarm_histories.history import Event

Kind = Literal["read", "write", "cas", "append"]
NIL = "null"
"""The value of a key before anything is written, as text of JSON."""
_encode = msgspec.json.Encoder(order="sorted").encode


def text_of(value: Any) -> str:
    """Return a value as text of JSON, the same for equal values: objects sorted, no spaces."""
    return _encode(value).decode()


class Act(NamedTuple):
    """What an operation needs and does, its values as texts of JSON."""

    needs: str | None
    """The value that must be there; ``None``: any."""
    makes: str | None
    """The value that it leaves; ``None``: the one that was there."""
    adds: str | None = None
    """Text of JSON, without its quotation marks, that it puts behind what is there."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The names of operations, and of which kind each is."""

    name: str
    title: str
    operations: Mapping[str, Kind]
    texts: bool = False
    """Whether all values are texts, which can be appended to."""

    def act(self, f: str, value: Any) -> Act:
        """Return what an operation of this name with this value needs and does; read: ``value`` is what was read."""
        match self.operations[f]:
            case "read":
                return Act(text_of(value), None)
            case "write":
                return Act(None, text_of(value))
            case "cas":
                return Act(text_of(value[0]), text_of(value[1]))
            case _:
                return Act(None, None, text_of(value)[1:-1])

    def check_argument(self, event: Event, line: int) -> None:
        """Look at the value that an operation is called with.

        Raises:
            InvalidHistory: It does not fit the kind of operation.
        """
        kind, value = self.operations[event.f], event.value
        if kind == "read":
            return
        if value is msgspec.UNSET:
            self._refuse(line, event, "has no value", "what is written")
        if kind == "cas" and not (isinstance(value, list) and len(value) == 2):
            self._refuse(line, event, "needs two values", "[expected, new]")
        if self.texts:
            values: list[Any] = value if isinstance(value, list) and kind == "cas" else [value]
            if not all(
                isinstance(one, str) or (kind == "cas" and at == 0 and one is None)
                for at, one in enumerate(values)
            ):
                self._refuse(line, event, "needs text", "texts; null where cas expects no value yet")

    def check_result(self, event: Event, line: int) -> None:
        """Look at what a read returned.

        Raises:
            InvalidHistory: Nothing is said about it, or it cannot be a value of this model.
        """
        if event.value is msgspec.UNSET:
            self._refuse(line, event, "says not what was read", "the value; null where there was none")
        if self.texts and not isinstance(event.value, str | None):
            self._refuse(line, event, "did not read text", "text; null where there was none")

    def _refuse(self, line: int, event: Event, what: str, allowed: str) -> None:
        from swarm_histories.history import InvalidHistory  # noqa: PLC0415 - it knows models; we only its error

        given = "nothing" if event.value is msgspec.UNSET else text_of(event.value)
        raise InvalidHistory(
            line, f"{event.f} {what}, given {given}", field="value", given=given, allowed=allowed
        )


REGISTER = Model(
    name="register",
    title="a register a key: read and write",
    operations={"read": "read", "write": "write"},
)
CAS_REGISTER = Model(
    name="cas-register",
    title="a register a key that can also be compared and set",
    operations={"read": "read", "write": "write", "cas": "cas"},
)
KV = Model(
    name="kv",
    title="a key-value store of texts: get, put, append and cas",
    operations={"get": "read", "put": "write", "append": "append", "cas": "cas"},
    texts=True,
)
MODELS: Mapping[str, Model] = {model.name: model for model in (REGISTER, CAS_REGISTER, KV)}
"""By name."""
