"""Lowering of (model, layout, step) to operators on one device.

Notes
-----
Axes: ``T`` tokens of one attention group in this step, ``b`` decode sequences of that group, ``q`` query tokens
per decode sequence (1 + draft tokens), ``P`` prefill tokens. Devices: an attention group is ``tp x cp`` devices;
``attn_dp`` groups share one set of experts spread over ``ep x expert_tp = tp x cp x attn_dp`` devices.
"""

from __future__ import annotations

from collections.abc import Iterator

from dougong.catalog.models import Model
from dougong.ops.attention import lower_attention
from dougong.ops.ffn import lower_ffn
from dougong.ops.matrices import gemm
from dougong.ops.operators import Collective, Number, Operator
from dougong.ops.shapes import Dtypes, Ranks, Tokens


def lower_head(model: Model, tokens: Tokens, ranks: Ranks, dtypes: Dtypes) -> Iterator[Operator]:
    """Output head of the sequences that sample in this step, and the gathering of logits."""
    sampled = tokens.decode_tokens + tokens.prefill_sequences
    yield gemm(model.head, 1.0, sampled, ranks.tp, dtypes)
    yield Collective(
        name="gather_logits",
        group="head",
        kind="all_gather",
        count=1.0,
        bytes_out=sampled * model.vocab_size * 2.0 / ranks.tp,
        ranks=ranks.tp,
    )


def lower(
    model: Model,
    tokens: Tokens,
    ranks: Ranks,
    dtypes: Dtypes,
    *,
    decode: bool,
    prefill: bool,
    imbalance: Number = 1.0,
) -> list[Operator]:
    """Every operator of one step of the whole model on one device, in order of execution."""
    hidden = model.hidden_size
    out: list[Operator] = []
    for layer in model.layers:
        out += lower_attention(layer, tokens, ranks, dtypes, hidden, decode=decode, prefill=prefill)
        out += lower_ffn(layer, tokens, ranks, dtypes, hidden, imbalance=imbalance)
    out += lower_head(model, tokens, ranks, dtypes)
    return out
