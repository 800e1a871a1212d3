"""Wrong products, casts, norms, rotary embedding and attention: each caught by the case meant for it."""

from __future__ import annotations

import pytest

from dougong.verify.mutant import Mutant
from dougong.verify.mutants import (
    attention,
    cast,
    dynamic_quant,
    gemm,
    latent_attention,
    norm,
    paged_attention,
    quantised_gemm,
    rope,
)
from dougong.verify.mutation import trials

FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
    attention,
    paged_attention,
    latent_attention,
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition(".")[2])
def test_every_mutant_is_caught(family: object) -> None:
    mutants: tuple[Mutant, ...] = family.MUTANTS  # type: ignore[attr-defined]
    assert [trial.mutant.name for trial in trials(mutants) if trial.caught is None] == []
