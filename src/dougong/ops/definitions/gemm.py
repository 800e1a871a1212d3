"""GEMM and linear layers."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand

DEFINITIONS = (
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
