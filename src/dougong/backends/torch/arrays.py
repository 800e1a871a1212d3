"""Arrays to tensors and back, bit for bit, strides kept."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch

from dougong.backends.port import Array

_BITS = {1: np.uint8, 2: np.uint16}
_NARROW = {
    np.dtype(ml_dtypes.bfloat16): torch.bfloat16,
    np.dtype(ml_dtypes.float8_e4m3fn): torch.float8_e4m3fn,
    np.dtype(ml_dtypes.float8_e5m2): torch.float8_e5m2,
}
_BACK = {narrow: dtype for dtype, narrow in _NARROW.items()}


def to_tensor(array: Array, device: str) -> torch.Tensor:
    """Copy an array to a device, strides and expanded axes kept; dtypes that numpy lacks travel as their bits."""
    narrow = _NARROW.get(array.dtype)
    bits = array if narrow is None else array.view(_BITS[array.dtype.itemsize])
    if any(stride < 0 for stride in bits.strides):
        bits = bits.copy()
    expanded = tuple(
        slice(0, 1) if stride == 0 and extent > 1 else slice(None)
        for stride, extent in zip(bits.strides, bits.shape, strict=True)
    )
    once = np.asarray(bits[expanded])
    steps = tuple(stride // bits.itemsize for stride in once.strides)
    host = torch.as_tensor(once if once.flags.writeable else once.copy())
    tensor = torch.empty_strided(once.shape, steps, dtype=host.dtype, device=device).copy_(host)
    tensor = tensor if narrow is None else tensor.view(narrow)
    return tensor.expand(bits.shape)


def to_array(tensor: torch.Tensor) -> Array:
    """Bring a tensor back to the host."""
    host = tensor.detach().cpu().contiguous()
    dtype = _BACK.get(host.dtype)
    if dtype is None:
        return host.numpy()
    return host.view(torch.uint8 if dtype.itemsize == 1 else torch.uint16).numpy().view(dtype)
