"""Collectives: copies bit for bit, sums in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def _everywhere(y: Array, ranks: int) -> Array:
    return np.broadcast_to(y, (ranks, *y.shape)).copy()


def all_reduce(call: Call) -> dict[str, Array]:
    """The sum, or the largest, on every rank."""
    x = call.inputs["x"].astype(np.float64)
    total = np.max(x, axis=0) if call.get("reduce", "sum") == "max" else np.sum(x, axis=0)
    return {"y": _everywhere(np.asarray(total), len(x))}


def all_gather(call: Call) -> dict[str, Array]:
    """All ranks' parts on every rank."""
    x = call.inputs["x"]
    return {"y": _everywhere(x.reshape(-1), len(x))}


def reduce_scatter(call: Call) -> dict[str, Array]:
    """Each rank's part of the sum."""
    x = call.inputs["x"].astype(np.float64)
    return {"y": np.sum(x, axis=0).reshape(len(x), -1)}


def all_to_all(call: Call) -> dict[str, Array]:
    """Parts transposed between ranks."""
    x = call.inputs["x"]
    return {"y": x.reshape(len(x), len(x), -1).swapaxes(0, 1).reshape(x.shape).copy()}


def broadcast(call: Call) -> dict[str, Array]:
    """One rank's vector on every rank."""
    x = call.inputs["x"]
    return {"y": _everywhere(x[int(call.get("root", 0))], len(x))}


def parallel_linear(call: Call) -> dict[str, Array]:
    """The linear layer, unsharded."""
    x, weight = (call.inputs[name].astype(np.float64) for name in ("x", "weight"))
    return {"y": _everywhere(x @ weight.T, int(call.get("ranks", 2)))}


FORMULAS = {
    "all_reduce": all_reduce,
    "all_gather": all_gather,
    "reduce_scatter": reduce_scatter,
    "all_to_all": all_to_all,
    "broadcast": broadcast,
    "row_parallel_linear": parallel_linear,
    "column_parallel_linear": parallel_linear,
}
