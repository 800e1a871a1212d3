"""Readers of dense decoders that differ from Llama only in biases, norms and windows.

References
----------
transformers ``models/{llama,mistral,qwen2,qwen3,olmo3,glm4}`` (``modeling_*.py``, ``configuration_*.py``);
MiMo: ``modeling_mimo.py`` of XiaomiMiMo/MiMo-7B-Base (``MiMoMTPLayers``);
Qwen: ``modeling_qwen.py`` of Qwen/Qwen-7B; ChatGLM: ``modeling_chatglm.py`` of THUDM/chatglm3-6b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dougong.catalog.hf.blocks import Frame, Heads, dense_ffn
from dougong.catalog.hf.keys import HEADS, LAYERS, TOKENS, VOCABULARY, Keys
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What sets one Llama-like family apart; None lets the key ``attention_bias`` decide."""

    qkv_bias: bool | None = False
    out_bias: bool | None = False
    qk_norm: str = ""
    norms: int = 2  # rows of norm weights per layer
    full_every: int = 0  # without ``layer_types``: every n-th layer is full, the others are windowed
    tied: bool = False
    max_context: int | None = None  # the family's default where a configuration leaves it out


STYLES: Mapping[str, Style] = {
    "llama": Style(qkv_bias=None, out_bias=None, max_context=2048),
    "mistral": Style(max_context=131072),
    "qwen2": Style(qkv_bias=True, max_context=32768),
    "qwen3": Style(qkv_bias=None, out_bias=None, qk_norm="head", max_context=32768),
    "mimo": Style(qkv_bias=True),
    "olmo2": Style(qkv_bias=None, out_bias=None, qk_norm="all"),
    "olmo3": Style(qkv_bias=None, out_bias=None, qk_norm="all", full_every=4),
    "glm4": Style(qkv_bias=True, norms=4, max_context=131072),
}


def windows(text: Keys, layers: int, *, full_every: int = 0, default: int | None = None) -> list[int | None]:
    """The window of each layer; None where a layer attends to everything.

    ``layer_types`` decides; without it ``full_every`` (or the key ``sliding_window_pattern``) does; without
    that, ``sliding_window`` holds for all layers from ``max_window_layers`` on.
    """
    kinds = text.words("layer_types", choices=("full_attention", "sliding_attention"), length=layers)
    on = text.flag("use_sliding_window", default=True)
    window = text.count("sliding_window", default=default or 0, low=0, high=TOKENS)
    window = window if on else 0
    every = text.count("sliding_window_pattern", default=full_every, low=0, high=LAYERS)
    first = (
        text.count("max_window_layers", default=0, low=0, high=LAYERS)
        if text.has("use_sliding_window")
        else 0
    )
    text.check()
    if not window:
        if kinds is not None and "sliding_attention" in kinds:
            raise text.refuse("sliding_attention layers without a sliding_window")
        return [None] * layers
    if kinds is not None:
        return [window if kind == "sliding_attention" else None for kind in kinds]
    if every:
        return [None if (i + 1) % every == 0 else window for i in range(layers)]
    return [window if i >= first else None for i in range(layers)]


def read(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read a dense decoder of one of :data:`STYLES`."""
    style = STYLES[family]
    frame = Frame.of(text, outer, tied=style.tied, max_context=style.max_context)
    stated = text.flag("attention_bias")
    heads = Heads.of(
        text, frame.hidden, qk_norm=style.qk_norm,
        bias=stated if style.qkv_bias is None else style.qkv_bias,
        out_bias=stated if style.out_bias is None else style.out_bias,
    )  # fmt: skip
    ffn, ffn_bias = text.count("intermediate_size"), text.flag("mlp_bias")
    limits = windows(text, frame.layers, full_every=style.full_every)
    text.check()

    def layer(path: str, window: int | None) -> Block:
        site = Site(recipe, path)
        linears = heads.linears(site, frame.hidden) + dense_ffn(site, frame.hidden, ffn, bias=ffn_bias)
        other = style.norms * frame.hidden + heads.norms
        return Block(
            name="full" if window is None else "sliding",
            core=heads.core(window=window),
            linears=linears,
            other=other,
        )

    body = Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(f"layers.{i}", limits[i]) for i in range(frame.layers)],
        max_context=frame.max_context, embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip
    if family == "mimo":
        count = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
        text.check()
        body.mtp = [
            _mimo_mtp(layer(f"mtp_layers.{i}", None), Site(recipe, f"mtp_layers.{i}"), frame.hidden)
            for i in range(count)
        ]
        body.mtp_num = count
    return body


def _mimo_mtp(block: Block, site: Site, hidden: int) -> Block:
    block.name = "mtp"
    block.linears.append(site.linear("input_proj", "attention", 2 * hidden, hidden))
    block.other += 3 * hidden  # norms of the token, of the hidden row and of the result
    return block


def read_chatglm(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read ChatGLM2, ChatGLM3 and GLM-4-9B of the remote-code lineage, with keys of its own."""
    hidden, layers = text.count("hidden_size"), text.count("num_layers", high=LAYERS)
    vocab = text.count("padded_vocab_size", "vocab_size", high=VOCABULARY)
    num, dim = text.count("num_attention_heads", high=HEADS), text.count("kv_channels")
    grouped = text.flag("multi_query_attention")
    kv = text.count("multi_query_group_num", default=1, high=HEADS) if grouped else num
    ffn, bias = text.count("ffn_hidden_size"), text.flag("add_bias_linear")
    qkv_bias = text.flag("add_qkv_bias") or bias
    context = text.count("seq_length", high=TOKENS)
    if not text.flag("rmsnorm", default=True):
        raise text.refuse("layer norm in place of RMS norm (rmsnorm = false)")
    text.must_not("a residual after the norm", "apply_residual_connection_post_layernorm", "pre_seq_len")
    tied, last_norm = text.flag("tie_word_embeddings"), text.flag("post_layer_norm", default=True)
    text.check()
    heads = Heads(num=num, kv=kv, dim=dim, v_dim=dim, bias=qkv_bias, out_bias=bias)

    def layer(i: int) -> Block:
        site = Site(recipe, f"layers.{i}")
        linears = heads.linears(site, hidden) + dense_ffn(site, hidden, ffn, bias=bias)
        return Block(name="full", core=heads.core(), linears=linears, other=2 * hidden)

    head = Site(recipe).linear("lm_head", "head", hidden, vocab, shard="column")
    return Body(
        hidden_size=hidden, vocab_size=vocab, head=head, tied=tied, blocks=[layer(i) for i in range(layers)],
        max_context=context, embedding=hidden * vocab, other=hidden if last_norm else 0,
    )  # fmt: skip


def read_qwen(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read the first Qwen: fused projections with bias, and two gates' width under one key."""
    frame = Frame.of(text, outer, max_context=text.count("seq_length", default=8192, high=TOKENS))
    dim = text.count("kv_channels", default=128)
    heads = Heads.of(text, frame.hidden, bias=True, dim=dim)
    heads = replace(heads, dim=dim, v_dim=dim)
    both, bias = text.count("intermediate_size", low=2), not text.flag("no_bias", default=True)
    if both % 2:
        text.fault(
            "intermediate_size", f"an even number is wanted, not {both}: it counts gate and up together"
        )
    text.check()

    def layer(i: int) -> Block:
        site = Site(recipe, f"h.{i}")
        linears = heads.linears(site, frame.hidden, prefix="attn")
        linears += dense_ffn(site, frame.hidden, both // 2, bias=bias)
        return Block(name="full", core=heads.core(), linears=linears, other=2 * frame.hidden)

    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(i) for i in range(frame.layers)], max_context=frame.max_context,
        embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip
