"""Readers of Nemotron: block-wise pruned Llama (NAS) and the Mamba hybrids (H).

Notes
-----
A Mamba-2 head keeps a state of ``head_dim x state_size``; per token and element of the state it costs a decay
(1), an outer product (2) and a read-out (2): ``5 heads head_dim state_size`` FLOP, and its convolution
``2 kernel channels``.

References
----------
NAS: ``modeling_decilm.py`` of nvidia/Llama-3_3-Nemotron-Super-49B-v1 (``_ffn_mult_to_intermediate_size``).
H: transformers ``models/nemotron_h``; MTP: SGLang ``nemotron_h_mtp.py``; Mamba-2: arXiv 2405.21060,
section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dougong.catalog.hf.blocks import Frame, Heads, Routed, dense_ffn, read_experts
from dougong.catalog.hf.keys import HEADS, LAYERS, SIZE, TOKENS, Keys
from dougong.catalog.hf.parts import NO_CORE, Block, Body, Site
from dougong.catalog.hf.quant import FLOATS, Recipe
from dougong.catalog.models import Core, Linear


def read_nas(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read a pruned Llama: each block states its key-value heads and feed-forward width, or does without."""
    frame = Frame.of(text, outer)
    bias, ffn_bias = text.flag("attention_bias"), text.flag("mlp_bias")
    base = Heads.of(text, frame.hidden, bias=bias, out_bias=bias)
    items = text.items("block_configs") or ()
    text.asked.update(("intermediate_size", "num_key_value_heads"))
    if len(items) != frame.layers:
        text.fault("block_configs", f"{frame.layers} entries are wanted, not {len(items)}")
    text.check()
    shapes = [_block_shape(text, i, item, frame.hidden, base.num) for i, item in enumerate(items)]
    text.check()

    def layer(i: int, kv: int, size: int) -> Block:
        site = Site(recipe, f"layers.{i}")
        heads = replace(base, kv=kv)
        block = Block(name="full" if kv else "no attention", core=heads.core() if kv else NO_CORE)
        if kv:
            block.linears += heads.linears(site, frame.hidden)
            block.other += frame.hidden
        if size:
            block.linears += dense_ffn(site, frame.hidden, size, bias=ffn_bias)
            block.other += frame.hidden
        return block

    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(i, kv, size) for i, (kv, size) in enumerate(shapes)], max_context=frame.max_context,
        embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip


def _block_shape(text: Keys, i: int, item: object, hidden: int, heads: int) -> tuple[int, int]:
    keys = Keys(item, model=text.model, place=f"block_configs[{i}]", faults=text.faults)
    attention, ffn = keys.section("attention"), keys.section("ffn")
    for part in (attention, ffn):
        part.must_not("a block replaced by a linear layer", "replace_with_linear", "sparsify")
    attention.must_not(
        "attention with sinks or a window", "num_sink_tokens", "window_length", "unshifted_sink"
    )
    kv = 0
    if not attention.flag("no_op"):
        group = attention.count("n_heads_in_group", high=HEADS)
        if heads % group:
            attention.fault("n_heads_in_group", f"{group} does not divide the {heads} attention heads")
        kv = heads // group
    if ffn.flag("no_op"):
        return kv, 0
    width = int(2 * ffn.real("ffn_mult", high=1000.0) * hidden / 3)
    return kv, -(-width // 256) * 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba:
    """Shape of a Mamba-2 mixer."""

    heads: int
    dim: int
    state: int
    groups: int
    kernel: int
    conv_bias: bool
    bias: bool
    state_dtype: str

    @classmethod
    def of(cls, text: Keys) -> Mamba:
        """Read the ``mamba_*`` keys."""
        stated = text.text("mamba_ssm_cache_dtype", default="float32")
        if stated not in FLOATS:
            text.fault("mamba_ssm_cache_dtype", f"one of {', '.join(FLOATS)} is wanted")
        return cls(
            heads=text.count("mamba_num_heads", high=HEADS),
            dim=text.count("mamba_head_dim"),
            state=text.count("ssm_state_size"),
            groups=text.count("n_groups", high=HEADS),
            kernel=text.count("conv_kernel", high=1000),
            conv_bias=text.flag("use_conv_bias", default=True),
            bias=text.flag("mamba_proj_bias") or text.flag("use_bias"),
            state_dtype=FLOATS.get(stated, "fp32"),
        )

    @property
    def rows(self) -> int:
        """Width of the mixer."""
        return self.heads * self.dim

    @property
    def channels(self) -> int:
        """Channels of the convolution: the row, and two state rows per group."""
        return self.rows + 2 * self.groups * self.state

    def core(self) -> Core:
        """The mixing part."""
        values = self.rows * self.state
        return Core(
            kind="linear", num_heads=self.heads, num_kv_heads=self.groups, qk_dim=self.state, v_dim=self.dim,
            state_values=values, state_dtype=self.state_dtype, conv_values=(self.kernel - 1) * self.channels,
            flop_per_token=5 * values + 2 * self.kernel * self.channels,
        )  # fmt: skip

    def linears(self, site: Site, hidden: int) -> list[Linear]:
        """Input and output projections."""
        width, ways = self.rows + self.channels + self.heads, self.heads
        bias = self.bias
        return [
            site.linear("mixer.in_proj", "attention", hidden, width, shard="column", ways=ways, bias=bias),
            site.linear("mixer.out_proj", "attention", self.rows, hidden, shard="row", ways=ways, bias=bias),
        ]

    @property
    def other(self) -> int:
        """Convolution, decay, skip, time step and the gated norm."""
        taps = self.kernel + (1 if self.conv_bias else 0)
        return self.channels * taps + 3 * self.heads + self.rows


_MARKS: Mapping[str, str] = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


def read_h(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Nemotron-H and Nemotron 3: each layer is a mixer, an attention, a dense or a routed block."""
    kinds = _kinds(text, "hybrid_override_pattern", "layers_block_type")
    text.asked.add("num_hidden_layers")
    layers = text.count("num_hidden_layers", default=len(kinds) or 1, high=LAYERS)
    if kinds and len(kinds) != layers:
        text.fault("num_hidden_layers", f"{layers} layers, and a pattern of {len(kinds)}")
    frame = Frame(
        hidden=text.count("hidden_size"), layers=layers, vocab=text.count("vocab_size", high=10_000_000),
        max_context=text.count("max_position_embeddings", high=TOKENS), tied=text.flag("tie_word_embeddings"),
    )  # fmt: skip
    bias, ffn_bias = text.flag("attention_bias"), text.flag("mlp_bias")
    heads = Heads.of(
        text, frame.hidden, bias=bias, out_bias=bias, dim=text.count("attention_head_dim", default=128)
    )
    mamba = Mamba.of(text) if "mamba" in kinds else None
    routed, latent = _routed(text) if "moe" in kinds else (None, 0)
    ffn = text.count("intermediate_size") if "mlp" in kinds else 0
    text.asked.update(("intermediate_size", "expand"))
    mtp_kinds = _kinds(text, "mtp_hybrid_override_pattern", "mtp_layers_block_type", required=False)
    mtp_num = text.count("num_nextn_predict_layers", default=0, low=0, high=100)
    text.check()

    def layer(path: str, kind: str) -> Block:
        site, hidden = Site(recipe, path), frame.hidden
        block = Block(name=kind, core=NO_CORE, other=hidden)
        if kind == "mamba" and mamba is not None:
            block.core, block.other = mamba.core(), hidden + mamba.other
            block.linears = mamba.linears(site, hidden)
        elif kind == "attention":
            block.core, block.linears = heads.core(), heads.linears(site, hidden, prefix="mixer")
        elif kind == "moe" and routed is not None:
            routed.put(block, site, hidden)
            if latent:
                block.linears += [
                    site.linear("mixer.fc1_latent_proj", "dense_ffn", hidden, latent),
                    site.linear("mixer.fc2_latent_proj", "dense_ffn", latent, hidden),
                ]
        else:
            block.linears = dense_ffn(site, hidden, ffn, module="mixer", gated=False, bias=ffn_bias)
        return block

    body = Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(f"layers.{i}", kind) for i, kind in enumerate(kinds)], max_context=frame.max_context,
        embedding=frame.embedding, other=frame.hidden,
    )  # fmt: skip
    if mtp_num and mtp_kinds:
        steps = [f"mtp.layers.{n}" for n in range(mtp_num * len(mtp_kinds))]
        body.mtp = [layer(path, mtp_kinds[n % len(mtp_kinds)]) for n, path in enumerate(steps)]
        body.mtp_num = mtp_num
        entry = Site(recipe, "mtp.layers.0").linear(
            "eh_proj", "attention", 2 * frame.hidden, frame.hidden, plain=recipe.plain
        )
        for block in body.mtp[:: len(mtp_kinds)]:
            block.linears = [entry, *block.linears]
            block.other += 3 * frame.hidden  # norms of token, hidden row and result
    return body


def _kinds(text: Keys, pattern: str, listed: str, *, required: bool = True) -> list[str]:
    words = text.words(listed, choices=tuple(_MARKS.values()))
    if words is not None:
        return words
    marks = text.text(pattern, default=None if required else "")
    if not required and not marks:
        return []
    marks = text.text(pattern) if required else marks
    if any(mark not in _MARKS for mark in marks) or len(marks) > LAYERS:
        text.fault(pattern, f"only {' '.join(_MARKS)} are known")
        return []
    return [_MARKS[mark] for mark in marks]


def _routed(text: Keys) -> tuple[Routed, int]:
    num, top_k = read_experts(text, num=("n_routed_experts",), top_k=("num_experts_per_tok",))
    latent = text.count("moe_latent_size", default=0, low=0)
    shared = text.count("n_shared_experts", default=0, low=0, high=1000)
    size = text.count("moe_intermediate_size")
    width = text.count("moe_shared_expert_intermediate_size", default=size, low=0, high=SIZE)
    routed = Routed(
        num=num, top_k=top_k, ffn_size=size, shared_ffn_size=width if shared else 0, correction=True,
        gated=False, width=latent, router="mixer.gate", module="mixer.experts", shared="mixer.shared_experts",
    )  # fmt: skip
    return routed, latent
