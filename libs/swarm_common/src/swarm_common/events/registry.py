"""The registry: type and version to class. Whatever is not here cannot be appended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from swarm_common.errors import InvalidEvent


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of every event's ``data``.

    Class variables say how the engine treats the type; the decorator :func:`event` sets ``type`` and ``version``.
    """

    type: ClassVar[str] = ""
    """``<context>.<past participle>``, such as ``agent.predicted``."""
    version: ClassVar[int] = 1
    concludes: ClassVar[bool] = False
    """Whether the event ends its ``task`` with a result."""
    volatile: ClassVar[frozenset[str]] = frozenset()
    """Fields that say when or where and not what: they stay out of the run's digest."""
    digested: ClassVar[bool] = True
    """Whether the event counts for the digest at all."""

    def computed(self) -> Data:
        """Return what of the data was computed: a type whose values name events of this run leaves those ids out."""
        return self


D = TypeVar("D", bound=Data)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class EventType(msgspec.Struct, frozen=True):
    """One entry: the class, and what leads from older versions to it."""

    cls: type[Data]
    decoder: Any
    upcasters: Mapping[int, Upcaster]

    @property
    def name(self) -> str:
        return self.cls.type

    @property
    def version(self) -> int:
        return self.cls.version


_types: dict[str, EventType] = {}


def event(
    name: str,
    version: int = 1,
    *,
    concludes: bool = False,
    volatile: tuple[str, ...] = (),
    digested: bool = True,
    upcasters: Mapping[int, Upcaster] | None = None,
) -> Callable[[type[D]], type[D]]:
    """Register a class as the ``data`` of events called ``name``.

    ``upcasters[v]`` turns the plain object of version ``v`` into that of ``v + 1``. Raises ``ValueError`` where the
    name is taken or an upcaster is missing.
    """

    def register(cls: type[D]) -> type[D]:
        steps = dict(upcasters or {})
        if sorted(steps) != list(range(1, version)):
            msg = f"{name} version {version} needs upcasters for versions 1 to {version - 1}, has {sorted(steps)}"
            raise ValueError(msg)
        if name in _types and _types[name].cls.__qualname__ != cls.__qualname__:
            msg = f"event type {name} is registered already, as {_types[name].cls.__qualname__}"
            raise ValueError(msg)
        fields = set(cls.__struct_fields__)
        if not set(volatile) <= fields:
            msg = f"{name}: volatile names no field: {sorted(set(volatile) - fields)}"
            raise ValueError(msg)
        cls.type, cls.version, cls.concludes = name, version, concludes
        cls.volatile, cls.digested = frozenset(volatile), digested
        _types[name] = EventType(cls, msgspec.json.Decoder(cls), steps)
        return cls

    return register


def registered() -> Iterator[EventType]:
    """Yield every type, in the order of their names."""
    for name in sorted(_types):
        yield _types[name]


def lookup(name: str) -> EventType:
    """Return the entry of a type; raises :class:`InvalidEvent` for an unknown one."""
    try:
        return _types[name]
    except KeyError:
        raise InvalidEvent(
            f"unknown event type {name!r}; this version knows {', '.join(sorted(_types))}",
            field="type",
            given=name,
        ) from None


def is_registered(name: str) -> bool:
    """Say whether a type is known."""
    return name in _types


def decode_data(name: str, version: int, raw: bytes | msgspec.Raw) -> Data:
    """Decode ``raw`` JSON as the current version of a type, upcasting an older one.

    Fields this version does not know are ignored here and kept in the event's bytes. Raises :class:`InvalidEvent` for
    an unknown type, a version from the future or data that break the schema.
    """
    entry = lookup(name)
    try:
        if version == entry.version:
            data: Data = entry.decoder.decode(raw)
            return data
        if not 1 <= version < entry.version:
            raise InvalidEvent(
                f"{name} version {version} is not known here (1 to {entry.version}); update Swarmbench to read it",
                field="dataschema",
                given=str(version),
                allowed=f"1 to {entry.version}",
            )
        plain = msgspec.json.decode(raw, type=dict[str, Any])
        for step in range(version, entry.version):
            plain = entry.upcasters[step](plain)
        return msgspec.convert(plain, entry.cls)
    except (msgspec.DecodeError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        # The last three come from an upcaster whose input is not what that version said.
        raise InvalidEvent(f"{name}: {error}", field="data", given=str(error)) from error


def digest_view(data: Data) -> dict[str, Any]:
    """Return the plain object of an event's data without its volatile fields, for digests and comparisons."""
    plain: dict[str, Any] = msgspec.to_builtins(data.computed())
    for name in data.volatile:
        plain.pop(name, None)
    return plain
