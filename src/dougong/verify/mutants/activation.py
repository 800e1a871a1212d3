"""Faults of activations."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference import activation
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, before, fixed, instead, wide, with_attributes, with_inputs


def _x(call: Call) -> Array:
    return wide(call.inputs["x"])


def _swapped(call: Call) -> Call:
    x = call.inputs["x"]
    return with_inputs(call, x=np.roll(x, x.shape[-1] // 2, axis=-1))


def _other_packing(call: Call) -> Call:
    return with_attributes(call, interleaved=not call.get("interleaved", call.op == "swiglu_clamped"))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="silu-7-bits",
        fault="SiLU has a relative error of 2**-8",
        caught_by="activation/silu-",
        wrong=after("silu", "y", lambda call, y: wide(y) * (1 + 2.0**-8)),
    ),
    Mutant(
        name="silu-infinite-quotient",
        fault="SiLU of a very negative number is inf over inf",
        caught_by="activation/silu-extremes",
        wrong=after("silu", "y", lambda call, y: np.where(_x(call) < -88.8, np.nan, wide(y))),
    ),
    Mutant(
        name="gelu-of-the-other-kind",
        fault="GELU is always the one of the hyperbolic tangent",
        caught_by="activation/gelu_erf-",
        wrong=instead("gelu_erf", lambda call: {"y": activation.gelu_tanh(_x(call))}),
    ),
    Mutant(
        name="gate-and-up-swapped",
        fault="SwiGLU takes the second half for the gate",
        caught_by="activation/swiglu-",
        wrong=before("swiglu geglu_tanh", _swapped),
    ),
    Mutant(
        name="other-packing",
        fault="gate and up are read as halves where they alternate",
        caught_by="activation/swiglu_clamped-",
        wrong=before("swiglu_clamped", _other_packing),
    ),
    Mutant(
        name="clamp-left-out",
        fault="the clamps of a clamped SwiGLU are not applied",
        caught_by="activation/swiglu_clamped-extremes",
        wrong=fixed("swiglu_clamped", limit=1e30),
    ),
    Mutant(
        name="relu-swallows-nan",
        fault="ReLU of NaN is 0",
        caught_by="activation/relu-special",
        wrong=after("relu", "y", lambda call, y: np.where(np.isnan(wide(y)), 0, wide(y))),
    ),
)
