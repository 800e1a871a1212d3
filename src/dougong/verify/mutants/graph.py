"""Faults of captured graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dougong.backends import Answer, Call
from dougong.ops.definitions.graph import PREFIX
from dougong.verify.mutant import Mutant, Run


def _leaks(call: Call, run: Run) -> Answer:
    answer = run(call)
    if not call.get("capture_rows", 0):
        return answer
    changed = {name: array.copy() for name, array in answer.outputs.items()}
    for array in changed.values():
        array[-1] = array[0]
    return replace(answer, outputs=changed)


def _stale(call: Call, run: Run) -> Answer:
    if not call.op.startswith(PREFIX):
        return run(call)
    name = next(iter(call.inputs))
    return run(replace(call, inputs={**call.inputs, name: np.zeros_like(call.inputs[name])}))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="padding-leaks",
        fault="of a padded batch the last row is another's",
        caught_by="graph/padded-",
        wrong=_leaks,
        provenance=("vllm-project/vllm-ascend#3922",),
    ),
    Mutant(
        name="graph-replays-its-capture",
        fault="one input of a graph is the one that it was captured with",
        caught_by="graph/captured-",
        wrong=_stale,
        provenance=("vllm-project/vllm-ascend#3922",),
    ),
)
