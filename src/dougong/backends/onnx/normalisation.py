"""Norms and softmax as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends.onnx.graph import Build, Graph
from dougong.backends.port import Unsupported


def _rms(graph: Graph, x: str) -> str:
    if graph.get("weight_offset"):
        raise Unsupported("a weight with an offset has no RMSNormalization")
    eps = float(graph.get("eps"))
    if graph.opset >= 23:
        return graph.node("RMSNormalization", x, "weight", axis=-1, epsilon=eps)
    wide = graph.cast(x, "float32")
    square = graph.node("ReduceMean", graph.node("Mul", wide, wide), graph.constant([-1]), keepdims=1)
    root = graph.node("Sqrt", graph.node("Add", square, graph.constant(eps, "float32")))
    return graph.node("Mul", graph.cast(graph.node("Div", wide, root), graph.dtype), "weight")


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


def softmax(graph: Graph) -> Mapping[str, str]:
    """``Softmax`` over the last axis; the scale is a ``Mul`` before it."""
    scale, x = float(graph.get("scale")), "x"
    if scale != 1.0:
        x = graph.node("Mul", x, graph.constant(scale, graph.dtype))
    return {"y": graph.node("Softmax", x, axis=-1)}


def log_softmax(graph: Graph) -> Mapping[str, str]:
    """``LogSoftmax``."""
    return {"y": graph.node("LogSoftmax", "x", axis=-1)}


def logsumexp(graph: Graph) -> Mapping[str, str]:
    """``ReduceLogSumExp``."""
    return {"y": graph.node("ReduceLogSumExp", "x", graph.constant([-1]), keepdims=0)}


GRAPHS: Mapping[str, Build] = {
    "rms_norm": rms_norm,
    "add_rms_norm": add_rms_norm,
    "layer_norm": layer_norm,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
}
