"""How a fault gets into an answer: through the call, or afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dougong.backends import Answer, Array, Call
from dougong.verify.mutant import Run

Wrong = Callable[[Call, Run], Answer]


def after(ops: str, output: str, change: Callable[[Call, Array], Array]) -> Wrong:
    """Change one output of some operators, named by words; what comes out has the dtype that it had."""
    named = frozenset(ops.split())

    def wrong(call: Call, run: Run) -> Answer:
        answer = run(call)
        if call.op not in named or output not in answer.outputs:
            return answer
        honest = answer.outputs[output]
        with np.errstate(all="ignore"):
            changed = np.asarray(change(call, honest.copy())).astype(honest.dtype)
        return replace(answer, outputs={**answer.outputs, output: changed})

    return wrong


def before(ops: str, change: Callable[[Call], Call]) -> Wrong:
    """Change the call of some operators, named by words."""
    named = frozenset(ops.split())
    return lambda call, run: run(change(call) if call.op in named else call)


def instead(ops: str, outputs: Callable[[Call], dict[str, Array]]) -> Wrong:
    """Compute some operators another way; outputs are rounded to the dtypes of the honest ones."""
    named = frozenset(ops.split())

    def wrong(call: Call, run: Run) -> Answer:
        answer = run(call)
        if call.op not in named:
            return answer
        with np.errstate(all="ignore"):
            made = {name: np.asarray(array) for name, array in outputs(call).items()}
        return replace(
            answer,
            outputs={
                name: made[name].astype(honest.dtype) if name in made else honest
                for name, honest in answer.outputs.items()
            },
        )

    return wrong


def at_extent(ops: str, output: str, name: str, axis: int, extent: int) -> Wrong:
    """Answer 2 % too large where one axis of one input has just this extent: a way of a kernel that only it takes."""

    def change(call: Call, y: Array) -> Array:
        shape = call.inputs[name].shape
        return wide(y) * 1.02 if len(shape) > axis % len(shape) and shape[axis] == extent else y

    return after(ops, output, change)


def with_inputs(call: Call, **inputs: Array) -> Call:
    """Return the call with some inputs replaced, in the dtypes they had."""
    kept = {name: np.asarray(array).astype(call.inputs[name].dtype) for name, array in inputs.items()}
    return replace(call, inputs={**call.inputs, **kept})


def with_attributes(call: Call, **attributes: Any) -> Call:
    """Return the call with some attributes replaced."""
    return replace(call, attributes={**call.attributes, **attributes})


def fixed(ops: str, **attributes: Any) -> Wrong:
    """Take some attributes for granted, whatever is asked."""
    return before(ops, lambda call: with_attributes(call, **attributes))


def read_packed(ops: str, name: str) -> Wrong:
    """Read one input as if it had no strides."""
    return before(ops, lambda call: with_inputs(call, **{name: as_if_packed(call.inputs[name])}))


def wide(array: Array) -> Array:
    """Any numbers in float64."""
    return array.astype(np.float64)


def as_if_packed(array: Array) -> Array:
    """Read an array with strides as if it had none: what lies between its elements comes out."""
    if array.flags.c_contiguous or array.size == 0 or min(array.strides) <= 0:
        return array
    steps = np.cumprod((array.itemsize, *array.shape[:0:-1]))[::-1]
    span = sum((extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True))
    if span < (array.size - 1) * array.itemsize:
        return array
    return np.lib.stride_tricks.as_strided(array, array.shape, tuple(int(step) for step in steps)).copy()
