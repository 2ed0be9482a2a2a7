"""Events of every registered type, for Hypothesis: strategies made from the structs themselves."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from swarm_common.events import Array, Data, EventType, decode_data

#: Text as JSON and UTF-8 carry it: no lone surrogates.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
tokens = st.text("abcXYZ019_-", min_size=1, max_size=12)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
_arrays = st.integers(0, 4).flatmap(
    lambda rows: st.binary(min_size=8 * rows, max_size=8 * rows).map(
        lambda data: {"dtype": "<f8", "shape": [rows], "data": base64.b64encode(data).decode()}
    )
)


def data_of(one: EventType) -> st.SearchStrategy[Data]:
    """Return a strategy of the data of a type; fields called ``task`` are subject tokens."""
    return plain_of(one).map(lambda plain: decode_data(one.name, one.version, msgspec.json.encode(plain)))


def plain_of(one: EventType) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of the same as plain objects."""
    return _plain(one.cls)


@cache
def _plain(cls: type[Data]) -> st.SearchStrategy[dict[str, Any]]:
    return _of(msgspec.inspect.type_info(cls))


def _of(kind: msgspec.inspect.Type, name: str = "") -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911, PLR0912 - a line a kind
    match kind:
        case msgspec.inspect.StructType(cls=cls) if cls is Array:
            return _arrays
        case msgspec.inspect.StructType(fields=fields, tag_field=tag_field, tag=tag):
            parts = {field.encode_name: _of(field.type, field.name) for field in fields}
            needed = {field.encode_name for field in fields if field.required}
            if tag_field is not None:
                parts[tag_field] = st.just(tag)
                needed.add(tag_field)
            return st.fixed_dictionaries(
                {key: part for key, part in parts.items() if key in needed},
                optional={key: part for key, part in parts.items() if key not in needed},
            )
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([_of(one, name) for one in types])
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=3)
        case msgspec.inspect.TupleType(item_types=items):
            return st.tuples(*(_of(item) for item in items)).map(list)
        case msgspec.inspect.DictType(value_type=value):
            return st.dictionaries(texts, _of(value), max_size=3)
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType():
            return st.integers(-(2**53), 2**53)
        case msgspec.inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case msgspec.inspect.StrType():
            return tokens if name in {"task", "service"} else texts
        case msgspec.inspect.BytesType():
            return st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode())
        case msgspec.inspect.AnyType():
            return _json
        case _:
            raise TypeError(f"no strategy for {kind}")
