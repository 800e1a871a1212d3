"""Faults of low-rank adapters."""

from __future__ import annotations

import numpy as np

from dougong.backends import Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import at_extent, before, with_inputs


def _adapter(call: Call, adapter: object) -> Call:
    return with_inputs(call, adapter=np.asarray(adapter))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="one-adapter-for-all",
        fault="every row has the adapter of the first",
        caught_by="lora/linear-",
        wrong=before(
            "lora_linear",
            lambda call: _adapter(call, np.full_like(call.inputs["adapter"], call.inputs["adapter"][0])),
        ),
    ),
    Mutant(
        name="none-is-last",
        fault="a row without an adapter has the last one",
        caught_by="lora/linear-none",
        wrong=before(
            "lora_linear", lambda call: _adapter(call, call.inputs["adapter"] % len(call.inputs["down"]))
        ),
    ),
    Mutant(
        name="scaling-of-the-first",
        fault="all adapters are scaled as the first",
        caught_by="lora/linear-loud",
        wrong=before(
            "lora_linear",
            lambda call: with_inputs(
                call, scaling=np.full_like(call.inputs["scaling"], call.inputs["scaling"][0])
            ),
        ),
    ),
    Mutant(
        name="rank-cut-to-64",
        fault="of a rank beyond 64 the rest is not read",
        caught_by="lora/linear-rank256",
        wrong=before(
            "lora_linear",
            lambda call: with_inputs(
                call, up=np.where(np.arange(int(call.inputs["up"].shape[-1])) < 64, call.inputs["up"], 0)
            ),
        ),
    ),
    Mutant(
        name="merged-twice",
        fault="a merged weight holds its adapter twice",
        caught_by="lora/merge-",
        wrong=before("lora_merge", lambda call: with_inputs(call, scaling=2 * call.inputs["scaling"])),
    ),
    Mutant(
        name="rank-of-24",
        fault="a rank of just 24 is wrong",
        caught_by="lora/linear-extents",
        wrong=at_extent("lora_linear", "y", "down", 1, 24),
    ),
)
