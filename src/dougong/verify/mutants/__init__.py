"""Every deliberately wrong backend: the suite is believed as far as it catches these."""

from __future__ import annotations

from dougong.verify.mutant import Mutant
from dougong.verify.mutants import (
    activation,
    collective,
    elementary,
    gather,
    gemm,
    graph,
    kv_write,
    lora,
    moe,
    reduction,
    sampler,
    selection,
    softmax,
    view,
)

_FAMILIES = (
    gemm,
    kv_write,
    softmax,
    activation,
    elementary,
    reduction,
    selection,
    sampler,
    moe,
    gather,
    collective,
    lora,
    view,
    graph,
)

MUTANTS: tuple[Mutant, ...] = tuple(mutant for family in _FAMILIES for mutant in family.MUTANTS)
