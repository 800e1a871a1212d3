"""The table of operators that are verified: one :class:`Definition` each, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dougong.ops.definition import Definition, Operand

_GEMM = (
    Definition(
        name="linear",
        family="gemm",
        inputs=(
            Operand(name="x", axes="m k"),
            Operand(name="weight", axes="n k"),
            Operand(name="bias", axes="n", optional=True),
        ),
        outputs=(Operand(name="y", axes="m n"),),
        formula="y[m, n] = sum_k x[m, k] weight[n, k] + bias[n]",
        priced_as="gemm",
    ),
)

DEFINITIONS: Mapping[str, Definition] = MappingProxyType({each.name: each for each in (*_GEMM,)})
"""Every operator that a backend may be asked to run, by name."""
