"""The adapter of Apache TVM, by its ONNX front end, compiled by LLVM for this CPU."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from dougong.backends.needed import needed
from dougong.backends.onnx.stack import OnnxStack, Prepared
from dougong.backends.port import Array, Unsupported

_PIP = "apache-tvm onnx ml_dtypes"
_LACKING = ("not supported", "not implemented", "OpNotImplemented", "unsupported", "only support")


class Tvm(OnnxStack):
    """Apache TVM.

    Parameters
    ----------
    target
        As TVM calls it.
    """

    name = "tvm"
    opset = 22  # its front end reads Attention of opset 23 as another operator of that name

    def __init__(self, target: str = "llvm") -> None:
        super().__init__()
        self.tvm = needed("tvm", _PIP)
        self.relax = needed("tvm.relax", _PIP)
        self.front = needed("tvm.relax.frontend.onnx", _PIP)
        self.onnx = needed("onnx", _PIP)
        self.target = target

    def describe(self) -> Mapping[str, str]:
        """Version and target."""
        return {
            "framework": "tvm",
            "tvm": str(self.tvm.__version__),
            "target": self.target,
            "device": self.device,
        }

    def prepare(self, model: bytes) -> Prepared:
        """Import and compile a model."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read = self.onnx.load_model_from_string(model)
                # Names before the import, which may rewrite what it is given.
                names, outputs = (
                    [each.name for each in ends] for ends in (read.graph.input, read.graph.output)
                )
                module: Any = self.front.from_onnx(read, keep_params_in_input=False)
            except Exception as error:
                if isinstance(error, NotImplementedError) or any(text in str(error) for text in _LACKING):
                    raise Unsupported(str(error).strip()[-300:]) from error
                raise
            built = self.tvm.compile(module, target=self.target)
        machine: Any = self.relax.VirtualMachine(built, self.tvm.cpu())

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            found: Any = machine["main"](*(self.tvm.runtime.tensor(inputs[name]) for name in names))
            several = [found] if hasattr(found, "numpy") else list(found)
            return {name: np.array(each.numpy()) for name, each in zip(outputs, several, strict=True)}

        return run
