"""Matrix products as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends.onnx.graph import Build, Graph
from dougong.backends.port import Unsupported


def _transposed(graph: Graph, value: str) -> str:
    return graph.node("Transpose", value, perm=[1, 0])


def linear(graph: Graph) -> Mapping[str, str]:
    """``MatMul`` of ``x`` and the transposed weight, and ``Add``."""
    y = graph.node("MatMul", "x", _transposed(graph, "weight"))
    return {"y": graph.node("Add", y, "bias") if graph.has("bias") else y}


def matmul(graph: Graph) -> Mapping[str, str]:
    """``MatMul``."""
    return {"y": graph.node("MatMul", "a", "b")}


def _int8_product(graph: Graph) -> str:
    points = (graph.get("x_zero_point") or 0, graph.get("weight_zero_point") or 0)
    zero = [
        graph.constant(point, graph.call.inputs[name].dtype.name)
        for name, point in zip(("x", "weight"), points, strict=True)
    ]
    return graph.node("MatMulInteger", "x", _transposed(graph, "weight"), *zero)


def int8_matmul(graph: Graph) -> Mapping[str, str]:
    """``MatMulInteger``."""
    return {"y": _int8_product(graph)}


def linear_w8a8(graph: Graph) -> Mapping[str, str]:
    """``MatMulInteger``, then both scales in float32."""
    if graph.has("bias"):
        raise Unsupported("linear_w8a8 with a bias has no ONNX graph")
    sums = graph.cast(_int8_product(graph), "float32")
    rows = sums
    if graph.call.inputs["x_scale"].ndim:
        rows = graph.node("Mul", sums, graph.node("Unsqueeze", "x_scale", graph.constant([-1])))
    else:
        rows = graph.node("Mul", sums, "x_scale")
    return {"y": graph.cast(graph.node("Mul", rows, "weight_scale"), graph.out["y"])}


def linear_w8a16(graph: Graph) -> Mapping[str, str]:
    """``DequantizeLinear`` per row of the weight, then ``MatMul``."""
    zero = graph.constant([0] * graph.shape("weight")[0], "int8")
    weight = graph.node("DequantizeLinear", "weight", "weight_scale", zero, axis=0)
    return {"y": graph.node("MatMul", "x", _transposed(graph, weight))}


GRAPHS: Mapping[str, Build] = {
    "linear": linear,
    "matmul": matmul,
    "int8_matmul": int8_matmul,
    "linear_w8a8": linear_w8a8,
    "linear_w8a16": linear_w8a16,
}
