"""Norms and softmax as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends.onnx.graph import Build, Graph
from dougong.backends.port import Unsupported


def _rms(graph: Graph, x: str) -> str:
    if graph.get("weight_offset"):
        raise Unsupported("a weight with an offset has no RMSNormalization")
    if graph.opset >= 23:
        return graph.node("RMSNormalization", x, "weight", axis=-1, epsilon=float(graph.get("eps")))
    wide = graph.cast(x, "float32")
    return graph.node("Mul", graph.cast(_over_root(graph, wide, "ReduceMean"), graph.dtype), "weight")


def _over_root(graph: Graph, wide: str, reduce: str) -> str:
    """``x / sqrt(mean or sum of x^2 + eps)``."""
    square = graph.node(reduce, graph.node("Mul", wide, wide), graph.constant([-1]), keepdims=1)
    eps = graph.constant(float(graph.get("eps")), "float32")
    return graph.node("Div", wide, graph.node("Sqrt", graph.node("Add", square, eps)))


def rms_norm(graph: Graph) -> Mapping[str, str]:
    """``RMSNormalization`` of opset 23."""
    return {"y": _rms(graph, "x")}


def add_rms_norm(graph: Graph) -> Mapping[str, str]:
    """``Add``, then ``RMSNormalization``."""
    total = graph.node("Add", "x", "residual")
    return {"y": _rms(graph, total), "residual_out": total}


def layer_norm(graph: Graph) -> Mapping[str, str]:
    """``LayerNormalization``."""
    optional = ("bias",) if graph.has("bias") else ()
    return {
        "y": graph.node(
            "LayerNormalization", "x", "weight", *optional, axis=-1, epsilon=float(graph.get("eps"))
        )
    }


def gated_rms_norm(graph: Graph) -> Mapping[str, str]:
    """The norm times SiLU of the gate, in float32."""
    wide, gate, weight = (graph.cast(name, "float32") for name in ("x", "gate", "weight"))
    normed = graph.node("Mul", _over_root(graph, wide, "ReduceMean"), weight)
    gate = graph.node("Mul", gate, graph.node("Sigmoid", gate))
    return {"y": graph.cast(graph.node("Mul", normed, gate), graph.dtype)}


def l2_norm(graph: Graph) -> Mapping[str, str]:
    """By the root of the sum of squares, in float32."""
    return {"y": graph.cast(_over_root(graph, graph.cast("x", "float32"), "ReduceSum"), graph.dtype)}


def softmax(graph: Graph) -> Mapping[str, str]:
    """``Softmax`` over the last axis; a scale is a ``Mul`` before it, both in float32."""
    scale = float(graph.get("scale"))
    if scale == 1.0:
        return {"y": graph.node("Softmax", "x", axis=-1)}
    x = graph.node("Mul", graph.cast("x", "float32"), graph.constant(scale, "float32"))
    return {"y": graph.cast(graph.node("Softmax", x, axis=-1), graph.dtype)}


def log_softmax(graph: Graph) -> Mapping[str, str]:
    """``LogSoftmax``."""
    return {"y": graph.node("LogSoftmax", "x", axis=-1)}


def logsumexp(graph: Graph) -> Mapping[str, str]:
    """``ReduceLogSumExp``."""
    return {"y": graph.node("ReduceLogSumExp", "x", graph.constant([-1]), keepdims=0)}


GRAPHS: Mapping[str, Build] = {
    "rms_norm": rms_norm,
    "add_rms_norm": add_rms_norm,
    "gated_rms_norm": gated_rms_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
}
