"""Reader of DeepSeek-V4: attention over compressed entries, several residual streams, hash-routed layers.

Each layer keeps a short window of uncompressed entries. A layer of ratio 4 adds one entry per four tokens and
an indexer that picks ``index_topk`` of them; a layer of ratio 128 reads all its entries; ratio 0 has the
window alone. One vector serves as key and value of all heads, and the output goes through a projection in
groups.

Notes
-----
Compressed entries are made by two projections (values and gates) of twice the head size at ratio 4, where
windows overlap, and of the head size at ratio 128. Hyper-connections mix ``hc_mult`` residual streams by a
matrix of ``(2 + hc_mult) hc_mult`` rows before each half of a layer.

References
----------
transformers ``models/deepseek_v4`` (``modeling_deepseek_v4.py``, ``configuration_deepseek_v4.py``); stored
dtypes and the MTP module: SGLang ``layers/attention/dsv4/compressor.py`` and ``models/deepseek_v4_nextn.py``;
cache rows: SGLang ``mem_cache/deepseek_v4_memory_pool.py`` (448 FP8 + 64 BF16 values + 8 bytes of scales).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dougong.catalog.hf.blocks import Frame, Routed, read_experts
from dougong.catalog.hf.keys import HEADS, LAYERS, TOKENS, Keys
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe
from dougong.catalog.models import Core, Linear

_RATIOS = (0, 4, 128)
_ROW_EXTRA_BYTES = 64 + 8
"""An 8-bit cache row keeps 64 rotary values in BF16 and 8 bytes of scales beside 448 values: 584 bytes."""
_INDEX_BYTES = 132 / 128
"""Bytes per value of an index key: FP8 with one 4-byte scale per 128 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """Shape of V4 attention."""

    hidden: int
    heads: int
    dim: int
    q_rank: int
    groups: int
    o_rank: int
    window: int
    index_heads: int
    index_dim: int
    top_k: int

    @classmethod
    def of(cls, text: Keys, hidden: int) -> Compressed:
        """Read the attention keys."""
        shape = cls(
            hidden=hidden,
            heads=text.count("num_attention_heads", high=HEADS),
            dim=text.count("head_dim"),
            q_rank=text.count("q_lora_rank"),
            groups=text.count("o_groups", high=HEADS),
            o_rank=text.count("o_lora_rank"),
            window=text.count("sliding_window", high=TOKENS),
            index_heads=text.count("index_n_heads", high=HEADS),
            index_dim=text.count("index_head_dim"),
            top_k=text.count("index_topk", high=TOKENS),
        )
        if text.count("num_key_value_heads", default=1, high=HEADS) != 1:
            raise text.refuse("DeepSeek-V4 with more than one key-value head")
        text.asked.add("qk_rope_head_dim")
        if not text.faults and shape.heads % shape.groups:
            text.fault("o_groups", f"{shape.groups} does not divide the {shape.heads} attention heads")
        return shape

    def core(self, ratio: int) -> Core:
        """The mixing part of a layer of compression ``ratio``."""
        core = Core(
            kind="full", num_heads=self.heads, num_kv_heads=1, qk_dim=self.dim, v_dim=self.dim,
            shared_kv=True, extra_bytes_8_bit=_ROW_EXTRA_BYTES,
        )  # fmt: skip
        if ratio == 0:
            return replace(core, window=self.window)
        core = replace(core, compress=ratio, local_window=self.window)
        if ratio == 128:
            return core
        index = {"index_heads": self.index_heads, "index_dim": self.index_dim}
        return replace(core, top_k=self.top_k, index_bytes_per_value=_INDEX_BYTES, **index)

    def linears(self, site: Site, ratio: int) -> list[Linear]:
        """Projections of queries, the shared entry, compressors, indexer and the grouped output."""
        hidden, rows, each = self.hidden, self.heads * self.dim, self.heads // self.groups * self.dim
        plain = site.recipe.plain
        out = [
            site.linear("attn.wq_a", "attention", hidden, self.q_rank),
            site.linear("attn.wq_b", "attention", self.q_rank, rows, shard="column", ways=self.heads),
            site.linear("attn.wkv", "attention", hidden, self.dim),
            site.linear(
                "attn.wo_a",
                "attention",
                each,
                self.o_rank,
                shard="column",
                ways=self.groups,
                copies=self.groups,
            ),
            site.linear(
                "attn.wo_b", "attention", self.groups * self.o_rank, hidden, shard="row", ways=self.groups
            ),
        ]
        if ratio:
            wide = self.dim * (2 if ratio == 4 else 1)
            out += [
                site.linear(f"attn.compressor.{n}", "attention", hidden, wide, plain=plain)
                for n in ("wkv", "wgate")
            ]
        if ratio == 4:
            index = "attn.indexer"
            out += [
                site.linear(f"{index}.wq_b", "indexer", self.q_rank, self.index_heads * self.index_dim),
                site.linear(f"{index}.weights_proj", "indexer", hidden, self.index_heads, plain=plain),
                site.linear(f"{index}.compressor.wkv", "indexer", hidden, 2 * self.index_dim, plain=plain),
                site.linear(f"{index}.compressor.wgate", "indexer", hidden, 2 * self.index_dim, plain=plain),
            ]
        return out

    def other(self, ratio: int) -> int:
        """Sinks, norms and the position biases of compressors."""
        count = self.heads + self.q_rank + self.dim
        if ratio:
            wide = 2 if ratio == 4 else 1
            count += ratio * wide * self.dim + self.dim
        if ratio == 4:
            count += ratio * 2 * self.index_dim + self.index_dim
        return count


def read(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read DeepSeek-V4."""
    frame = Frame.of(text, outer)
    attention = Compressed.of(text, frame.hidden)
    ratios = text.counts("compress_ratios", length=frame.layers, high=1 << 20)
    if ratios is None:
        text.fault("compress_ratios", "is missing")
    elif unknown := sorted(set(ratios) - set(_RATIOS)):
        raise text.refuse(f"a compression ratio of {unknown[0]}")
    num, top_k = read_experts(text, num=("n_routed_experts",), top_k=("num_experts_per_tok",))
    shared = text.count("n_shared_experts", default=1, low=0, high=1000)
    size = text.count("moe_intermediate_size")
    streams = text.count("hc_mult", default=4, high=64)
    hashed = text.count("num_hash_layers", default=3, low=0, high=LAYERS)
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.asked.update(("hc_sinkhorn_iters", "hc_eps"))
    text.must_not("biases in attention", "attention_bias")
    text.check()
    hidden = frame.hidden
    mixers = 2 * ((2 + streams) * streams * (streams * hidden + 1) + 3)
    head_mixer = streams * streams * hidden + streams + 1

    def layer(path: str, ratio: int, *, hashes: bool) -> Block:
        site = Site(recipe, path)
        block = Block(
            name=("window" if not ratio else f"compressed {ratio}") + (", hash-routed" if hashes else ""),
            core=attention.core(ratio), linears=attention.linears(site, ratio),
            other=2 * hidden + attention.other(ratio) + mixers,
        )  # fmt: skip
        routed = Routed(
            num=num, top_k=top_k, ffn_size=size, shared_ffn_size=shared * size, correction=not hashes,
            router="ffn.gate", module="ffn.experts", shared="ffn.shared_experts",
        )  # fmt: skip
        routed.put(block, site, hidden)
        return block

    def module(path: str) -> Block:
        # Two square projections join token and hidden row; the layer itself has the window alone
        block, site = layer(path, 0, hashes=False), Site(recipe, path)
        block.name = f"mtp: {block.name}"
        block.linears += [site.linear(name, "attention", hidden, hidden) for name in ("e_proj", "h_proj")]
        block.other += 3 * hidden + head_mixer
        return block

    blocks = [layer(f"layers.{i}", ratio, hashes=i < hashed) for i, ratio in enumerate(ratios or ())]
    return Body(
        hidden_size=hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=blocks, max_context=frame.max_context, embedding=frame.embedding, other=hidden + head_mixer,
        mtp=[module(f"mtp.{n}") for n in range(mtp_num)], mtp_num=mtp_num, streams=streams, kv="fp8_e4m3",
    )  # fmt: skip
