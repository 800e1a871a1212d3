"""The cases, family by family, at the geometry of models of the catalog and at the edges that broke before."""

from collections.abc import Iterator

from dougong.verify.case import Case
from dougong.verify.families import (
    cast,
    dynamic_quant,
    gemm,
    norm,
    quantised_gemm,
    rope,
)

_FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
)


def cases() -> Iterator[Case]:
    """Every case of the suite, in the order of :data:`dougong.ops.definition.FAMILIES`."""
    for family in _FAMILIES:
        yield from family.cases()


__all__ = ["cases"]
