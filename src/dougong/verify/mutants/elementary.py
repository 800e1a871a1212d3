"""Faults of elementary functions."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np

from dougong.backends import Answer, Array, Call
from dougong.verify.mutant import Mutant, Run
from dougong.verify.mutants.faults import after, instead, wide

_TURN = np.float32(2 * np.pi)


def _x(call: Call) -> Array:
    return wide(call.inputs["x"])


def _short_turn(call: Call) -> dict[str, Array]:
    x = call.inputs["x"].astype(np.float32)
    reduced = x - np.round(x / _TURN) * _TURN
    return {"y": np.sin(reduced) if call.op == "sin" else np.cos(reduced)}


def _truncated(call: Call, y: Array) -> Array:
    if y.dtype.itemsize != 2 or y.dtype.name != "bfloat16":
        return y
    from dougong.backends.reference.elementary import function

    exact = function(call.op, _x(call)).astype(np.float32)
    return (exact.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _tail(call: Call, y: Array) -> Array:
    y[y.size // 8 * 8 :] = 0
    return y


_calls = count()


def _unsteady(call: Call, run: Run) -> Answer:
    answer = run(call)
    if call.op != "exp":
        return answer
    y = answer.outputs["y"]
    return replace(answer, outputs={"y": (wide(y) * (1 + next(_calls) % 5 * 2.0**-24)).astype(y.dtype)})


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="exp-one-in-a-thousand",
        fault="exp has a relative error of up to 1e-3",
        caught_by="elementary/exp-sweep",
        wrong=after("exp", "y", lambda call, y: wide(y) * (1 + 1e-3 * np.sin(1e3 * _x(call)))),
    ),
    Mutant(
        name="exp-gives-up-early",
        fault="exp is infinite beyond 88.38, not 88.72",
        caught_by="elementary/exp-overflow-float32",
        wrong=after("exp", "y", lambda call, y: np.where(_x(call) > 88.38, np.inf, wide(y))),
    ),
    Mutant(
        name="rsqrt-8-bits",
        fault="rsqrt has a relative error of 2**-9",
        caught_by="elementary/rsqrt-",
        wrong=after("rsqrt", "y", lambda call, y: wide(y) * (1 + 2.0**-9)),
    ),
    Mutant(
        name="short-turn",
        fault="sine and cosine subtract whole turns rounded to float32",
        caught_by="elementary/sin-",
        wrong=instead("sin cos", _short_turn),
    ),
    Mutant(
        name="log1p-naive",
        fault="log1p is the logarithm of a rounded 1 + x",
        caught_by="elementary/log1p-near",
        wrong=instead(
            "log1p", lambda call: {"y": np.log(np.float32(1) + call.inputs["x"].astype(np.float32))}
        ),
    ),
    Mutant(
        name="expm1-naive",
        fault="expm1 is a rounded exponential less 1",
        caught_by="elementary/expm1-near",
        wrong=instead(
            "expm1", lambda call: {"y": np.exp(call.inputs["x"].astype(np.float32)) - np.float32(1)}
        ),
    ),
    Mutant(
        name="root-of-minus-zero",
        fault="negative zero comes out positive",
        caught_by="elementary/s",
        wrong=after("sqrt sin", "y", lambda call, y: wide(y) + 0.0),
    ),
    Mutant(
        name="results-flushed",
        fault="subnormal results are zero",
        caught_by="elementary/exp-subnormal-results",
        wrong=after(
            "exp exp2 sigmoid", "y", lambda call, y: np.where(np.abs(wide(y)) < 2.0**-126, 0, wide(y))
        ),
    ),
    Mutant(
        name="tanh-flat-early",
        fault="tanh is 1 from 4 on",
        caught_by="elementary/tanh-",
        wrong=after("tanh", "y", lambda call, y: np.where(np.abs(_x(call)) > 4, np.sign(_x(call)), wide(y))),
    ),
    Mutant(
        name="maximum-drops-nan",
        fault="the larger of NaN and a number is the number",
        caught_by="elementary/maximum-special",
        wrong=instead("maximum", lambda call: {"y": np.fmax(_x(call), wide(call.inputs["other"]))}),
        provenance=("tenstorrent/tt-metal#56414",),
    ),
    Mutant(
        name="clamp-hides-nan",
        fault="a clamp makes NaN its lower bound",
        caught_by="elementary/clamp-nan",
        wrong=after(
            "clamp", "y", lambda call, y: np.where(np.isnan(wide(y)), call.get("low", -1.0), wide(y))
        ),
    ),
    Mutant(
        name="truncated-to-bfloat16",
        fault="float32 is cut to bfloat16, not rounded",
        caught_by="elementary/tanh-every-bfloat16",
        wrong=after("tanh", "y", _truncated),
    ),
    Mutant(
        name="loop-tail",
        fault="what is left of a vector of eight is not computed",
        caught_by="elementary/add-",
        wrong=after("add multiply", "y", _tail),
    ),
    Mutant(
        name="last-bit-unsteady",
        fault="every second run differs in the last bit",
        caught_by="elementary/exp-sweep",
        wrong=_unsteady,
    ),
)
