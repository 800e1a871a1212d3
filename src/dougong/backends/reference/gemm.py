"""Matrix products in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call

_BLOCK_VALUES = 1 << 24


def blocks(rows: int, columns: int) -> list[slice]:
    """Cut the rows of a matrix so that one block in float64 stays within 128 MiB."""
    step = max(1, _BLOCK_VALUES // max(columns, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def linear(call: Call) -> dict[str, Array]:
    """``y[m, n] = sum_k x[m, k] weight[n, k] + bias[n]``."""
    x, weight = call.inputs["x"].astype(np.float64), call.inputs["weight"]
    y = np.empty((x.shape[0], weight.shape[0]))
    with np.errstate(invalid="ignore"):
        for block in blocks(*weight.shape):
            y[:, block] = x @ weight[block].astype(np.float64).T
        if "bias" in call.inputs:
            y = y + call.inputs["bias"].astype(np.float64)
    return {"y": y}


def matmul(call: Call) -> dict[str, Array]:
    """``y[b, m, n] = sum_k a[b, m, k] b[b, k, n]``."""
    a, b = (call.inputs[name].astype(np.float64) for name in ("a", "b"))
    with np.errstate(invalid="ignore"):
        return {"y": np.matmul(a, b)}


FORMULAS = {"linear": linear, "matmul": matmul}
