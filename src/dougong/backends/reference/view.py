"""Views and copies, in the dtype that they are in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dougong.backends.port import Array, Call


def _slice(call: Call) -> Array:
    cut = [slice(None)] * call.inputs["x"].ndim
    cut[int(call.get("axis", 0))] = slice(call.get("start", 0), call.get("stop", 1), call.get("step", 1))
    return call.inputs["x"][tuple(cut)]


def _pad(call: Call) -> Array:
    x, axis = call.inputs["x"], int(call.get("axis", 0))
    shape = list(x.shape)
    shape[axis] = int(call.get("extent", 1)) - x.shape[axis]
    return np.concatenate([x, np.zeros(shape, x.dtype)], axis=axis)


def _where(call: Call) -> Array:
    return np.where(call.inputs["mask"], call.inputs["x"], call.inputs["other"])


def _concat(call: Call) -> Array:
    return np.concatenate([call.inputs["x"], call.inputs["other"]], axis=int(call.get("axis", 0)))


def _picked(call: Call) -> Array:
    """Repeats, reversals and rotations: indices along one axis."""
    x, axis = call.inputs["x"], int(call.get("axis", 0))
    extent: int = x.shape[axis]
    if call.op == "repeat":
        count = int(call.get("count", 2))
        picks = [n // count for n in range(extent * count)]
    elif call.op == "flip":
        picks = list(range(extent))[::-1]
    else:
        picks = [(n - int(call.get("shift", 1))) % extent for n in range(extent)]
    return np.take(x, np.array(picks, np.int64), axis=axis)


_VIEWS: dict[str, Callable[[Call], Array]] = {
    "copy": lambda call: call.inputs["x"],
    "transpose": lambda call: np.transpose(call.inputs["x"], call.get("axes", (1, 0))),
    "slice": _slice,
    "reshape": lambda call: call.inputs["x"].reshape(tuple(call.get("shape", (-1,)))),
    "concat": _concat,
    "repeat": _picked,
    "pad": _pad,
    "where": _where,
    "flip": _picked,
    "roll": _picked,
    "staged_copy": lambda call: call.inputs["x"],
}


def _view(call: Call) -> dict[str, Array]:
    return {"y": np.ascontiguousarray(_VIEWS[call.op](call))}


FORMULAS = dict.fromkeys(_VIEWS, _view)
