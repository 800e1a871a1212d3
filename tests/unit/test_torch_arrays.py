"""Arrays go to tensors with their strides, and come back bit for bit."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("torch")

from dougong.backends.torch.arrays import to_array, to_tensor

BASE = np.arange(48, dtype=np.float32).reshape(6, 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[:, ::2],
        lambda a: a[1:5, 2:7],
        lambda a: a[::-1],
        lambda a: a[:0],
        lambda a: a[3, 4],
        lambda a: np.broadcast_to(a[:1], (5, 8)),
        lambda a: np.broadcast_to(a[:, None, :1], (6, 3, 8)),
    ],
)
def test_a_tensor_holds_the_bits_of_its_array(dtype: type, view: object) -> None:
    array = np.asarray(view(BASE.astype(dtype)))  # type: ignore[operator]
    back = to_array(to_tensor(array, "cpu"))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_strides_are_kept() -> None:
    assert to_tensor(BASE.T, "cpu").stride() == (1, 8)
    assert to_tensor(BASE[:, ::2], "cpu").stride() == (8, 2)
    assert to_tensor(np.broadcast_to(BASE[:1], (5, 8)), "cpu").stride() == (0, 1)


def test_a_tensor_is_a_copy() -> None:
    array = BASE.copy()
    to_tensor(array, "cpu").zero_()
    assert (array == BASE).all()
