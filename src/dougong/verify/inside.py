"""A backend asked in this process: for mutants, for shrinking and for a first look at an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dougong.backends import Answer, Array, Backend, Call, Unsupported
from dougong.backends.wire import beside, room, span
from dougong.backends.worker import unsteady
from dougong.verify.judge import Outcome
from dougong.verify.verdict import Verdict


def ask_inside(backend: Backend, call: Call, *, repeat: bool = False) -> Outcome:
    """Run one call on copies of its inputs, and watch what a process of its own would be watched for but its end."""
    given = {name: _copy(array) for name, array in call.inputs.items()}
    told = Call(op=call.op, inputs=given, attributes=call.attributes)
    try:
        answer = backend.run(told)
    except Unsupported as lacking:
        return Outcome(failed=Verdict.UNSUPPORTED, detail=str(lacking))
    except Exception as error:
        return Outcome(failed=Verdict.ERROR, detail=f"{type(error).__name__}: {error}")
    outputs = {name: np.asarray(array) for name, array in answer.outputs.items()}
    kept = {name: array.copy() for name, array in outputs.items()}
    wrote = answer.wrote or _changed(given, call.inputs)
    again = unsteady(backend, told, outputs, kept) if repeat and wrote is None else None
    kept_answer: Answer = replace(answer, outputs=kept)
    return Outcome(answer=kept_answer, wrote=wrote, unsteady=again)


def _changed(given: Mapping[str, Array], before: Mapping[str, Array]) -> str | None:
    names = (name for name, array in before.items() if given[name].tobytes() != array.tobytes())
    return next((f"{name}: the input itself" for name in names), None)


def _copy(array: Array) -> Array:
    # Strides matter, what lies between, and where a line of memory begins: the memory is copied, not the elements.
    memory, offset = span(array)
    if not array.size:
        return np.empty(array.shape, array.dtype)
    own = room(len(memory), beside(array))
    own[:] = memory
    return np.ndarray(array.shape, array.dtype, own.data, offset, array.strides)
