"""Arrays as JSON: {"dtype", "shape", "data" (base64), "crc32" (of the bytes)}. numpy is imported when one is there."""

from __future__ import annotations

import base64
import math
import zlib
from typing import TYPE_CHECKING, Any

from fields import Refused, field

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 16 * 2**20
DTYPES = ("uint8", "int8", "int32", "int64", "float32")


def decode(value: Any) -> np.ndarray:
    """The array that a JSON value describes."""
    import numpy as np

    if not isinstance(value, dict) or value.get("dtype") not in DTYPES:
        raise Refused("BadRequest", f"an array needs dtype ({', '.join(DTYPES)}), shape, data and crc32")
    shape = value.get("shape")
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 < n <= MAX_BYTES for n in shape):
        raise Refused("BadRequest", "shape must be at most 8 positive integers")
    dtype = np.dtype(value["dtype"])
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise Refused("TooLarge", f"an array of {size} bytes; the limit is {MAX_BYTES}")
    data = field(value, "data", str)
    if len(data) != 4 * ((size + 2) // 3):
        raise Refused("BadRequest", f"shape and dtype need {size} bytes, data has another length")
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        raise Refused("BadRequest", "data is not base64") from None
    if len(raw) != size or zlib.crc32(raw) != value.get("crc32"):
        raise Refused("Damaged", "the array's bytes do not have its length and crc32")
    return np.frombuffer(raw, dtype).reshape(shape)


def encode(array: np.ndarray) -> dict[str, Any]:
    import numpy as np

    raw = np.ascontiguousarray(array).tobytes()
    data = base64.b64encode(raw).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data, "crc32": zlib.crc32(raw)}


def crc32s(arrays: list[np.ndarray]) -> list[int]:
    """Of each array's bytes."""
    import numpy as np

    return [zlib.crc32(np.ascontiguousarray(a).tobytes()) for a in arrays]
