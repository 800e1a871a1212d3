"""The adapter of IREE, by its ONNX importer, compiled for this CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dougong.backends.needed import needed
from dougong.backends.onnx.stack import OnnxStack, Prepared, is_narrow
from dougong.backends.port import Array, Unsupported

_PIP = "iree-base-compiler iree-base-runtime onnx ml_dtypes"
_LACKING = ("failed to legalize operation", "unsupported", "not supported", "illegal")
_FLAGS = ("--iree-llvmcpu-target-cpu=host",)


class Iree(OnnxStack):
    """IREE on its ``local-task`` driver."""

    name = "iree"
    opset = 21  # its importer has no RMSNormalization and no Attention of opset 23

    def __init__(self) -> None:
        super().__init__()
        self.compiler = needed("iree.compiler", _PIP)
        self.importer = needed("iree.compiler.extras.onnx_importer", _PIP)
        self.runtime = needed("iree.runtime", _PIP)
        self.onnx = needed("onnx", _PIP)

    def describe(self) -> Mapping[str, str]:
        """Versions, driver and flags."""
        from importlib import metadata

        return {
            "framework": "iree",
            "iree-base-compiler": metadata.version("iree-base-compiler"),
            "iree-base-runtime": metadata.version("iree-base-runtime"),
            "driver": "local-task",
            "flags": " ".join(_FLAGS),
            "device": self.device,
        }

    def prepare(self, model: bytes) -> Prepared:
        """Import, compile and load a model."""
        read: Any = self.onnx.load_model_from_string(model)
        read = self.onnx.shape_inference.infer_shapes(read, data_prop=True)
        try:
            compiled: bytes = self.compiler.compile_str(
                self._imported(read), target_backends=["llvm-cpu"], input_type="onnx", extra_args=list(_FLAGS)
            )
        except Exception as error:
            if any(text in str(error) for text in _LACKING):
                raise Unsupported(_first_fault(str(error))) from error
            raise
        loaded: Any = self.runtime.load_vm_flatbuffer(compiled, driver="local-task")
        function: Any = loaded[read.graph.name]
        names = [each.name for each in read.graph.input]
        outputs = {each.name: _dtype(each.type.tensor_type.elem_type) for each in read.graph.output}

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            found: Any = function(*(inputs[name] for name in names))
            several: list[Any] = [found] if hasattr(found, "to_host") else list(found)
            return {
                name: np.array(each.to_host()).view(dtype) if is_narrow(dtype) else np.array(each.to_host())
                for (name, dtype), each in zip(outputs.items(), several, strict=True)
            }

        return run

    def _imported(self, model: Any) -> str:
        context: Any = self.importer.Context()
        info: Any = self.importer.ModelInfo(model)
        module: Any = info.create_module(context=context).operation
        self.importer.NodeImporter.define_function(info.main_graph, module).import_all()
        return str(module)


def _dtype(number: int) -> np.dtype[np.generic]:
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


def _first_fault(words: str) -> str:
    line = next((line for line in words.splitlines() if "error:" in line), words)
    return line.partition("error:")[2].strip()[:300] or words[:300]
