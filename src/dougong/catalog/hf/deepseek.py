"""Readers of DeepSeek-V2, V3, V3.2 and their descendants: latent attention, a shared expert, DSA, MTP.

References
----------
DeepSeek-V2, arXiv 2405.04434, section 2.1; DeepSeek-V3, arXiv 2412.19437, sections 2.1 and 2.2 (MTP).
DSA indexer: DeepSeek-V3.2-Exp, ``inference/model.py`` (``Indexer``); transformers ``models/deepseek_v32`` and
``models/glm_moe_dsa`` (``index_topk_freq``, ``indexer_types``: layers that reuse another layer's choice).
Cache rows of sparse attention in FP8: FlashMLA README, 656 bytes = 512 values + 16 of scales + 64 in BF16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dougong.catalog.hf.blocks import (
    Frame,
    Latent,
    Routed,
    dense_ffn,
    read_experts,
    routed_layers,
    with_mtp_entry,
)
from dougong.catalog.hf.keys import HEADS, LAYERS, TOKENS, Keys
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe

_INDEX_BYTES = 132 / 128
"""Bytes per value of an index key: FP8 with one 4-byte scale per 128 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a descendant changes."""

    correction: bool = True  # a bias per expert that steers the choice, none in V2
    indexer: bool = False


LINEAGES: Mapping[str, Lineage] = {
    "deepseek_v2": Lineage(correction=False),
    "deepseek_v3": Lineage(),
    "kimi_k2": Lineage(),
    "glm4_moe_lite": Lineage(),
    "deepseek_v32": Lineage(indexer=True),
    "glm_moe_dsa": Lineage(indexer=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """Shape of the lightning indexer and the layers that have one of their own."""

    heads: int
    dim: int
    top_k: int
    own: tuple[bool, ...]

    @classmethod
    def of(cls, text: Keys, layers: int) -> Indexer:
        """Read ``index_*``; layers marked ``shared`` reuse the choice of the layer before."""
        heads, dim = text.count("index_n_heads", high=HEADS), text.count("index_head_dim")
        top_k = text.count("index_topk", high=TOKENS)
        text.words("layer_types", choices=("deepseek_sparse_attention",), length=layers)
        kinds = text.words("indexer_types", choices=("full", "shared"), length=layers)
        if kinds is None and text.count("index_topk_freq", default=1, high=LAYERS) > 1:
            raise text.refuse("index_topk_freq without indexer_types")
        text.asked.update(("index_topk_freq", "index_skip_topk_offset"))
        own = tuple(kind == "full" for kind in kinds) if kinds is not None else (True,) * layers
        return cls(heads=heads, dim=dim, top_k=top_k, own=own)

    def put(self, block: Block, site: Site, hidden: int, q_rank: int) -> None:
        """Add the indexer's projections; queries are made for every head, one key per token."""
        block.linears += [
            site.linear("self_attn.indexer.wq_b", "indexer", q_rank, self.heads * self.dim),
            site.linear("self_attn.indexer.wk", "indexer", hidden, self.dim),
            site.linear(
                "self_attn.indexer.weights_proj", "indexer", hidden, self.heads, plain=site.recipe.plain
            ),
        ]
        block.other += 2 * self.dim  # a layer norm with bias on the key


def read(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read a model of one of :data:`LINEAGES`."""
    lineage = LINEAGES[family]
    frame = Frame.of(text, outer)
    latent = Latent.of(text, bias=text.flag("attention_bias"))
    ffn = text.count("intermediate_size")
    moe = routed_layers(text, frame.layers)
    routed = _routed(text, lineage)
    indexer = Indexer.of(text, frame.layers) if lineage.indexer else None
    if indexer is not None and latent.q_rank is None:
        text.fault("q_lora_rank", "is missing, and the indexer makes its queries from it")
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.must_not("a layer kind this reader does not know", "use_mla_attn_sink")
    text.check()

    def layer(i: int, path: str, *, sparse: bool) -> Block:
        site = Site(recipe, path)
        block = Block(name="mla", core=latent.core(), linears=latent.linears(site, frame.hidden))
        block.other = 2 * frame.hidden + latent.norms
        if indexer is not None:
            own = i >= len(indexer.own) or indexer.own[i]
            block.name = "sparse mla" if own else "sparse mla, shared choice"
            shape = {"index_heads": indexer.heads, "index_dim": indexer.dim} if own else {}
            core = latent.core(top_k=indexer.top_k, **shape)
            block.core = replace(
                core, index_bytes_per_value=_INDEX_BYTES,
                extra_bytes_8_bit=latent.rope + 4 * (latent.kv_rank // 128),
            )  # fmt: skip
            if own:
                indexer.put(block, site, frame.hidden, latent.q_rank or 0)
        if sparse and routed is not None:
            routed.put(block, site, frame.hidden)
            block.name += " + experts"
        else:
            block.linears += dense_ffn(site, frame.hidden, ffn)
            block.name += " + dense"
        return block

    body = Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(i, f"layers.{i}", sparse=moe[i]) for i in range(frame.layers)],
        max_context=frame.max_context, embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip
    places = [f"layers.{frame.layers + n}" for n in range(mtp_num)]
    body.mtp = [
        with_mtp_entry(
            layer(frame.layers + n, place, sparse=routed is not None), Site(recipe, place), frame.hidden
        )
        for n, place in enumerate(places)
    ]
    body.mtp_num = mtp_num
    return body


def _routed(text: Keys, lineage: Lineage) -> Routed | None:
    if not text.has("n_routed_experts", "num_experts"):
        return None
    num, top_k = read_experts(text, num=("n_routed_experts", "num_experts"), top_k=("num_experts_per_tok",))
    shared = text.count("n_shared_experts", "num_shared_experts", default=0, low=0, high=1000)
    size = text.count("moe_intermediate_size")
    routed = Routed(num=num, top_k=top_k, ffn_size=size, correction=lineage.correction)
    return replace(routed, shared_ffn_size=shared * size)
