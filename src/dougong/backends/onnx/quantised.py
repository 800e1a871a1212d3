"""Quantisation at run time, and products of narrow weights, as ONNX primitives."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends.onnx.graph import Build, Graph
from dougong.backends.port import Unsupported

_LARGEST = {"int8": 127.0, "float8_e4m3fn": 448.0}


def _rounded(graph: Graph, ratio: str, to: str) -> str:
    if to == "int8":
        ends = (graph.constant(end, "float32") for end in (-128.0, 127.0))
        return graph.cast(graph.node("Clip", graph.node("Round", ratio), *ends), "int8")
    ends = (graph.constant(end, "float32") for end in (-_LARGEST[to], _LARGEST[to]))
    return graph.cast(graph.node("Clip", ratio, *ends), to)


def _divisor(graph: Graph, scale: str) -> str:
    zero = graph.node("Equal", scale, graph.constant(0.0, "float32"))
    return graph.node("Where", zero, graph.constant(1.0, "float32"), scale)


def dynamic_quant(graph: Graph) -> Mapping[str, str]:
    """``ReduceMax`` of each group, then the ratio rounded."""
    (rows, columns), to = graph.shape("x"), str(graph.get("to"))
    size = int(graph.get("group") or 0) or columns
    count = -(-columns // size)
    x = graph.cast("x", "float32")
    if columns % size:
        x = graph.node("Pad", x, graph.constant([0, 0, 0, -columns % size]), graph.constant(0.0, "float32"))
    x = graph.node("Reshape", x, graph.constant([rows, count, size]), allowzero=1)
    top = graph.node("ReduceMax", graph.node("Abs", x), graph.constant([-1]), keepdims=1)
    scale = graph.node("Div", top, graph.constant(_LARGEST[to], "float32"))
    ratio = graph.node("Div", x, _divisor(graph, scale))
    ratio = graph.node("Reshape", ratio, graph.constant([rows, count * size]), allowzero=1)
    if columns % size:
        ratio = graph.node("Slice", ratio, *(graph.constant([at]) for at in (0, columns, 1)))
    return {"q": _rounded(graph, ratio, to), "scale": graph.node("Squeeze", scale, graph.constant([-1]))}


def dynamic_quant_asymmetric(graph: Graph) -> Mapping[str, str]:
    """The extent of each row over 255 steps, zero among them."""
    x, last = graph.cast("x", "float32"), graph.constant([-1])
    zero = graph.constant(0.0, "float32")
    low = graph.node("Min", graph.node("ReduceMin", x, last, keepdims=1), zero)
    high = graph.node("Max", graph.node("ReduceMax", x, last, keepdims=1), zero)
    scale = graph.node("Div", graph.node("Sub", high, low), graph.constant(255.0, "float32"))
    divisor = _divisor(graph, scale)
    point = graph.node("Round", graph.node("Div", graph.node("Neg", low), divisor))
    q = graph.node("Add", graph.node("Round", graph.node("Div", x, divisor)), point)
    q = graph.cast(graph.node("Clip", q, zero, graph.constant(255.0, "float32")), "uint8")
    point = graph.cast(graph.node("Squeeze", point, last), "int32")
    return {"q": q, "scale": graph.node("Squeeze", scale, last), "zero_point": point}


def static_quant(graph: Graph) -> Mapping[str, str]:
    """One scale for all; what is beyond the ends saturates."""
    ratio = graph.node("Div", graph.cast("x", "float32"), "scale")
    return {"q": _rounded(graph, ratio, str(graph.get("to")))}


def _spread(graph: Graph, scale: str, rows: int, groups: int, size: int, extent: int) -> str:
    """Repeat each of ``[rows, groups]`` over ``size`` columns, the last of them cut to ``extent``."""
    wide = graph.node("Unsqueeze", scale, graph.constant([-1]))
    wide = graph.node("Expand", wide, graph.constant([rows, groups, size]))
    wide = graph.node("Reshape", wide, graph.constant([rows, groups * size]))
    if groups * size == extent:
        return wide
    return graph.node("Slice", wide, *(graph.constant([at]) for at in (0, extent, 1)))


def _product(graph: Graph, x: str, weight: str) -> str:
    return graph.node("MatMul", x, graph.node("Transpose", weight, perm=[1, 0]))


def linear_w4a16(graph: Graph) -> Mapping[str, str]:
    """Nibbles by ``BitwiseAnd`` and ``BitShift``, widened to the dtype of the activations."""
    (rows, half), extent, size = graph.shape("weight"), graph.shape("x")[1], int(graph.get("group"))
    groups = graph.shape("weight_scale")[1]
    low = graph.node("BitwiseAnd", "weight", graph.constant(15, "uint8"))
    high = graph.node("BitShift", "weight", graph.constant(4, "uint8"), direction="RIGHT")
    pair = [graph.node("Unsqueeze", each, graph.constant([-1])) for each in (low, high)]
    code = graph.node("Reshape", graph.node("Concat", *pair, axis=-1), graph.constant([rows, 2 * half]))
    code, zero = graph.cast(code, graph.dtype), graph.constant(8, graph.dtype)
    if graph.has("weight_zero_point"):
        point = graph.cast("weight_zero_point", graph.dtype)
        zero = _spread(graph, point, rows, groups, size, extent)
    scale = _spread(graph, "weight_scale", rows, groups, size, extent)
    return {"y": _product(graph, "x", graph.node("Mul", graph.node("Sub", code, zero), scale))}


def linear_fp8(graph: Graph) -> Mapping[str, str]:
    """Both widened to float32, the sum scaled."""
    x, weight = graph.cast("x", "float32"), graph.cast("weight", "float32")
    if graph.call.inputs["x_scale"].ndim != 1:
        raise Unsupported("linear_fp8 of one scale has no ONNX graph")
    rows = graph.node("Unsqueeze", "x_scale", graph.constant([-1]))
    y = graph.node("Mul", graph.node("Mul", _product(graph, x, weight), rows), "weight_scale")
    return {"y": graph.cast(y, graph.out["y"])}


def linear_fp8_block(graph: Graph) -> Mapping[str, str]:
    """Both widened to float32 and scaled, block by block."""
    (n, k), size = graph.shape("weight"), int(graph.get("block"))
    down, across = graph.shape("weight_scale")
    rows = _spread(graph, "weight_scale", down, across, size, k)
    turned = _spread(graph, graph.node("Transpose", rows, perm=[1, 0]), k, down, size, n)
    weight = graph.node("Mul", graph.cast("weight", "float32"), graph.node("Transpose", turned, perm=[1, 0]))
    tokens, groups = graph.shape("x_scale")
    scale = _spread(graph, "x_scale", tokens, groups, size, k)
    x = graph.node("Mul", graph.cast("x", "float32"), scale)
    return {"y": graph.cast(_product(graph, x, weight), graph.out["y"])}


GRAPHS: Mapping[str, Build] = {
    "dynamic_quant": dynamic_quant,
    "dynamic_quant_asymmetric": dynamic_quant_asymmetric,
    "static_quant": static_quant,
    "linear_w4a16": linear_w4a16,
    "linear_fp8": linear_fp8,
    "linear_fp8_block": linear_fp8_block,
}
