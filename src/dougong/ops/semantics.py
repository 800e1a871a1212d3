"""What specifications leave open: one switch per question, with the answers that stacks give.

An operator's reference formula takes the answers with its call, so that each of them is computed, not described; which
answers conform is up to a profile (:mod:`dougong.verify.semantics`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Switch:
    """A question that specifications leave open; the first answer is what a formula takes unless told otherwise."""

    question: str
    answers: tuple[str, ...]
    threads: tuple[str, ...] = ()


SWITCHES: Mapping[str, Switch] = MappingProxyType(
    {
        "masked_row": Switch(
            "what attention returns for a row that may see nothing",
            ("zeros", "nan", "mean_of_values"),
            ("pytorch/pytorch#101967", "huggingface/transformers#35647", "ml-explore/mlx#2608"),
        ),
        "masked_nan": Switch(
            "whether a NaN in a masked key or value reaches the answer", ("hidden", "propagates")
        ),
        "causal_alignment": Switch(
            "where the causal diagonal ends when there are more keys than queries",
            ("bottom_right", "top_left"),
        ),
        "gqa_mapping": Switch(
            "which key-value head a query head reads", ("repeat", "tile"), ("onnx/onnx#7274",)
        ),
        "nan_in_max": Switch(
            "what the largest of values with a NaN among them is",
            ("propagates", "ignored"),
            ("iree-org/iree#24503", "apache/tvm#19572", "onnx/onnx#4716"),
        ),
        "nan_in_argmax": Switch(
            "where the largest of values with a NaN among them is", ("first_nan", "ignored")
        ),
        "nan_in_order": Switch("where a NaN stands in a descending order", ("first", "last")),
        "nan_in_clamp": Switch("what a clamp makes of NaN", ("propagates", "bound")),
        "tie_order": Switch(
            "which of equal values comes first in a top-k or a sort", ("lowest_index", "any")
        ),
        "softmax_inf": Switch(
            "what a softmax makes of a row with +inf, or of nothing but -inf", ("nan", "limit", "zeros")
        ),
        "softmax_nan": Switch("how far a NaN reaches in a softmax", ("row", "place")),
        "activation_limit": Switch(
            "what an activation makes of -inf: 0, its limit, or NaN, from -inf times 0", ("limit", "nan")
        ),
        "slot_beyond_cache": Switch("what a slot beyond the KV cache does", ("raises", "ignored")),
        "overflow": Switch(
            "what a result beyond the largest number becomes",
            ("infinity", "saturates"),
            ("DeepLink-org/deeplink.framework#684",),
        ),
        "float8_overflow": Switch(
            "what a cast to float8 e4m3 makes of what is too large", ("saturates", "nan")
        ),
        "integer_cast": Switch(
            "what a cast to an integer makes of NaN, infinities and what does not fit",
            ("saturates", "wraps", "any"),
        ),
        "subnormals": Switch("whether subnormal numbers are kept", ("kept", "flushed")),
        "out_of_range_id": Switch(
            "what an index beyond its table does", ("raises", "zeros", "clamped", "ignored")
        ),
        "negative_id": Switch("what a negative index does", ("from_the_end", "raises", "zeros", "ignored")),
        "duplicate_write": Switch("which of several writes to one place stays", ("last", "first", "any")),
        "negative_division": Switch(
            "how the quotient of a negative integer is rounded", ("floor", "truncate")
        ),
        "zero_scale": Switch("what quantising a token of zeros returns", ("zeros", "nan")),
        "integer_tie": Switch("which integer a number halfway between two is quantised to", ("even", "away")),
        "half_round_trip": Switch(
            "whether a round trip through a narrow dtype rounds",
            ("rounds", "elided"),
            ("pytorch/pytorch#176565", "pytorch/pytorch#183761"),
        ),
    }
)
"""Every switch, by name."""
