"""Lowering of (model, layout, step) to operators on one device.

Notes
-----
Axes: ``T`` tokens of one attention group in this step, ``b`` decode sequences of that group, ``q`` query tokens
per decode sequence (1 + draft tokens), ``P`` prefill tokens. Devices: an attention group is ``tp x cp`` devices;
``attn_dp`` groups share one set of experts spread over ``ep x expert_tp = tp x cp x attn_dp`` devices.

References
----------
MLA, naive and absorbed: DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix B.
Sparse attention with an indexer: DeepSeek-V3.2-Exp report, section 2.
Expert dispatch and combine: DeepSeek-V3, arXiv 2412.19437, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dougong.catalog.models import DTYPE_BITS, Core, Experts, Layer, Linear, Model
from dougong.ops.operators import Collective, Compute, Number, Operator

ELEMENTWISE_PASSES = 10.0
"""Times the residual row is read or written per layer by norms, rotary, activation and quantisation kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Parallel degrees, in devices; each a number or an array."""

    tp: Number
    cp: Number
    attn_dp: Number
    ep: Number
    expert_tp: Number

    @property
    def width(self) -> Number:
        """Devices of one pipeline stage of a replica."""
        return self.tp * self.cp * self.attn_dp


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What one step carries, per attention group.

    Attributes
    ----------
    decode_sequences
        Sequences that decode [sequence].
    queries
        Query tokens per decode sequence: 1 + draft tokens.
    context
        Cached tokens a decode sequence sees, mean over the batch [token].
    prefill_tokens
        Prompt tokens computed in this step [token].
    prefill_context
        Mean tokens a prompt token attends to [token].
    prefill_sequences
        Prompts (or last chunks of prompts) in the step [sequence].
    """

    decode_sequences: Number = 0.0
    queries: Number = 1.0
    context: Number = 0.0
    prefill_tokens: Number = 0.0
    prefill_context: Number = 0.0
    prefill_sequences: Number = 0.0

    @property
    def decode_tokens(self) -> Number:
        """Query tokens of decoding sequences."""
        return self.decode_sequences * self.queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtypes:
    """How stored dtypes compute on this chip, and what travels in which dtype."""

    compute: dict[str, str]  # stored dtype of a matrix -> dtype of the multiplication
    kv: str = "bf16"
    attention: str = "bf16"
    activation: str = "bf16"
    dispatch: str = "bf16"
    combine: str = "bf16"


def _bytes(dtype: str) -> float:
    return DTYPE_BITS[dtype] / 8


def _least(a: Number, b: Number) -> Number:
    # min(a, b) for floats and arrays alike, without naming an array library
    return (a + b - abs(a - b)) / 2


def _most(a: Number, b: Number) -> Number:
    return (a + b + abs(a - b)) / 2


def split_ways(linear: Linear, tp: Number) -> Number:
    """How many ranks really share a matrix; the rest hold copies."""
    if linear.shard == "none":
        return 1.0
    return _least(tp, float(linear.ways))


def _gemm(linear: Linear, count: float, tokens: Number, tp: Number, dtypes: Dtypes) -> Compute:
    ways = split_ways(linear, tp)
    values = linear.copies * linear.inputs * linear.outputs / ways
    rows_in, rows_out = (
        (linear.inputs / ways, linear.outputs)
        if linear.shard == "row"
        else (linear.inputs, linear.outputs / ways)
    )
    return Compute(
        name=linear.name,
        group=linear.group,
        kind="gemm",
        count=count,
        flop=2.0 * tokens * values,
        weight_bytes=values * _bytes(linear.dtype),
        io_bytes=tokens * linear.copies * (rows_in + rows_out) * _bytes(dtypes.activation),
        dtype=dtypes.compute[linear.dtype],
        m=tokens,
        n=rows_out,
        k=rows_in,
    )


def attended(core: Core, context: Number) -> Number:
    """Cached entries one decode query reads in the main attention [entry]."""
    entries = context
    if core.compress > 1:
        entries = context / core.compress
    if core.top_k is not None:
        entries = _least(entries, float(core.top_k))
    if core.window is not None:
        entries = _least(entries, float(core.window))
    if core.local_window:
        entries = entries + _least(context, float(core.local_window))
    return entries


def _attended_in_prefill(core: Core, mean_context: Number, longest: Number) -> Number:
    # Mean over query positions of min(position, limit): exact for a causal ramp up to `longest`.
    limit = core.window if core.window is not None else core.top_k
    entries, reach = mean_context / core.compress, longest / core.compress
    if limit is not None:
        short = _least(reach, float(limit))
        ramp = short * (reach - short / 2) / _most(reach, 1.0)
        entries = _least(entries, ramp)
    if core.local_window:
        entries = entries + _least(mean_context, float(core.local_window))
    return entries


def cached_entries(core: Core, context: Number) -> Number:
    """Entries one sequence of ``context`` tokens keeps [entry]."""
    if core.kind in ("linear", "none") or core.shares_cache:
        return context * 0.0
    entries = context / core.compress if core.compress > 1 else context
    if core.window is not None and core.top_k is None:
        entries = _least(entries, float(core.window))
    if core.local_window:
        entries = entries + _least(context, float(core.local_window))
    return entries


def entry_bytes(core: Core, kv_dtype: str, tp: Number) -> Number:
    """Bytes of one cache entry on one device, index key included [byte]."""
    ways = 1.0 if core.kind == "mla" else _least(tp, float(max(core.num_kv_heads, 1)))
    main = core.entry_values * _bytes(kv_dtype) / ways
    index = core.index_dim * core.index_bytes_per_value if core.top_k is not None else 0.0
    return main + index


def state_bytes(core: Core, kv_dtype: str, tp: Number) -> Number:
    """Bytes of recurrent and convolution state of one sequence on one device [byte]."""
    if core.kind != "linear":
        return tp * 0.0
    ways = _least(tp, float(max(core.num_heads, 1)))
    return (core.state_values * _bytes(core.state_dtype) + core.conv_values * _bytes("bf16")) / ways


def _decode_core(
    core: Core, layer: Layer, tokens: Tokens, ranks: Ranks, dtypes: Dtypes
) -> Iterator[Operator]:
    b, q = tokens.decode_sequences, tokens.queries
    entries = attended(core, tokens.context) / ranks.cp
    heads = core.num_heads / _least(ranks.tp, float(max(core.num_heads, 1)))
    if core.kind == "linear":
        yield Compute(
            name="state_update", group="attention", kind="linear_attention", count=layer.count,
            flop=b * q * core.flop_per_token / _least(ranks.tp, float(max(core.num_heads, 1))),
            weight_bytes=0.0, io_bytes=2.0 * b * state_bytes(core, dtypes.kv, ranks.tp), dtype="bf16",
            parallel=b * heads,
        )  # fmt: skip
        return
    if core.kind == "mla":
        per_entry = 2.0 * heads * (2 * core.latent_dim + core.rope_dim)
        main_bytes = core.entry_values * _bytes(dtypes.kv)
    else:
        per_entry = 2.0 * heads * (core.qk_dim + core.v_dim)
        values = core.num_kv_heads * (core.qk_dim if core.shared_kv else core.qk_dim + core.v_dim)
        main_bytes = values * _bytes(dtypes.kv) / _least(ranks.tp, float(max(core.num_kv_heads, 1)))
    yield Compute(
        name="decode_attention", group="attention", kind="decode_attention", count=layer.count,
        flop=b * q * entries * per_entry, weight_bytes=0.0, io_bytes=b * entries * main_bytes,
        dtype=dtypes.attention, m=q, n=entries, k=float(core.qk_dim or core.latent_dim), parallel=b * heads,
        latent=core.kind == "mla", sparse=core.top_k is not None,
    )  # fmt: skip
    if core.top_k is not None and core.index_heads:
        scored = tokens.context / core.compress / ranks.cp
        yield Compute(
            name="index_scores", group="indexer", kind="decode_attention", count=layer.count,
            flop=b * q * scored * 2.0 * core.index_heads * core.index_dim, weight_bytes=0.0,
            io_bytes=b * scored * core.index_dim * core.index_bytes_per_value, dtype=dtypes.attention,
            m=q, n=scored, k=float(core.index_dim), parallel=b * core.index_heads,
        )  # fmt: skip


def _prefill_core(
    core: Core, layer: Layer, tokens: Tokens, ranks: Ranks, dtypes: Dtypes
) -> Iterator[Operator]:
    p = tokens.prefill_tokens / ranks.cp
    heads = core.num_heads / _least(ranks.tp, float(max(core.num_heads, 1)))
    if core.kind == "linear":
        yield Compute(
            name="state_scan", group="attention", kind="linear_attention", count=layer.count,
            flop=p * core.flop_per_token / _least(ranks.tp, float(max(core.num_heads, 1))),
            weight_bytes=0.0, io_bytes=p * heads * (core.qk_dim * 2 + core.v_dim * 2) * _bytes("bf16"), dtype="bf16",
            parallel=heads * p / 64.0,
        )  # fmt: skip
        return
    # A causal prompt's mean context is half its longest; a cached prefix shifts both.
    longest = tokens.prefill_context * 2.0
    entries = _attended_in_prefill(core, tokens.prefill_context, longest)
    row = heads * (core.qk_dim + core.v_dim)
    yield Compute(
        name="prefill_attention", group="attention", kind="prefill_attention", count=layer.count,
        flop=p * entries * 2.0 * row, weight_bytes=0.0, io_bytes=2.0 * p * row * _bytes("bf16"),
        dtype=dtypes.attention, m=p, n=entries, k=float(core.qk_dim), parallel=heads * p / 128.0,
    )  # fmt: skip
    if core.top_k is not None and core.index_heads:
        yield Compute(
            name="index_scores_prefill", group="indexer", kind="prefill_attention", count=layer.count,
            flop=p * tokens.prefill_context / core.compress * 2.0 * core.index_heads * core.index_dim,
            weight_bytes=0.0, io_bytes=p * core.index_heads * core.index_dim, dtype=dtypes.attention,
            m=p, n=tokens.prefill_context, k=float(core.index_dim), parallel=core.index_heads * p / 128.0,
        )  # fmt: skip


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
    for linear in layer.linears:
        if linear.group not in ("attention", "indexer"):
            continue
        if linear.absorbed and core.kind == "mla":
            if prefill:
                yield _gemm(linear, layer.count, tokens.prefill_tokens / ranks.cp, ranks.tp, dtypes)
            if decode:
                yield _absorbed(linear, layer, tokens.decode_tokens, ranks.tp, dtypes)
            continue
        yield _gemm(linear, layer.count, t, ranks.tp, dtypes)
    if core.kind != "none":
        if decode:
            yield from _decode_core(core, layer, tokens, ranks, dtypes)
        if prefill:
            yield from _prefill_core(core, layer, tokens, ranks, dtypes)
        if decode and core.kind not in ("linear", "none"):
            # Partial outputs of context-parallel ranks are merged by their softmax weights (4-byte accumulators).
            yield Collective(
                name="merge_context", group="attention", kind="all_gather", count=layer.count,
                bytes_out=tokens.decode_tokens * core.num_heads / ranks.tp * (core.v_dim or core.latent_dim) * 4.0,
                ranks=ranks.cp, stride=ranks.tp,
            )  # fmt: skip
        if prefill and core.kind not in ("linear", "none"):
            yield Collective(
                name="share_context", group="attention", kind="all_gather", count=layer.count,
                bytes_out=tokens.prefill_tokens / ranks.cp * entry_bytes(core, dtypes.kv, ranks.tp),
                ranks=ranks.cp, stride=ranks.tp,
            )  # fmt: skip
        yield Collective(
            name="attention_all_reduce", group="attention", kind="all_reduce", count=layer.count,
            bytes_out=t * hidden_size * _bytes(dtypes.activation), ranks=ranks.tp,
        )  # fmt: skip
    # Add-and-norm twice, rotary with the cache write, activation; routing adds gate, sort and weighted sum.
    yield _elementwise("norms", "other", layer.count, t, hidden_size, 4.0 if layer.experts is None else 7.0)


def _absorbed(linear: Linear, layer: Layer, tokens: Number, tp: Number, dtypes: Dtypes) -> Compute:
    # Keys' and values' up-projections applied per head to queries and latents: same weights, batched by head.
    ways = split_ways(linear, tp)
    values = linear.inputs * linear.outputs * linear.copies / ways
    heads = layer.core.num_heads / ways
    return Compute(
        name=f"{linear.name}_absorbed", group=linear.group, kind="gemm", count=layer.count,
        flop=2.0 * tokens * values, weight_bytes=values * _bytes("bf16"),
        io_bytes=tokens * heads * (layer.core.qk_dim + 2 * layer.core.latent_dim + layer.core.v_dim) * _bytes("bf16"),
        dtype=dtypes.compute["bf16"], m=tokens, n=float(layer.core.latent_dim) * heads, k=float(layer.core.v_dim),
    )  # fmt: skip


def _elementwise(
    name: str, group: str, count: float, tokens: Number, hidden_size: int, kernels: float
) -> Compute:
    return Compute(
        name=name, group=group, kind="elementwise", count=count, flop=tokens * 0.0, weight_bytes=0.0,
        io_bytes=tokens * hidden_size * 2.0 * ELEMENTWISE_PASSES, m=tokens, groups=kernels,
    )  # fmt: skip


def _busiest(mean: Number, devices: Number, most: Number) -> Number:
    # Expected maximum over devices of a binomial of mean `mean`, at most `most`. The factor is that of `devices`
    # standard normals, 0 for one and within 4 % of the exact 1.54 for ten and 3.24 for a thousand.
    spread = 4.2 * (1.0 - devices**-0.19)
    return _least(mean + spread * (mean * (1.0 - _least(mean / most, 1.0 + 0.0 * mean))) ** 0.5, most)


def active_experts(experts: Experts, tokens: Number, skew: float) -> Number:
    """Share of the experts that at least one of ``tokens`` tokens visits.

    Notes
    -----
    Uniform routing gives ``1 - (1 - top_k / num) ** tokens``; ``skew`` > 1 thins the effective draws.
    """
    return 1.0 - (1.0 - experts.top_k / experts.num) ** (tokens / skew)


def lower_ffn(
    layer: Layer, tokens: Tokens, ranks: Ranks, dtypes: Dtypes, hidden_size: int, *,
    decode: bool, prefill: bool, imbalance: Number = 1.0, routing_skew: float = 1.0,
) -> Iterator[Operator]:  # fmt: skip
    """Feed-forward half of one layer kind: dense or shared matrices, routed experts and their exchange.

    Parameters
    ----------
    imbalance
        Load of the busiest device over the mean, at least 1 [1].
    routing_skew
        How concentrated the routing of one batch is; 1 is uniform [1].
    """
    t = tokens.decode_tokens + tokens.prefill_tokens / ranks.cp
    activation = _bytes(dtypes.activation)
    dense = [linear for linear in layer.linears if linear.group in ("dense_ffn", "shared_expert", "router")]
    for linear in dense:
        yield _gemm(linear, layer.count, t, ranks.tp, dtypes)
    experts = layer.experts
    if experts is None:
        if dense:
            yield Collective(
                name="ffn_all_reduce", group="dense_ffn", kind="all_reduce", count=layer.count,
                bytes_out=t * hidden_size * activation, ranks=ranks.tp,
            )  # fmt: skip
        return
    # Every token of every attention group is routed; a device sees its experts' share.
    everyone = (tokens.decode_tokens + tokens.prefill_tokens) * ranks.attn_dp
    held = experts.num / ranks.ep
    slots = _most(held, 1.0)
    # All wait for the busiest device: popular experts raise its mean load, chance adds to that.
    visits = _busiest(everyone * experts.top_k / ranks.ep * imbalance, ranks.ep, everyone * experts.top_k)
    read = _busiest(slots * active_experts(experts, everyone, routing_skew), ranks.ep, slots)
    width = experts.ffn_size / ranks.expert_tp
    weights = experts.matrices * experts.inputs * width
    for name, share, n, k in (
        (
            "experts_up",
            (experts.matrices - 1) / experts.matrices,
            width * (experts.matrices - 1),
            float(experts.inputs),
        ),
        ("experts_down", 1 / experts.matrices, float(experts.inputs), width),
    ):
        yield Compute(
            name=name, group="experts", kind="grouped_gemm", count=layer.count,
            flop=2.0 * visits * weights * share, weight_bytes=read * weights * share * _bytes(experts.dtype),
            io_bytes=visits * (n + k) * activation, dtype=dtypes.compute[experts.dtype],
            m=visits / _most(read, 1e-9), n=n, k=k, groups=read,
        )  # fmt: skip
    yield from _expert_exchange(layer, experts, everyone, ranks, dtypes)


def _expert_exchange(
    layer: Layer, experts: Experts, everyone: Number, ranks: Ranks, dtypes: Dtypes
) -> Iterator[Operator]:
    # With one attention group all ranks hold all tokens: only the partial sums are reduced.
    # With several, each device routes its share of tokens out and takes results back.
    shared = 1.0 * (ranks.attn_dp > 1.5)
    row = experts.inputs
    yield Collective(
        name="experts_all_reduce", group="experts", kind="all_reduce", count=layer.count,
        bytes_out=everyone * row * _bytes(dtypes.activation), ranks=1.0 + (ranks.width - 1.0) * (1.0 - shared),
    )  # fmt: skip
    own = everyone / ranks.width  # tokens a device sends; tensor-parallel ranks share their group's tokens
    copies = _least(float(experts.top_k) + 0.0 * ranks.ep, ranks.ep * 1.0)
    for name, dtype in (("dispatch", dtypes.dispatch), ("combine", dtypes.combine)):
        yield Collective(
            name=name, group="experts", kind="all_to_all", count=layer.count,
            bytes_out=own * copies * ranks.expert_tp * row * _bytes(dtype),
            ranks=1.0 + (ranks.width - 1.0) * shared,
        )  # fmt: skip


def lower_head(model: Model, tokens: Tokens, ranks: Ranks, dtypes: Dtypes) -> Iterator[Operator]:
    """Output head of the sequences that sample in this step, and the gathering of logits."""
    sampled = tokens.decode_tokens + tokens.prefill_sequences
    yield _gemm(model.head, 1.0, sampled, ranks.tp, dtypes)
    yield Collective(
        name="gather_logits", group="head", kind="all_gather", count=1.0,
        bytes_out=sampled * model.vocab_size * 2.0 / ranks.tp, ranks=ranks.tp,
    )  # fmt: skip


def lower(
    model: Model, tokens: Tokens, ranks: Ranks, dtypes: Dtypes, *,
    decode: bool, prefill: bool, imbalance: Number = 1.0, routing_skew: float = 1.0,
) -> list[Operator]:  # fmt: skip
    """Every operator of one step of the whole model on one device, in order of execution."""
    flags = {"decode": decode, "prefill": prefill}
    out: list[Operator] = []
    for layer in model.layers:
        out += lower_attention(layer, tokens, ranks, dtypes, model.hidden_size, **flags)
        out += lower_ffn(
            layer,
            tokens,
            ranks,
            dtypes,
            model.hidden_size,
            imbalance=imbalance,
            routing_skew=routing_skew,
            **flags,
        )
    out += lower_head(model, tokens, ranks, dtypes)
    return out
