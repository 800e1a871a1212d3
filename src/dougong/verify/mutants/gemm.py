"""Faults of matrix products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dougong.backends import Answer, Call
from dougong.verify.mutant import Mutant, Run


def _wide_head(call: Call, run: Run) -> Answer:
    answer = run(call)
    if call.op != "linear" or answer.outputs["y"].shape[-1] <= 131_072:
        return answer
    y = answer.outputs["y"].copy()
    y[..., 131_072:] = np.roll(y[..., 131_072:], 1, axis=-1)
    return replace(answer, outputs={"y": y})


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="lm-head-past-131072",
        fault="columns past 131,072 of a linear layer are wrong",
        caught_by="gemm/linear-vocab",
        wrong=_wide_head,
        provenance=("baidu/vLLM-Kunlun#387",),
    ),
)
