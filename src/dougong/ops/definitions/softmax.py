"""Softmax, its logarithm, and the merge of partial softmaxes."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_X = Operand(name="x", axes="m n")
_SPECIALS = (
    Special(when="a row holds NaN", then="NaN in the whole row", switch="softmax_nan"),
    Special(when="a row holds +inf, or nothing but -inf", then="NaN", switch="softmax_inf"),
    Special(when="x[m, n] = -inf beside finite values", then="probability 0"),
)

DEFINITIONS = (
    Definition(
        name="softmax",
        family="softmax",
        inputs=(_X,),
        outputs=(Operand(name="y", axes="m n"),),
        formula="y[m, n] = e ** (scale x[m, n]) / sum_j e ** (scale x[m, j])",
        attributes={"scale": 1.0},
        specials=_SPECIALS,
        priced_as="elementwise",
        references=("Milakov, Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867",),
    ),
    Definition(
        name="log_softmax",
        family="softmax",
        inputs=(_X,),
        outputs=(Operand(name="y", axes="m n"),),
        formula="y[m, n] = x[m, n] - ln sum_j e ** x[m, j]",
        specials=_SPECIALS,
        priced_as="elementwise",
    ),
    Definition(
        name="logsumexp",
        family="softmax",
        inputs=(_X,),
        outputs=(Operand(name="y", axes="m"),),
        formula="y[m] = ln sum_n e ** x[m, n]",
        specials=(
            Special(when="a row is nothing but -inf", then="-inf"),
            Special(when="a row holds +inf", then="inf"),
        ),
        priced_as="elementwise",
    ),
    Definition(
        name="softmax_merge",
        family="softmax",
        inputs=(Operand(name="values", axes="s m d"), Operand(name="lse", axes="s m", kind="float32")),
        outputs=(Operand(name="y", axes="m d"), Operand(name="total", axes="m", kind="float32")),
        formula="total[m] = ln sum_s e ** lse[s, m]; y[m, d] = sum_s e ** (lse[s, m] - total[m]) values[s, m, d]",
        specials=(Special(when="lse[s, m] = -inf for some s", then="that part counts nothing"),),
        references=("Dao et al., FlashAttention, arXiv:2205.14135, section 3.1",),
    ),
)
