"""Readers of decoders with grouped-query attention in every layer and routed feed-forward blocks.

References
----------
transformers ``models/{mixtral,qwen2_moe,qwen3_moe,phimoe,gpt_oss}`` (``modeling_*.py``); gpt-oss: model card,
arXiv 2508.10925, section 2 (attention sinks, banded layers, biases on every projection).
"""

from __future__ import annotations

from dataclasses import replace

from dougong.catalog.hf.blocks import Frame, Heads, Routed, dense_ffn, read_experts, with_mtp_entry
from dougong.catalog.hf.dense import windows
from dougong.catalog.hf.keys import LAYERS, Keys
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe


def uniform(
    frame: Frame, heads: Heads, recipe: Recipe, *, routed: Routed, sparse: list[bool], dense_size: int,
    limits: list[int | None] | None = None, other: int | None = None, mtp_num: int = 0, bias: bool = False,
    shares: list[bool] | None = None,
) -> Body:  # fmt: skip
    """A stack whose layers differ in window, in whether they route and in whether they read another's cache.

    ``other`` counts a layer's norms. A layer that reads another's cache has no projections of keys and values.
    """
    each = 2 * frame.hidden + heads.norms if other is None else other

    def layer(path: str, window: int | None, *, routes: bool, reads: bool = False) -> Block:
        site = Site(recipe, path)
        name = "full" if window is None else "sliding"
        linears = heads.linears(site, frame.hidden)
        if reads:
            name += ", shared cache"
            linears = [linear for linear in linears if not linear.name.endswith(("k_proj", "v_proj"))]
        core = heads.core(window=window, shares_cache=reads)
        block = Block(name=name, core=core, linears=linears, other=each)
        if routes:
            routed.put(block, site, frame.hidden)
            block.name += " + experts"
        else:
            block.linears += dense_ffn(site, frame.hidden, dense_size, bias=bias)
            block.name += " + dense"
        return block

    windows_of, reads_of = limits or [None] * frame.layers, shares or [False] * frame.layers
    body = Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[
            layer(f"layers.{i}", windows_of[i], routes=sparse[i], reads=reads_of[i])
            for i in range(frame.layers)
        ],
        max_context=frame.max_context, embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip
    places = [f"layers.{frame.layers + n}" for n in range(mtp_num)]
    body.mtp = [
        with_mtp_entry(layer(place, None, routes=True), Site(recipe, place), frame.hidden) for place in places
    ]
    body.mtp_num = mtp_num
    return body


def read_mixtral(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Mixtral (every layer routes, no shared expert) and Phi-MoE (biases, layer norms)."""
    phi = family == "phimoe"
    frame = Frame.of(text, outer, max_context=131072)
    bias = phi and text.flag("attention_bias")
    heads = Heads.of(text, frame.hidden, bias=bias, out_bias=bias)
    num, top_k = read_experts(text, num=("num_local_experts",), top_k=("num_experts_per_tok",))
    size = text.count("intermediate_size")
    limits = windows(text, frame.layers)
    head_bias = phi and text.flag("lm_head_bias")
    text.check()
    stem = "block_sparse_moe"
    routed = Routed(num=num, top_k=top_k, ffn_size=size, router=f"{stem}.gate", module=f"{stem}.experts")
    body = uniform(
        frame, heads, recipe, routed=routed, sparse=[True] * frame.layers, dense_size=size, limits=limits,
        other=(4 if phi else 2) * frame.hidden,
    )  # fmt: skip
    if phi:
        body.other = 2 * frame.hidden  # layer norm: weight and bias
        body.head = frame.head(Site(recipe), bias=head_bias)
    return body


def read_qwen_moe(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Qwen2-MoE (a gated shared expert) and Qwen3-MoE (none, norms on queries and keys)."""
    second = family == "qwen2_moe"
    frame = Frame.of(text, outer, max_context=32768)
    stated = text.flag("attention_bias")
    qk_norm = "" if second else "head"
    heads = Heads.of(text, frame.hidden, bias=second or stated, out_bias=stated, qk_norm=qk_norm)
    num, top_k = read_experts(text, num=("num_experts",), top_k=("num_experts_per_tok",))
    routed = Routed(num=num, top_k=top_k, ffn_size=text.count("moe_intermediate_size"))
    if size := text.count("shared_expert_intermediate_size", default=0, low=0):
        routed = replace(routed, shared_ffn_size=size, shared_gate=True, shared="mlp.shared_expert")
    sparse, dense_size = sparse_layers(text, frame.layers)
    limits = windows(text, frame.layers)
    text.check()
    return uniform(frame, heads, recipe, routed=routed, sparse=sparse, dense_size=dense_size, limits=limits)


def sparse_layers(text: Keys, layers: int) -> tuple[list[bool], int]:
    """Which layers of a Qwen mixture route, and the width of those that do not."""
    step = text.count("decoder_sparse_step", default=1, high=LAYERS)
    dense = set(text.counts("mlp_only_layers", high=LAYERS) or ())
    sparse = [i not in dense and (i + 1) % step == 0 for i in range(layers)]
    if all(sparse):
        text.asked.add("intermediate_size")  # stated for show
        return sparse, 0
    return sparse, text.count("intermediate_size")


def read_gpt_oss(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read gpt-oss: alternating windows, a sink per head, biases on every projection, router and expert."""
    frame = Frame.of(text, outer)
    bias = text.flag("attention_bias", default=True)
    heads = Heads.of(text, frame.hidden, bias=bias, out_bias=bias)
    num, top_k = read_experts(
        text, num=("num_local_experts", "num_experts"), top_k=("num_experts_per_tok", "experts_per_token")
    )
    size = text.count("intermediate_size")
    limits = windows(text, frame.layers, full_every=2)
    text.check()
    routed = Routed(num=num, top_k=top_k, ffn_size=size, bias=True, router_bias=True, router="mlp.router")
    return uniform(
        frame, heads, recipe, routed=routed, sparse=[True] * frame.layers, dense_size=size, limits=limits,
        other=2 * frame.hidden + heads.num,
    )  # fmt: skip
