"""GEMM and linear layers."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_SPECIALS = (
    Special(
        when="a term is NaN, or inf times 0, or infinities of both signs meet",
        then="NaN in that element only",
    ),
    Special(
        when="a finite sum is beyond the largest number of the dtype", then="infinity", switch="overflow"
    ),
    Special(when="the result is subnormal", then="kept", switch="subnormals"),
    Special(when="k = 0", then="zeros, or the bias"),
)

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
        specials=_SPECIALS,
        priced_as="gemm",
    ),
    Definition(
        name="matmul",
        family="gemm",
        inputs=(Operand(name="a", axes="b m k"), Operand(name="b", axes="b k n")),
        outputs=(Operand(name="y", axes="b m n"),),
        formula="y[b, m, n] = sum_k a[b, m, k] b[b, k, n]; b may be several axes, and of extent 1 in one of both",
        specials=_SPECIALS,
    ),
)
