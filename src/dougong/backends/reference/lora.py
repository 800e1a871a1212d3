"""Low-rank adapters in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def lora_linear(call: Call) -> dict[str, Array]:
    """The base layer, and each row's own adapter."""
    x, weight, down, up, scaling = (
        call.inputs[name].astype(np.float64) for name in ("x", "weight", "down", "up", "scaling")
    )
    y = x @ weight.T
    for row, a in enumerate(call.inputs["adapter"]):
        if a >= 0:
            y[row] += scaling[a] * (up[a] @ (down[a] @ x[row]))
    return {"y": y}


def lora_merge(call: Call) -> dict[str, Array]:
    """A weight with its adapter added."""
    weight, down, up, scaling = (
        call.inputs[name].astype(np.float64) for name in ("weight", "down", "up", "scaling")
    )
    return {"y": weight + scaling * (up @ down)}


FORMULAS = {"lora_linear": lora_linear, "lora_merge": lora_merge}
