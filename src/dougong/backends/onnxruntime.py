"""The adapter of ONNX Runtime, on its CPU execution provider."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from dougong.backends.needed import needed, threads
from dougong.backends.onnx.stack import OnnxStack, Prepared, bits, is_narrow
from dougong.backends.port import Array, Unsupported

_PIP = "onnxruntime onnx ml_dtypes"
_PROVIDER = "CPUExecutionProvider"
_NARROW = {
    "tensor(bfloat16)": np.dtype(ml_dtypes.bfloat16),
    "tensor(float8e4m3fn)": np.dtype(ml_dtypes.float8_e4m3fn),
    "tensor(float8e5m2)": np.dtype(ml_dtypes.float8_e5m2),
}
# BFLOAT16, FLOAT8E4M3FN and FLOAT8E5M2 of onnx.proto.
_NUMBERS = {"bfloat16": 16, "float8_e4m3fn": 17, "float8_e5m2": 19}


class OnnxRuntime(OnnxStack):
    """ONNX Runtime."""

    name = "onnxruntime"

    def __init__(self) -> None:
        super().__init__()
        self.runtime = needed("onnxruntime", _PIP)

    def describe(self) -> Mapping[str, str]:
        """Version and provider."""
        return {
            "framework": "onnxruntime",
            "onnxruntime": str(self.runtime.__version__),
            "provider": _PROVIDER,
            "device": self.device,
        }

    def prepare(self, model: bytes) -> Prepared:
        """Make a session."""
        options = self.runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads()
        try:
            session = self.runtime.InferenceSession(model, options, providers=[_PROVIDER])
        except Exception as error:
            if _lacks(str(error)):
                raise Unsupported(str(error)[:300]) from error
            raise
        names = [each.name for each in session.get_outputs()]

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            given = {name: self._value(array) for name, array in inputs.items()}
            try:
                found = session.run_with_ort_values(names, given)
            except Exception as error:
                if "data type is not supported" in str(error):  # told where it runs, not where it is made
                    raise Unsupported(str(error)[:300]) from error
                raise
            return {name: _array(value) for name, value in zip(names, found, strict=True)}

        return run

    def _value(self, array: Array) -> Any:
        maker = self.runtime.OrtValue
        if is_narrow(array.dtype):
            return maker.ortvalue_from_numpy_with_onnx_type(bits(array), _NUMBERS[array.dtype.name])
        return maker.ortvalue_from_numpy(array)


def _lacks(words: str) -> bool:
    return any(
        text in words
        for text in ("NOT_IMPLEMENTED", "Could not find an implementation", "is invalid", "No Op registered")
    )


def _array(value: Any) -> Array:
    dtype = _NARROW.get(value.data_type())
    if dtype is None:
        return np.array(value.numpy())
    # Its Python has no array of these dtypes: the bytes are read where they lie.
    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer(ctypes.string_at(value.data_ptr(), size), dtype).reshape(shape)
