"""The cases, family by family, at the geometry of models of the catalog and at the edges that broke before."""

from collections.abc import Iterator

from dougong.verify.case import Case
from dougong.verify.families import gemm


def cases() -> Iterator[Case]:
    """Every case of the suite, in the order of :data:`dougong.ops.definition.FAMILIES`."""
    yield from gemm.cases()


__all__ = ["cases"]
