"""Every deliberately wrong backend: the suite is believed as far as it catches these."""

from __future__ import annotations

from dougong.verify.mutant import Mutant
from dougong.verify.mutants import (
    gemm,
)

_FAMILIES = (gemm,)

MUTANTS: tuple[Mutant, ...] = tuple(mutant for family in _FAMILIES for mutant in family.MUTANTS)
