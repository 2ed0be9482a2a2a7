"""Arrays in events: dtype, shape and little-endian bytes, base64 in JSON. No pickle, ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from swarm_common.errors import InvalidEvent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What may travel: plain numbers of fixed size, little endian.
DTYPES = frozenset({"<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "|u1", "|b1"})


class Array(msgspec.Struct, frozen=True):
    """A dense array in C order. ``data`` holds ``prod(shape)`` items of ``dtype``."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, values: Any) -> Array:
        """Return the array of anything numpy makes a numeric array of; raises ``TypeError`` for other types."""
        import numpy as np  # noqa: PLC0415 - an optional extra: not every service carries numpy

        array = np.asarray(values, order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in DTYPES:
            msg = f"an array of {array.dtype} cannot travel; allowed are {', '.join(sorted(DTYPES))}"
            raise TypeError(msg)
        return cls(array.dtype.str, array.shape, array.tobytes())

    def numpy(self) -> NDArray[Any]:
        """Return a read-only numpy view; raises :class:`InvalidEvent` where the bytes do not fit the shape."""
        import numpy as np  # noqa: PLC0415

        if self.dtype not in DTYPES:
            raise InvalidEvent(
                f"array dtype {self.dtype!r}; allowed are {', '.join(sorted(DTYPES))}",
                field="dtype",
                given=self.dtype,
            )
        try:
            if min(self.shape, default=0) < 0:
                raise ValueError("no length is negative")  # numpy would take one as `work it out`
            return np.frombuffer(self.data, dtype=np.dtype(self.dtype)).reshape(self.shape)
        except ValueError as error:
            raise InvalidEvent(f"array of shape {self.shape}: {error}", field="shape") from error


def float_array(values: Any) -> NDArray[np.float64]:
    """Return ``values`` (an :class:`Array` or anything numpy takes) as float64."""
    import numpy as np  # noqa: PLC0415

    return np.asarray(values.numpy() if isinstance(values, Array) else values, dtype=np.float64)
