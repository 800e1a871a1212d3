"""What an operator is: axes, dtypes, FLOP and byte counts; the lowering of a model step to operators.

Arithmetic is duck-typed: every count may be a float or an array, so one lowering prices a single step or a
million candidates. No third party is imported. Start at :func:`lower`.
"""

from dougong.ops.attention import lower_attention
from dougong.ops.ffn import lower_dense, lower_experts, lower_ffn
from dougong.ops.lowering import lower, lower_head
from dougong.ops.operators import Collective, Compute, Operator
from dougong.ops.shapes import Dtypes, Ranks, Tokens

__all__ = [
    "Collective",
    "Compute",
    "Dtypes",
    "Operator",
    "Ranks",
    "Tokens",
    "lower",
    "lower_attention",
    "lower_dense",
    "lower_experts",
    "lower_ffn",
    "lower_head",
]
