"""Readers of Gemma 2, 3 and 4: alternating windows, four norms a layer, tied embeddings.

Gemma 4 adds per-layer embeddings, layers that read another layer's cache, values made from the key
projection, and a dense block beside the routed one.

References
----------
transformers ``models/{gemma2,gemma3,gemma4}`` (``modeling_*.py``, ``configuration_*.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dougong.catalog.hf.blocks import Frame, Heads, Routed, dense_ffn, read_experts
from dougong.catalog.hf.dense import windows
from dougong.catalog.hf.keys import HEADS, LAYERS, TOKENS, VOCABULARY, Keys
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe

_GEMMA2_VOCABULARY = 256_000


def read(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Gemma 2 (every second layer full) and Gemma 3 (every sixth, norms on queries and keys)."""
    second = family == "gemma2"
    frame = _frame(text, outer, vocabulary=_GEMMA2_VOCABULARY if second else 262_208)
    heads = Heads.of(
        text, frame.hidden, qk_norm="" if second else "head", dim=256, bias=text.flag("attention_bias")
    )
    heads = replace(heads, out_bias=heads.bias)
    ffn = text.count("intermediate_size")
    limits = windows(text, frame.layers, full_every=2 if second else 6, default=4096)
    text.check()

    def layer(i: int) -> Block:
        site = Site(recipe, f"layers.{i}")
        linears = heads.linears(site, frame.hidden) + dense_ffn(site, frame.hidden, ffn)
        name = "full" if limits[i] is None else "sliding"
        other = 4 * frame.hidden + heads.norms
        return Block(name=name, core=heads.core(window=limits[i]), linears=linears, other=other)

    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(i) for i in range(frame.layers)], max_context=frame.max_context,
        embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip


def _frame(text: Keys, outer: Keys, *, vocabulary: int) -> Frame:
    # Gemma's configurations leave out what equals the class default
    inner = text.flag("tie_word_embeddings", default=True)
    return Frame(
        hidden=text.count("hidden_size"),
        layers=text.count("num_hidden_layers", high=LAYERS),
        vocab=text.count("vocab_size", default=vocabulary, high=VOCABULARY),
        max_context=text.count("max_position_embeddings", default=8192, high=TOKENS),
        tied=inner if outer is text else outer.flag("tie_word_embeddings", default=inner),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gemma4:
    """What Gemma 4 layers are made of."""

    frame: Frame
    sliding: Heads
    full: Heads
    window: int
    kinds: list[str]
    shared_layers: int  # the last layers, which read the cache of an earlier layer
    one_projection: bool  # full layers make values from the key projection
    ffn: int
    wide: bool  # feed-forward blocks of cache-sharing layers are twice as wide
    per_layer: int  # width of per-layer embeddings
    routed: Routed | None

    def layer(self, i: int, recipe: Recipe) -> Block:
        """Layer ``i``."""
        site, hidden = Site(recipe, f"layers.{i}"), self.frame.hidden
        windowed = self.kinds[i] == "sliding_attention"
        heads = self.sliding if windowed else self.full
        shares = i >= self.frame.layers - self.shared_layers
        linears = heads.linears(site, hidden)
        dropped: tuple[str, ...] = ("k_proj", "v_proj") if shares else ()
        if self.one_projection and not windowed:
            dropped += ("v_proj",)
        linears = [linear for linear in linears if linear.name not in dropped]
        norms = 4 * hidden + heads.norms - (heads.dim if shares else 0)
        block = Block(
            name=("sliding" if windowed else "full") + (", shared cache" if shares else ""),
            core=heads.core(window=self.window if windowed else None, shares_cache=shares),
            linears=linears + dense_ffn(site, hidden, self.ffn * (2 if shares and self.wide else 1)),
            other=norms,
        )  # fmt: skip
        if self.per_layer:
            block.linears += [
                site.linear("per_layer_input_gate", "dense_ffn", hidden, self.per_layer),
                site.linear("per_layer_projection", "dense_ffn", self.per_layer, hidden),
            ]
            block.other += hidden
        if self.routed is not None:
            self.routed.put(block, site, hidden)
            block.name += " + dense + experts"
            block.other += 4 * hidden + self.routed.num  # three norms, the router's scale, a scale per expert
        return block


def read_gemma4(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Gemma 4, dense, mixture and the small ones with per-layer embeddings."""
    frame = Frame.of(text, outer, tied=True)
    bias = text.flag("attention_bias")
    sliding = Heads.of(text, frame.hidden, qk_norm="head", bias=bias, out_bias=bias)
    one = text.flag("attention_k_eq_v")
    dim = text.count("global_head_dim", default=sliding.dim)
    kv = text.count("num_global_key_value_heads", default=sliding.kv, high=HEADS)
    full = replace(sliding, dim=dim, v_dim=dim, kv=kv if one else sliding.kv)
    per_layer = text.count("hidden_size_per_layer_input", default=0, low=0)
    kinds = text.words("layer_types", choices=("full_attention", "sliding_attention"), length=frame.layers)
    routed = None
    if text.flag("enable_moe_block"):
        num, top_k = read_experts(text, num=("num_experts",), top_k=("top_k_experts",))
        size = text.count("moe_intermediate_size", "expert_intermediate_size")
        routed = Routed(num=num, top_k=top_k, ffn_size=size, router="router.proj", module="experts")
    text.asked.update(("moe_intermediate_size", "expert_intermediate_size", "num_experts", "top_k_experts"))
    if kinds is None:
        text.fault("layer_types", "is missing")
    shape = _Gemma4(
        frame=frame, sliding=sliding, full=full, window=text.count("sliding_window", high=TOKENS),
        kinds=kinds or [], shared_layers=text.count("num_kv_shared_layers", default=0, low=0, high=LAYERS),
        one_projection=one, ffn=text.count("intermediate_size"), wide=text.flag("use_double_wide_mlp"),
        per_layer=per_layer, routed=routed,
    )  # fmt: skip
    small_vocab = text.count("vocab_size_per_layer_input", default=frame.vocab, high=VOCABULARY)
    text.check()
    width = frame.layers * per_layer
    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[shape.layer(i, recipe) for i in range(frame.layers)], max_context=frame.max_context,
        embedding=frame.embedding + small_vocab * width,
        other=frame.hidden + (frame.hidden * width + per_layer),
    )  # fmt: skip
