"""The adapter of OpenVINO, on its CPU plugin: as it comes, or with float32 asked for (``openvino-f32``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from dougong.backends.needed import needed, threads
from dougong.backends.onnx.stack import OnnxStack, Prepared
from dougong.backends.port import Array, Unsupported
from dougong.errors import InputError

_PIP = "openvino onnx ml_dtypes"
_NARROW = {
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_LACKING = (
    "does not support the following ONNX operations",
    "is not supported",
    "Not Implemented",
    "unsupported",
)


class OpenVino(OnnxStack):
    """OpenVINO.

    Parameters
    ----------
    hint
        The inference precision asked for (``f32``, ``bf16``, ``f16``); its own choice where empty.
    """

    name = "openvino"

    def __init__(self, hint: str = "") -> None:
        super().__init__()
        self.openvino = needed("openvino", _PIP)
        if hint and hint not in ("f32", "f16", "bf16"):
            raise InputError(f"openvino-{hint}: OpenVINO computes in f32, f16 or bf16")
        self.core: Any = self.openvino.Core()
        self.properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads()}
        if hint:
            self.properties["INFERENCE_PRECISION_HINT"] = hint
        self.hint = hint or "default"

    def describe(self) -> Mapping[str, str]:
        """Version, device and precision hint."""
        return {
            "framework": "openvino",
            "openvino": str(self.openvino.__version__),
            "plugin": str(self.core.get_property("CPU", "FULL_DEVICE_NAME")),
            "precision_hint": self.hint,
            "device": self.device,
        }

    def prepare(self, model: bytes) -> Prepared:
        """Read and compile a model."""
        try:
            read = self.core.read_model(model)
            compiled = self.core.compile_model(read, "CPU", self.properties)
        except Exception as error:
            if any(text in str(error) for text in _LACKING):
                raise Unsupported(str(error)[-300:]) from error
            raise
        request = compiled.create_infer_request()
        places = {each.get_any_name(): each.get_element_type() for each in read.inputs}

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            for name, array in inputs.items():
                if name in places:
                    request.set_tensor(name, self._tensor(array, places[name]))
            request.infer()
            return {
                each.get_any_name(): _array(request.get_output_tensor(at))
                for at, each in enumerate(compiled.outputs)
            }

        return run

    def _tensor(self, array: Array, element_type: Any) -> Any:
        tensor = self.openvino.Tensor(element_type, list(array.shape))
        if array.size:
            np.atleast_1d(tensor.data).view(np.uint8).reshape(-1)[:] = (
                np.atleast_1d(array).view(np.uint8).reshape(-1)
            )
        return tensor


def _array(tensor: Any) -> Array:
    dtype = _NARROW.get(str(tensor.element_type.get_type_name()))
    data = np.array(tensor.data)
    return data if dtype is None else np.atleast_1d(data).view(dtype).reshape(data.shape)
