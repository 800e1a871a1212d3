"""Readers of mixtures whose windowed layers have head counts or sizes of their own, and of Llama 4.

References
----------
transformers ``models/{step3p7,mimo_v2_flash,llama4}`` (``modeling_*.py``). MTP modules: SGLang
``step3p5_mtp.py`` and ``mimo_v2_nextn.py`` (a windowed layer with a dense feed-forward block).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dougong.catalog.hf.blocks import (
    Frame,
    Heads,
    Routed,
    dense_ffn,
    listed_layers,
    read_experts,
    routed_layers,
    with_mtp_entry,
)
from dougong.catalog.hf.keys import HEADS, LAYERS, TOKENS, Keys
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe

_KINDS = ("full_attention", "sliding_attention")
Layer = Callable[[str, bool, bool], Block]


def _body(frame: Frame, recipe: Recipe, blocks: list[Block]) -> Body:
    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=blocks, max_context=frame.max_context, embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip


def _add_mtp(body: Body, frame: Frame, recipe: Recipe, layer: Layer, places: list[str]) -> None:
    body.mtp = [
        with_mtp_entry(layer(place, True, False), Site(recipe, place), frame.hidden) for place in places
    ]
    body.mtp_num = len(places)


def read_step(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Step-3.5 and Step-3.7 Flash: more heads in windowed layers, a gate per head, dense MTP modules."""
    frame = Frame.of(text, outer)
    kv = text.count("num_key_value_heads", "num_attention_groups", high=HEADS)
    full = replace(Heads.of(text, frame.hidden, qk_norm="head"), kv=kv)
    other = text.section("attention_other_setting")
    own = other.count("num_attention_heads", default=full.num, high=HEADS)
    sliding_num = text.count("num_sliding_attention_heads", default=own, high=HEADS)
    sliding = replace(full, num=sliding_num, kv=other.count("num_attention_groups", default=kv, high=HEADS))
    window = text.count("sliding_window", high=TOKENS)
    kinds = (
        text.words("layer_types", choices=_KINDS, length=frame.layers) or ["full_attention"] * frame.layers
    )
    gated = text.flag("use_head_wise_attn_gate", default=True)
    num, top_k = read_experts(
        text,
        num=("n_routed_experts", "num_experts", "moe_num_experts"),
        top_k=("num_experts_per_tok", "moe_top_k"),
    )
    shared = text.count("share_expert_dim", "share_expert_dims", default=0, low=0)
    routed = Routed(
        num=num, top_k=top_k, ffn_size=text.count("moe_intermediate_size"), shared_ffn_size=shared,
        router="moe.gate", module="moe.experts", shared="share_expert",
        correction=text.flag("use_moe_router_bias", default=True),
    )  # fmt: skip
    text.asked.add("n_shared_experts")
    sparse, dense_size = _step_layers(text, frame.layers), text.count("intermediate_size")
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.check()

    def layer(path: str, windowed: bool, routes: bool) -> Block:
        site, heads = Site(recipe, path), sliding if windowed else full
        linears = heads.linears(site, frame.hidden)
        if gated:
            name, ways = "self_attn.g_proj", heads.num
            gate = site.linear(
                name, "attention", frame.hidden, ways, shard="column", ways=ways, plain=recipe.plain
            )
            linears.append(gate)
        block = Block(
            name="sliding" if windowed else "full", core=heads.core(window=window if windowed else None),
            linears=linears, other=2 * frame.hidden + heads.norms,
        )  # fmt: skip
        return _feed(block, site, frame.hidden, routed if routes else None, dense_size)

    blocks = [layer(f"layers.{i}", kinds[i] == _KINDS[1], sparse[i]) for i in range(frame.layers)]
    body = _body(frame, recipe, blocks)
    _add_mtp(body, frame, recipe, layer, [f"layers.{frame.layers + n}" for n in range(mtp_num)])
    return body


def _step_layers(text: Keys, layers: int) -> list[bool]:
    if text.get("moe_layers_enum") is None and text.has("first_k_dense_replace", "mlp_layer_types"):
        return routed_layers(text, layers)
    return listed_layers(text, layers, otherwise=range(3, layers))


def _feed(block: Block, site: Site, hidden: int, routed: Routed | None, dense_size: int) -> Block:
    if routed is not None:
        routed.put(block, site, hidden)
        block.name += " + experts"
    else:
        block.linears += dense_ffn(site, hidden, dense_size)
        block.name += " + dense"
    return block


def read_mimo_v2(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read MiMo-V2-Flash: values narrower than keys, a sink per head where stated, windows with own heads."""
    frame = Frame.of(text, outer)
    full = replace(Heads.of(text, frame.hidden), v_dim=text.count("v_head_dim"))
    sliding = Heads(
        num=text.count("swa_num_attention_heads", default=full.num, high=HEADS),
        kv=text.count("swa_num_key_value_heads", default=full.kv, high=HEADS),
        dim=text.count("swa_head_dim", default=full.dim),
        v_dim=text.count("swa_v_head_dim", default=full.v_dim),
    )
    text.must_not("biases in attention", "attention_bias")
    window = text.count("sliding_window", "sliding_window_size", high=TOKENS)
    text.asked.update(("sliding_window_size", "attention_chunk_size"))
    pattern = text.counts("hybrid_layer_pattern", length=frame.layers, high=1) or [0] * frame.layers
    sinks = {True: text.flag("add_swa_attention_sink_bias"), False: text.flag("add_full_attention_sink_bias")}
    num, top_k = read_experts(text, num=("n_routed_experts",), top_k=("num_experts_per_tok",))
    text.must_not("a shared expert of MiMo-V2", "n_shared_experts")
    routed = Routed(num=num, top_k=top_k, ffn_size=text.count("moe_intermediate_size"), correction=True)
    sparse, dense_size = routed_layers(text, frame.layers), text.count("intermediate_size")
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.check()

    def layer(path: str, windowed: bool, routes: bool) -> Block:
        site, heads = Site(recipe, path), sliding if windowed else full
        block = Block(
            name="sliding" if windowed else "full", core=heads.core(window=window if windowed else None),
            linears=heads.linears(site, frame.hidden),
            other=2 * frame.hidden + (heads.num if sinks[windowed] else 0),
        )  # fmt: skip
        return _feed(block, site, frame.hidden, routed if routes else None, dense_size)

    blocks = [layer(f"layers.{i}", pattern[i] == 1, sparse[i]) for i in range(frame.layers)]
    body = _body(frame, recipe, blocks)
    _add_mtp(body, frame, recipe, layer, [f"mtp.layers.{n}" for n in range(mtp_num)])
    return body


def read_llama4(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Llama 4: attention in chunks except every fourth layer, a shared expert, one expert per token.

    Notes
    -----
    A chunked query sees from 1 to ``attention_chunk_size`` entries; the record prices it as a window of that
    size, which is exact in memory and an upper bound in time.
    """
    frame = Frame.of(text, outer)
    heads = Heads.of(
        text, frame.hidden, bias=text.flag("attention_bias"), out_bias=text.flag("attention_bias")
    )
    chunk = text.count("attention_chunk_size", default=8192, high=TOKENS)
    rope = text.counts("no_rope_layers", high=1) or [int((i + 1) % 4 != 0) for i in range(frame.layers)]
    step = text.count("interleave_moe_layer_step", default=1, high=LAYERS)
    moe = text.counts("moe_layers", high=LAYERS)
    num, top_k = read_experts(text, num=("num_local_experts",), top_k=("num_experts_per_tok",))
    size, dense_size = text.count("intermediate_size"), text.count("intermediate_size_mlp")
    if len(rope) != frame.layers:
        text.fault("no_rope_layers", f"{frame.layers} entries are wanted, not {len(rope)}")
    text.check()
    stem = "feed_forward"
    routed = Routed(
        num=num, top_k=top_k, ffn_size=size, shared_ffn_size=size, router=f"{stem}.router",
        module=f"{stem}.experts", shared=f"{stem}.shared_expert",
    )  # fmt: skip
    routes = set(range(step - 1, frame.layers, step)) if moe is None else set(moe)

    def layer(i: int) -> Block:
        site = Site(recipe, f"layers.{i}")
        block = Block(
            name="chunked" if rope[i] else "full", core=heads.core(window=chunk if rope[i] else None),
            linears=heads.linears(site, frame.hidden), other=2 * frame.hidden,
        )  # fmt: skip
        if i in routes:
            return _feed(block, site, frame.hidden, routed, 0)
        block.linears += dense_ffn(site, frame.hidden, dense_size, module=stem)
        block.name += " + dense"
        return block

    body = _body(frame, recipe, [layer(i) for i in range(frame.layers)])
    if any(rope):
        body.notes.append(f"attention in chunks of {chunk} tokens is priced as a window of that size")
    return body
