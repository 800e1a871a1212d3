"""The attention half of a layer on one device.

References
----------
MLA, naive and absorbed: DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix B.
Sparse attention with an indexer: DeepSeek-V3.2-Exp report, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator

from dougong.catalog.models import Core, Layer, Linear
from dougong.ops.cache import attended, attended_in_prefill, entry_bytes, state_bytes
from dougong.ops.matrices import elementwise, fused, gemm, joint_gemm, split_ways
from dougong.ops.operators import Collective, Compute, Number, Operator
from dougong.ops.shapes import Dtypes, Ranks, Tokens, bytes_of, least


def lower_attention(
    layer: Layer,
    tokens: Tokens,
    ranks: Ranks,
    dtypes: Dtypes,
    hidden_size: int,
    *,
    decode: bool,
    prefill: bool,
) -> Iterator[Operator]:
    """Attention half of one layer kind: projections, core, output all-reduce, norms.

    Yields operators on one device; ``layer.count`` layers each.
    """
    # Context parallelism shares prompt tokens among its ranks; decode queries are on every rank.
    t = tokens.decode_tokens + tokens.prefill_tokens / ranks.cp
    core = layer.core
    mine = [linear for linear in layer.linears if linear.group in ("attention", "indexer")]
    for together in fused(mine):
        linear = together[0]
        if linear.absorbed and core.kind == "mla":
            if prefill:
                yield gemm(linear, layer.count, tokens.prefill_tokens / ranks.cp, ranks.tp, dtypes)
            if decode:
                yield absorbed(linear, layer, tokens.decode_tokens, ranks.tp, dtypes)
            continue
        yield joint_gemm(together, layer.count, t, ranks.tp, dtypes)
    if core.kind != "none":
        if decode:
            yield from decode_core(core, layer, tokens, ranks, dtypes)
        if prefill:
            yield from prefill_core(core, layer, tokens, ranks, dtypes)
        if decode and core.kind not in ("linear", "none"):
            # Partial outputs of context-parallel ranks are merged by their softmax weights (4-byte accumulators).
            yield Collective(
                name="merge_context",
                group="attention",
                kind="all_gather",
                count=layer.count,
                bytes_out=tokens.decode_tokens
                * core.num_heads
                / ranks.tp
                * (core.v_dim or core.latent_dim)
                * 4.0,
                ranks=ranks.cp,
                stride=ranks.tp,
            )
        if prefill and core.kind not in ("linear", "none"):
            yield Collective(
                name="share_context",
                group="attention",
                kind="all_gather",
                count=layer.count,
                bytes_out=tokens.prefill_tokens / ranks.cp * entry_bytes(core, dtypes.kv, ranks.tp),
                ranks=ranks.cp,
                stride=ranks.tp,
            )
        yield Collective(
            name="attention_all_reduce",
            group="attention",
            kind="all_reduce",
            count=layer.count,
            bytes_out=t * hidden_size * bytes_of(dtypes.activation),
            ranks=ranks.tp,
        )
    # Add-and-norm twice, rotary with the cache write, activation. Routing adds choice, count, sort, gather, two
    # quantisations, weighted sum and the shared expert's addition.
    kernels = 4.0 if layer.experts is None else 12.0
    yield elementwise("norms", "other", layer.count, t, hidden_size, kernels)


def decode_core(core: Core, layer: Layer, tokens: Tokens, ranks: Ranks, dtypes: Dtypes) -> Iterator[Operator]:
    """Decode queries against the cache or the state, and the scores of an indexer."""
    b, q = tokens.decode_sequences, tokens.queries
    entries = attended(core, tokens.context) / ranks.cp
    heads = core.num_heads / least(ranks.tp, float(max(core.num_heads, 1)))
    if core.kind == "linear":
        yield Compute(
            name="state_update",
            group="attention",
            kind="linear_attention",
            count=layer.count,
            flop=b * q * core.flop_per_token / least(ranks.tp, float(max(core.num_heads, 1))),
            weight_bytes=0.0,
            io_bytes=2.0 * b * state_bytes(core, dtypes.kv, ranks.tp),
            dtype=dtypes.attention,
            parallel=b * heads,
        )
        return
    if core.kind == "mla":
        per_entry = 2.0 * heads * (2 * core.latent_dim + core.rope_dim)
        main_bytes = core.bytes_of_values(core.entry_values, bytes_of(dtypes.kv))
    else:
        per_entry = 2.0 * heads * (core.qk_dim + core.v_dim)
        values = core.num_kv_heads * (core.qk_dim if core.shared_kv else core.qk_dim + core.v_dim)
        width = core.bytes_of_values(values, bytes_of(dtypes.kv))
        main_bytes = width / least(ranks.tp, float(max(core.num_kv_heads, 1)))
    yield Compute(
        name="decode_attention",
        group="attention",
        kind="decode_attention",
        count=layer.count,
        flop=b * q * entries * per_entry,
        weight_bytes=0.0,
        io_bytes=b * entries * main_bytes,
        dtype=dtypes.attention,
        m=q,
        n=entries,
        k=float(core.qk_dim or core.latent_dim),
        parallel=b * heads,
        latent=core.kind == "mla",
        sparse=core.top_k is not None,
    )
    if core.top_k is not None and core.index_heads:
        scored = tokens.context / core.compress / ranks.cp
        yield Compute(
            name="index_scores",
            group="indexer",
            kind="decode_attention",
            count=layer.count,
            flop=b * q * scored * 2.0 * core.index_heads * core.index_dim,
            weight_bytes=0.0,
            io_bytes=b * scored * core.index_dim * core.index_bytes_per_value,
            dtype=dtypes.attention,
            m=q,
            n=scored,
            k=float(core.index_dim),
            parallel=b * core.index_heads,
        )


def prefill_core(
    core: Core, layer: Layer, tokens: Tokens, ranks: Ranks, dtypes: Dtypes
) -> Iterator[Operator]:
    """Prompt tokens against what stands before them, and the scores of an indexer."""
    p = tokens.prefill_tokens / ranks.cp
    heads = core.num_heads / least(ranks.tp, float(max(core.num_heads, 1)))
    if core.kind == "linear":
        yield Compute(
            name="state_scan",
            group="attention",
            kind="linear_attention",
            count=layer.count,
            flop=p * core.flop_per_token / least(ranks.tp, float(max(core.num_heads, 1))),
            weight_bytes=0.0,
            io_bytes=p * heads * (core.qk_dim * 2 + core.v_dim * 2) * bytes_of("bf16"),
            dtype=dtypes.attention,
            parallel=heads * p / 64.0,
        )
        return
    # A causal prompt's mean context is half its longest; a cached prefix shifts both.
    longest = tokens.prefill_context * 2.0
    entries = attended_in_prefill(core, tokens.prefill_context, longest)
    row = heads * (core.qk_dim + core.v_dim)
    yield Compute(
        name="prefill_attention",
        group="attention",
        kind="prefill_attention",
        count=layer.count,
        flop=p * entries * 2.0 * row,
        weight_bytes=0.0,
        io_bytes=2.0 * p * row * bytes_of("bf16"),
        dtype=dtypes.attention,
        m=p,
        n=entries,
        k=float(core.qk_dim),
        parallel=heads * p / 128.0,
    )
    if core.top_k is not None and core.index_heads:
        yield Compute(
            name="index_scores_prefill",
            group="indexer",
            kind="prefill_attention",
            count=layer.count,
            flop=p * tokens.prefill_context / core.compress * 2.0 * core.index_heads * core.index_dim,
            weight_bytes=0.0,
            io_bytes=p * core.index_heads * core.index_dim,
            dtype=dtypes.attention,
            m=p,
            n=tokens.prefill_context,
            k=float(core.index_dim),
            parallel=core.index_heads * p / 128.0,
        )


def absorbed(linear: Linear, layer: Layer, tokens: Number, tp: Number, dtypes: Dtypes) -> Compute:
    """Keys' and values' up-projections applied per head to queries and latents: same weights, batched by head."""
    ways = split_ways(linear, tp)
    values = linear.inputs * linear.outputs * linear.copies / ways
    heads = layer.core.num_heads / ways
    return Compute(
        name=f"{linear.name}_absorbed",
        group=linear.group,
        kind="gemm",
        count=layer.count,
        flop=2.0 * tokens * values,
        weight_bytes=values * bytes_of("bf16"),
        io_bytes=tokens
        * heads
        * (layer.core.qk_dim + 2 * layer.core.latent_dim + layer.core.v_dim)
        * bytes_of("bf16"),
        dtype=dtypes.compute["bf16"],
        m=tokens,
        n=float(layer.core.latent_dim) * heads,
        k=float(layer.core.v_dim),
    )
