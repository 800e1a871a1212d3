"""Casts, activations and elementary functions as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from dougong.backends.onnx.graph import Build, Graph, element_type
from dougong.backends.port import Unsupported

_UNARY = {
    "relu": "Relu", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "erf": "Erf",
    "sqrt": "Sqrt", "reciprocal": "Reciprocal", "softplus": "Softplus", "sigmoid": "Sigmoid",
}  # fmt: skip
_BINARY = {
    "add": "Add",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
}


def _unary(op: str, graph: Graph) -> Mapping[str, str]:
    return {"y": graph.node(op, "x")}


def _binary(op: str, graph: Graph) -> Mapping[str, str]:
    return {"y": graph.node(op, "x", "other")}


def cast(graph: Graph) -> Mapping[str, str]:
    """``Cast``; to float8_e4m3fn saturating, as is its default, to float8_e5m2 as IEEE 754 has it."""
    if graph.out["y"] == "float8_e5m2":
        return {"y": graph.node("Cast", "x", to=element_type("float8_e5m2"), saturate=0)}
    return {"y": graph.cast("x", graph.out["y"])}


def cast_round_trip(graph: Graph) -> Mapping[str, str]:
    """``Cast`` there and back."""
    return {"y": graph.cast(graph.cast("x", str(graph.get("through"))), graph.out["y"])}


def _silu(graph: Graph, x: str) -> str:
    # Two words of ONNX for one operator: what lies between them is not rounded to the dtype.
    wide = graph.cast(x, "float32") if graph.dtype != "float32" else x
    y = graph.node("Mul", wide, graph.node("Sigmoid", wide))
    return graph.cast(y, graph.dtype) if graph.dtype != "float32" else y


def silu(graph: Graph) -> Mapping[str, str]:
    """``x Sigmoid(x)``, in float32."""
    return {"y": _silu(graph, "x")}


def _gelu(approximate: str, graph: Graph) -> Mapping[str, str]:
    return {"y": graph.node("Gelu", "x", approximate=approximate)}


def relu_squared(graph: Graph) -> Mapping[str, str]:
    """``Relu`` times itself."""
    y = graph.node("Relu", "x")
    return {"y": graph.node("Mul", y, y)}


def _gated(gate: Callable[[Graph, str], str], graph: Graph) -> Mapping[str, str]:
    if graph.get("interleaved"):
        raise Unsupported(f"{graph.call.op} with interleaved halves has no ONNX graph")
    left, right = graph.nodes_of("Split", 2, "x", axis=-1, num_outputs=2)
    return {"y": graph.node("Mul", gate(graph, left), right)}


def swiglu_clamped(graph: Graph) -> Mapping[str, str]:
    """Gate and up, clamped, in float32."""
    wide, limit = graph.cast("x", "float32"), float(graph.get("limit"))
    high, low, one, alpha = (
        graph.constant(value, "float32") for value in (limit, -limit, 1.0, float(graph.get("alpha")))
    )
    if graph.get("interleaved"):
        extent = graph.shape("x")[-1]
        gate, up = (
            graph.node("Slice", wide, *(graph.constant([at]) for at in (start, extent, -1, 2)))
            for start in (0, 1)
        )
    else:
        gate, up = graph.nodes_of("Split", 2, wide, axis=-1, num_outputs=2)
    gate = graph.node("Min", gate, high)
    up = graph.node("Add", graph.node("Max", graph.node("Min", up, high), low), one)
    gate = graph.node("Mul", gate, graph.node("Sigmoid", graph.node("Mul", gate, alpha)))
    return {"y": graph.cast(graph.node("Mul", gate, up), graph.dtype)}


def rsqrt(graph: Graph) -> Mapping[str, str]:
    """``Reciprocal`` of ``Sqrt``."""
    return {"y": graph.node("Reciprocal", graph.node("Sqrt", "x"))}


def clamp(graph: Graph) -> Mapping[str, str]:
    """``Clip``."""
    low, high = (graph.constant(graph.get(name), graph.dtype) for name in ("low", "high"))
    return {"y": graph.node("Clip", "x", low, high)}


GRAPHS: Mapping[str, Build] = {
    **{name: partial(_unary, op) for name, op in _UNARY.items()},
    **{name: partial(_binary, op) for name, op in _BINARY.items()},
    "cast": cast,
    "cast_round_trip": cast_round_trip,
    "silu": silu,
    "gelu_erf": partial(_gelu, "none"),
    "gelu_tanh": partial(_gelu, "tanh"),
    "relu_squared": relu_squared,
    "swiglu": partial(_gated, _silu),
    "geglu_tanh": partial(_gated, lambda graph, x: graph.node("Gelu", x, approximate="tanh")),
    "swiglu_clamped": swiglu_clamped,
    "rsqrt": rsqrt,
    "clamp": clamp,
}
