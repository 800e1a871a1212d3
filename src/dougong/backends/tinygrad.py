"""The adapter of tinygrad, by its ONNX runner, on its CPU device (needs clang) or another: ``tinygrad-CUDA``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dougong.backends.needed import needed
from dougong.backends.onnx.stack import OnnxStack, Prepared, bits, is_narrow
from dougong.backends.port import Array, Unsupported

_PIP = "tinygrad onnx ml_dtypes"
_NARROW = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "fp8e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "fp8e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_OF = {dtype.name: name for name, dtype in _NARROW.items()}


class Tinygrad(OnnxStack):
    """tinygrad.

    Parameters
    ----------
    device
        As tinygrad calls it.
    """

    name = "tinygrad"

    def __init__(self, device: str = "CPU") -> None:
        super().__init__()
        os.environ["DEV"] = device.upper()
        self.tinygrad = needed("tinygrad", _PIP)
        self.runner = needed("tinygrad.nn.onnx", _PIP).OnnxRunner
        self.device = str(self.tinygrad.Device.DEFAULT).lower()

    def describe(self) -> Mapping[str, str]:
        """Version and device."""
        from importlib import metadata

        return {"framework": "tinygrad", "tinygrad": metadata.version("tinygrad"), "device": self.device}

    def prepare(self, model: bytes) -> Prepared:
        """Read a model; its kernels are compiled as they are met."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            file.write_bytes(model)
            try:
                runner: Any = self.runner(file)
            except (NotImplementedError, ValueError) as error:
                raise Unsupported(f"{error}"[:300]) from error

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            given = {
                name: self._tensor(array) for name, array in inputs.items() if name in runner.graph_inputs
            }
            try:
                found = runner(given)
                return {name: self._array(found[name]) for name in runner.graph_outputs}
            except NotImplementedError as error:
                raise Unsupported(str(error)[:300]) from error

        return run

    def _tensor(self, array: Array) -> Any:
        tensor, dtypes = self.tinygrad.Tensor, self.tinygrad.dtypes
        if is_narrow(array.dtype):
            return tensor(bits(array)).bitcast(getattr(dtypes, _OF[array.dtype.name]))
        return tensor(array)

    def _array(self, tensor: Any) -> Array:
        dtypes = self.tinygrad.dtypes
        narrow = next((name for name in _NARROW if tensor.dtype == getattr(dtypes, name)), None)
        if narrow is None:
            return np.array(tensor.numpy())
        wide = dtypes.uint8 if _NARROW[narrow].itemsize == 1 else dtypes.uint16
        return np.array(tensor.contiguous().bitcast(wide).numpy()).view(_NARROW[narrow])
