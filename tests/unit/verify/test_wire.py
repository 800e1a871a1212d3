"""Arrays arrive as they left: strides, dtypes and all."""

from __future__ import annotations

import io

import ml_dtypes
import numpy as np
import pytest

from dougong.backends import Array
from dougong.backends.wire import BadFrame, receive, send

BASE = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def through(array: Array) -> Array:
    stream = io.BytesIO()
    send(lambda memory: stream.write(memory) and None, {"do": 1}, {"x": array})
    stream.seek(0)
    header, arrays = receive(lambda into: stream.readinto(into) and None)
    assert header == {"do": 1}
    assert arrays["x"].changed() is None
    return arrays["x"].array


@pytest.mark.parametrize(
    "array",
    [
        BASE,
        BASE.transpose(2, 0, 1),
        BASE[::-1, 1:3, ::2],
        np.broadcast_to(BASE[:1], (6, 4, 5)),
        np.float32(3.5).reshape(()),
        np.empty((0, 4), np.int64),
        np.array([True, False]),
        BASE.astype(ml_dtypes.bfloat16)[:, ::-2],
        BASE.astype(ml_dtypes.float8_e4m3fn),
        np.arange(4, dtype=ml_dtypes.int4),
    ],
    ids=lambda array: f"{array.dtype.name}{array.shape}",
)
def test_arrays_keep_dtype_values_and_strides(array: Array) -> None:
    back = through(array)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    if array.size:
        assert back.strides == array.strides


@pytest.mark.parametrize("text", [b"\x05\x00\x00\x00{", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00{}"])
def test_what_is_no_frame_is_refused(text: bytes) -> None:
    stream = io.BytesIO(text + b" " * 64)
    with pytest.raises(BadFrame):
        receive(lambda into: stream.readinto(into) and None)


def test_a_frame_cannot_reach_beyond_its_bytes() -> None:
    body = b'{"arrays":[{"name":"x","dtype":"float32","shape":[8],"strides":[4],"offset":0,"beside":0,"bytes":4}]}'
    stream = io.BytesIO(len(body).to_bytes(4, "little") + body + b"    ")
    with pytest.raises(BadFrame):
        receive(lambda into: stream.readinto(into) and None)
