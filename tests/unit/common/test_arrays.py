"""Arrays: numbers travel as they are, and nothing else travels."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from swarm_common.errors import InvalidEvent
from swarm_common.events.arrays import DTYPES, Array, float_array

dtypes = st.sampled_from(sorted(DTYPES)).map(np.dtype)
shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(arrays.arrays(dtypes, shapes))
def test_arrays_go_round_bit_for_bit(values: np.ndarray) -> None:
    read = msgspec.json.decode(msgspec.json.encode(Array.of(values)), type=Array).numpy()
    assert (read.dtype, read.shape) == (values.dtype, values.shape)
    assert read.tobytes() == values.tobytes()


@given(arrays.arrays(dtypes, shapes))
def test_order_and_byte_order_of_memory_do_not_matter(values: np.ndarray) -> None:
    turned = np.asarray(values, order="F").astype(values.dtype.newbyteorder(">"))
    assert Array.of(turned) == Array.of(values)


def test_what_is_read_cannot_be_changed() -> None:
    read = Array.of([1.0, 2.0]).numpy()
    with pytest.raises(ValueError, match="read-only"):
        read[0] = 3.0


@pytest.mark.parametrize(
    "values", [["a"], [object()], [1j], np.array([1], dtype="<u8"), np.array(["2026"], dtype="M8")]
)
def test_other_types_do_not_travel(values: object) -> None:
    with pytest.raises(TypeError, match="cannot travel; allowed are"):
        Array.of(values)


@pytest.mark.parametrize(
    ("array", "field"),
    [
        (Array("<u8", (1,), bytes(8)), "dtype"),
        (Array("|O", (1,), bytes(8)), "dtype"),
        (Array("nonsense", (1,), bytes(8)), "dtype"),
        (Array("<f8", (2,), bytes(8)), "shape"),
        (Array("<f8", (-2, -1), bytes(16)), "shape"),
        (Array("<f8", (-1,), bytes(16)), "shape"),
        (Array("<f8", (1,), bytes(7)), "shape"),
    ],
)
def test_bytes_that_are_no_such_array_are_refused(array: Array, field: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        array.numpy()
    assert refused.value.field == field


def test_floats_of_anything() -> None:
    assert float_array(Array.of([1, 2])).dtype == np.float64
    assert float_array([True, 2]).tolist() == [1.0, 2.0]
