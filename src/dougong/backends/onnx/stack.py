"""What the stacks that are fed ONNX share: a model per call, prepared once and run as often as it comes again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from dougong.backends.dtypes import dtype_under_test
from dougong.backends.onnx import to_onnx
from dougong.backends.onnx.graph import OPSET
from dougong.backends.port import Answer, Array, Call

_KEPT = 4

Prepared = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""A model made ready: from its inputs by name to its outputs by name, both contiguous."""


class OnnxStack(ABC):
    """A stack that reads ONNX and runs on this machine's CPU."""

    name = "onnx"
    device = "cpu"
    opset = OPSET

    def __init__(self) -> None:
        self._prepared: OrderedDict[bytes, Prepared] = OrderedDict()

    @abstractmethod
    def describe(self) -> Mapping[str, str]:
        """Versions and flags."""

    @abstractmethod
    def prepare(self, model: bytes) -> Prepared:
        """Make a model ready to run.

        Raises
        ------
        Unsupported
            Where the stack has no implementation of one of its nodes.
        """

    def run(self, call: Call) -> Answer:
        """Compute one operator."""
        model = to_onnx(call, dtype_under_test(call), self.opset)
        prepared = self._prepared.pop(model, None) or self.prepare(model)
        self._prepared[model] = prepared
        while len(self._prepared) > _KEPT:
            self._prepared.popitem(last=False)
        found = prepared({name: np.asarray(array, order="C") for name, array in call.inputs.items()})
        return Answer(
            outputs={name.removeprefix("out_"): array for name, array in found.items()}, device=self.device
        )


def bits(array: Array) -> Array:
    """Return an array as unsigned integers of its width: for runtimes that lack its dtype in Python."""
    return array.view(np.uint8 if array.dtype.itemsize == 1 else np.uint16)


def is_narrow(dtype: np.dtype[np.generic]) -> bool:
    """Whether a dtype is one of ml_dtypes, that numpy itself lacks."""
    return dtype.type.__module__ == "ml_dtypes"
