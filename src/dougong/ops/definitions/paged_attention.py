"""Decode attention over a paged KV cache."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand
from dougong.ops.definitions.attention import SPECIALS

DEFINITIONS = (
    Definition(
        name="paged_attention",
        family="paged_attention",
        inputs=(
            Operand(name="q", axes="b t h d"),
            Operand(name="key_cache", axes="n page g d", kind="=q"),
            Operand(name="value_cache", axes="n page g e", kind="=q"),
            Operand(name="block_table", axes="b w", kind="int32"),
            Operand(name="lengths", axes="b", kind="int32"),
            Operand(name="k_scale", axes="", kind="float32", optional=True),
            Operand(name="v_scale", axes="", kind="float32", optional=True),
        ),
        outputs=(Operand(name="y", axes="b t h e"),),
        formula=(
            "attention of the last t tokens of each sequence, causal, over its first lengths[b] keys; key s of b is "
            "key_cache[block_table[b, s // page], s % page], times k_scale of a cache in 8 bits; what is beyond "
            "lengths[b], in a page or in the table, is never seen"
        ),
        attributes={"scale": None, "window": 0, "softcap": 0.0},
        specials=SPECIALS,
        priced_as="attention",
        references=("Kwon et al., PagedAttention, arXiv:2309.06180, section 4.1",),
    ),
    Definition(
        name="merge_attention",
        family="paged_attention",
        inputs=(
            Operand(name="parts", axes="p t h e"),
            Operand(name="log_sums", axes="p t h", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="t h e"), Operand(name="log_sum", axes="t h", kind="float32")),
        formula=(
            "log_sum = log sum_p exp(log_sums[p]); y = sum_p exp(log_sums[p] - log_sum) parts[p]; a part whose log_sum "
            "is -inf has seen nothing and adds nothing"
        ),
        references=("Dao et al., Flash-Decoding, 2023",),
    ),
)
