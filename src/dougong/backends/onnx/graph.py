"""Writes an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

from dougong.backends.dtypes import dtype_of, output_dtypes
from dougong.backends.port import Array, Call
from dougong.ops.definitions import DEFINITIONS

OPSET = 23
IR_VERSION = 11  # the first that carries opset 23


class Graph:
    """The nodes so far; a value is known by its name.

    Attributes
    ----------
    dtype
        The dtype under test.
    out
        The dtype of each output.
    opset
        Whose words may be used; what a younger one has a word for is said by primitives.
    """

    def __init__(self, call: Call, dtype: str, opset: int = OPSET) -> None:
        self.call, self.dtype, self.opset = call, dtype, opset
        self.out = {
            name: names[0] for name, names in output_dtypes(DEFINITIONS[call.op], call, dtype).items()
        }
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def get(self, name: str) -> Any:
        """Return an attribute of the call, or its default."""
        return self.call.get(name, DEFINITIONS[self.call.op].attributes.get(name))

    def has(self, name: str) -> bool:
        """Whether an optional input is there."""
        return name in self.call.inputs

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an input."""
        return self.call.inputs[name].shape

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.nodes_of(op, 1, *inputs, **attributes)[0]

    def nodes_of(self, op: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with ``count`` outputs and return their names."""
        names = [f"v{len(self.nodes)}_{at}" for at in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names

    def constant(self, value: object, dtype: str = "int64") -> str:
        """Add a constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype_of(dtype)), name))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Add a cast."""
        return self.node("Cast", value, to=element_type(dtype))


Build = Callable[[Graph], Mapping[str, str]]
"""Adds an operator's nodes; returns the value of each of its outputs."""


def element_type(dtype: str) -> int:
    """Return the ONNX number of a dtype."""
    return int(helper.np_dtype_to_tensor_dtype(dtype_of(dtype)))


def model_of(call: Call, dtype: str, build: Build, opset: int = OPSET) -> bytes:
    """Return a serialised model of one operator."""
    graph = Graph(call, dtype, opset)
    values = build(graph)
    outputs: list[Any] = []
    for name, value in values.items():
        graph.nodes.append(helper.make_node("Identity", [value], [f"out_{name}"]))
        outputs.append(helper.make_tensor_value_info(f"out_{name}", element_type(graph.out[name]), None))
    inputs = [
        helper.make_tensor_value_info(name, element_type(array.dtype.name), array.shape)
        for name, array in call.inputs.items()
    ]
    made = helper.make_model(
        helper.make_graph(graph.nodes, call.op, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="dougong",
    )
    # Shapes of outputs follow from those of the inputs; a stack that wants them finds them.
    return shape_inference.infer_shapes(made).SerializeToString()


def tensor_bytes(name: str, array: Array) -> bytes:
    """Return an array as a serialised TensorProto."""
    made: TensorProto = numpy_helper.from_array(np.ascontiguousarray(array), name)
    return made.SerializeToString()
