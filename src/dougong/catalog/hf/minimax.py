"""Readers of MiniMax M1 (lightning attention), M2 (full attention) and M3 (block-sparse attention).

References
----------
transformers ``models/{minimax,minimax_m2,minimax_m3_vl}`` (``modeling_*.py``). Lightning attention:
MiniMax-01, arXiv 2501.08313, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from dougong.catalog.hf.blocks import Frame, Heads, Routed, dense_ffn, read_experts, routed_layers
from dougong.catalog.hf.keys import HEADS, SIZE, TOKENS, Keys
from dougong.catalog.hf.linear import lightning_core
from dougong.catalog.hf.moe import uniform
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe
from dougong.catalog.models import Core

_STEM = "block_sparse_moe"


def read_minimax_m2(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read MiniMax-M2: every layer routes, norms over whole query and key rows, no shared expert."""
    frame = Frame.of(text, outer)
    qk_norm = ""
    if text.flag("use_qk_norm", default=True):
        kind = text.text("qk_norm_type", default="per_layer")
        names = {"per_layer": "all", "per_head": "head"}
        if kind not in names:
            raise text.refuse(f"qk_norm_type = {kind!r}")
        qk_norm = names[kind]
    heads = Heads.of(text, frame.hidden, qk_norm=qk_norm)
    num, top_k = read_experts(text, num=("num_local_experts",), top_k=("num_experts_per_tok",))
    size = text.count("intermediate_size")
    kinds = text.counts("attn_type_list", length=frame.layers, high=1)
    text.must_not("a shared expert of MiniMax-M2", "shared_intermediate_size")
    text.asked.update(("mlp_intermediate_size", "mtp_transformer_layers"))
    modules = text.count("num_mtp_modules", default=0, low=0, high=100) if text.flag("use_mtp") else 0
    text.check()
    if kinds is not None and not all(kinds):
        raise text.refuse("linear attention layers in MiniMax-M2 (attn_type_list)")
    routed = Routed(
        num=num, top_k=top_k, ffn_size=size, router=f"{_STEM}.gate", module=f"{_STEM}.experts",
        correction=text.flag("use_routing_bias", default=True),
    )  # fmt: skip
    body = uniform(frame, heads, recipe, routed=routed, sparse=[True] * frame.layers, dense_size=0)
    if modules:
        body.absent.append(f"{modules} MTP modules (stated, their weights are not published)")
    return body


def read_minimax_m1(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read MiniMax-Text-01 and M1: seven lightning layers to one full layer, every layer routes."""
    frame = Frame.of(text, outer)
    heads = Heads.of(text, frame.hidden)
    kinds = text.counts("attn_type_list", length=frame.layers, high=1)
    if kinds is None:
        text.fault("attn_type_list", "is missing")
    num, top_k = read_experts(text, num=("num_local_experts",), top_k=("num_experts_per_tok",))
    size = text.count("intermediate_size")
    text.must_not("a shared expert of MiniMax-M1", "shared_intermediate_size")
    text.check()
    routed = Routed(num=num, top_k=top_k, ffn_size=size, router=f"{_STEM}.gate", module=f"{_STEM}.experts")
    rows = heads.num * heads.dim

    def layer(i: int, full: int) -> Block:
        site, hidden = Site(recipe, f"layers.{i}"), frame.hidden
        if full:
            linears = heads.linears(site, hidden)
            block = Block(name="full + experts", core=heads.core(), linears=linears, other=2 * hidden)
        else:
            block = Block(
                name="lightning + experts", core=lightning_core(heads.num, heads.dim), other=2 * hidden + rows
            )
            block.linears = [
                site.linear(
                    "self_attn.qkv_proj", "attention", hidden, 3 * rows, shard="column", ways=heads.num
                ),
                site.linear(
                    "self_attn.output_gate", "attention", hidden, rows, shard="column", ways=heads.num
                ),
                site.linear("self_attn.out_proj", "attention", rows, hidden, shard="row", ways=heads.num),
            ]
        routed.put(block, site, hidden)
        return block

    return _body(frame, recipe, [layer(i, full) for i, full in enumerate(kinds or ())])


def _body(frame: Frame, recipe: Recipe, blocks: Sequence[Block]) -> Body:
    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=blocks, max_context=frame.max_context, embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip


def read_minimax_m3(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read MiniMax-M3: an index key per token picks blocks of entries for grouped-query attention.

    Notes
    -----
    ``sparse_topk_blocks`` blocks of ``sparse_block_size`` entries are read per query; the local block is one
    of them. Scores of the indexer are taken per entry and their maximum per block.
    """
    frame = Frame.of(text, outer)
    if (
        not text.flag("use_qk_norm", default=True)
        or text.text("qk_norm_type", default="per_head") != "per_head"
    ):
        raise text.refuse("attention without a norm per head in MiniMax-M3")
    text.must_not("an output gate in attention", "attention_output_gate")
    heads = Heads.of(text, frame.hidden, qk_norm="head")
    sparse = text.section("sparse_attention_config")
    on = sparse.flag("use_sparse_attention", default=True)
    where = sparse.counts("sparse_attention_freq", length=frame.layers, high=1)
    index_heads, index_dim = (
        sparse.count("sparse_num_index_heads", high=HEADS),
        sparse.count("sparse_index_dim"),
    )
    top_k = sparse.count("sparse_topk_blocks", high=TOKENS) * sparse.count("sparse_block_size", high=TOKENS)
    values = sparse.counts("sparse_disable_index_value", length=frame.layers, high=1)
    num, experts_per_token = read_experts(text, num=("num_local_experts",), top_k=("num_experts_per_tok",))
    size = text.count("moe_intermediate_size", "intermediate_size")
    text.asked.update(
        ("intermediate_size", "shared_intermediate_size", "n_shared_experts", "num_nextn_predict_layers")
    )
    shared = text.count("n_shared_experts", default=0, low=0, high=1000)
    width = text.count("shared_intermediate_size", default=size, low=0, high=SIZE) * shared
    routes = routed_layers(text, frame.layers)
    dense_size = text.count("dense_intermediate_size")
    modules = text.count("num_mtp_modules", default=0, low=0, high=100)
    text.check()
    chosen = where if on and where is not None else [0] * frame.layers
    if values is not None and any(index and not off for index, off in zip(chosen, values, strict=True)):
        raise text.refuse("index values in sparse attention (sparse_disable_index_value = 0)")
    routed = Routed(
        num=num, top_k=experts_per_token, ffn_size=size, shared_ffn_size=width, router=f"{_STEM}.gate",
        module=f"{_STEM}.experts", shared=f"{_STEM}.shared_experts", correction=text.flag("use_routing_bias"),
    )  # fmt: skip
    indexed = Core(
        kind="full", num_heads=heads.num, num_kv_heads=heads.kv, qk_dim=heads.dim, v_dim=heads.v_dim,
        top_k=top_k, index_heads=index_heads, index_dim=index_dim, index_bytes_per_value=2.0,
    )  # fmt: skip

    def layer(i: int) -> Block:
        site, hidden = Site(recipe, f"layers.{i}"), frame.hidden
        block = Block(name="sparse" if chosen[i] else "full", core=indexed if chosen[i] else heads.core())
        block.linears, block.other = heads.linears(site, hidden), 2 * hidden + heads.norms
        if chosen[i]:
            block.linears += [
                site.linear("self_attn.index_q_proj", "indexer", hidden, index_heads * index_dim),
                site.linear("self_attn.index_k_proj", "indexer", hidden, index_dim),
            ]
            block.other += 2 * index_dim
        if routes[i]:
            routed.put(block, site, hidden)
            block.name += " + experts"
        else:
            block.linears += dense_ffn(site, hidden, dense_size)
            block.name += " + dense"
        return block

    body = _body(frame, recipe, [layer(i) for i in range(frame.layers)])
    if modules:
        body.absent.append(f"{modules} MTP modules (stated, their weights are not published)")
    return body
