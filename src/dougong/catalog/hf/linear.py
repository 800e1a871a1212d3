"""Linear attention: the cores of its kinds, and the readers of Qwen3-Next and Qwen3.5.

A linear layer keeps a matrix per value head, ``dk x dv``, in place of a cache, and the last inputs of a short
convolution.

Notes
-----
FLOP per token and value head, of the recurrent form (a scan in chunks does somewhat more, on matrix units):

==================  ========================================================  ===========
kind                per element of the state                                  FLOP
==================  ========================================================  ===========
lightning           decay 1, outer product 2, read-out 2                      5 dk dv
gated delta rule    decay 1, prediction 2, outer product 2, read-out 2        7 dk dv
==================  ========================================================  ===========

The convolution adds ``2 kernel`` FLOP per channel.

References
----------
Lightning: MiniMax-01, arXiv 2501.08313, equation 6. Gated delta rule: Yang et al., arXiv 2412.06464,
equation 10; with a decay per channel (KDA): Kimi Linear, arXiv 2510.26692, equation 1.
Shapes: transformers ``models/{qwen3_next,qwen3_5,qwen3_5_moe}``; MTP module: SGLang ``qwen3_5_mtp.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dougong.catalog.hf.blocks import Frame, Heads, Routed, dense_ffn, read_experts
from dougong.catalog.hf.keys import HEADS, LAYERS, Keys
from dougong.catalog.hf.moe import sparse_layers
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import FLOATS, Recipe
from dougong.catalog.models import Core, Linear


def lightning_core(heads: int, dim: int) -> Core:
    """Core of lightning attention: one decay per head, no convolution."""
    return Core(
        kind="linear", num_heads=heads, num_kv_heads=heads, qk_dim=dim, v_dim=dim,
        state_values=heads * dim * dim, flop_per_token=5 * heads * dim * dim,
    )  # fmt: skip


def delta_core(
    *, key_heads: int, value_heads: int, dk: int, dv: int, kernel: int, state_dtype: str = "fp32"
) -> Core:
    """Core of the gated delta rule with a causal convolution over queries, keys and values."""
    channels = 2 * key_heads * dk + value_heads * dv
    return Core(
        kind="linear", num_heads=value_heads, num_kv_heads=key_heads, qk_dim=dk, v_dim=dv,
        state_values=value_heads * dk * dv, state_dtype=state_dtype, conv_values=(kernel - 1) * channels,
        flop_per_token=7 * value_heads * dk * dv + 2 * kernel * channels,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaNet:
    """Shape of a gated delta-rule layer of Qwen."""

    key_heads: int
    value_heads: int
    dk: int
    dv: int
    kernel: int
    state_dtype: str

    @classmethod
    def of(cls, text: Keys) -> DeltaNet:
        """Read the ``linear_*`` keys."""
        stated = text.text("mamba_ssm_dtype", default="float32")
        if stated not in FLOATS:
            text.fault("mamba_ssm_dtype", f"one of {', '.join(FLOATS)} is wanted")
        shape = cls(
            key_heads=text.count("linear_num_key_heads", high=HEADS),
            value_heads=text.count("linear_num_value_heads", high=HEADS),
            dk=text.count("linear_key_head_dim"),
            dv=text.count("linear_value_head_dim"),
            kernel=text.count("linear_conv_kernel_dim", high=1000),
            state_dtype=FLOATS.get(stated, "fp32"),
        )
        if not text.faults and shape.value_heads % shape.key_heads:
            text.fault("linear_num_value_heads", f"{shape.key_heads} key heads do not divide it")
        return shape

    def core(self) -> Core:
        """The mixing part."""
        return delta_core(
            key_heads=self.key_heads, value_heads=self.value_heads, dk=self.dk, dv=self.dv,
            kernel=self.kernel, state_dtype=self.state_dtype,
        )  # fmt: skip

    def linears(self, site: Site, hidden: int) -> list[Linear]:
        """Projections of queries, keys, values; of the gate; of decay and write strength; the output."""
        rows, keys = self.value_heads * self.dv, self.key_heads * self.dk
        stem, many = "linear_attn", self.value_heads
        return [
            site.linear(
                f"{stem}.in_proj_qkv",
                "attention",
                hidden,
                2 * keys + rows,
                shard="column",
                ways=self.key_heads,
            ),
            site.linear(f"{stem}.in_proj_z", "attention", hidden, rows, shard="column", ways=many),
            # A few rows: quantised checkpoints leave them as they are
            site.linear(
                f"{stem}.in_proj_ba", "attention", hidden, 2 * many, shard="column", ways=many,
                plain=site.recipe.plain,
            ),
            site.linear(f"{stem}.out_proj", "attention", rows, hidden, shard="row", ways=many),
        ]  # fmt: skip

    @property
    def other(self) -> int:
        """Convolution, decay, time step and the norm before the output."""
        channels = 2 * self.key_heads * self.dk + self.value_heads * self.dv
        return self.kernel * channels + 2 * self.value_heads + self.dv


def read_qwen_hybrid(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Qwen3-Next and Qwen3.5: three delta-rule layers to one gated full layer, dense or routed."""
    frame = Frame.of(text, outer)
    bias = text.flag("attention_bias")
    gate = text.flag("attn_output_gate", default=True)
    heads = Heads.of(text, frame.hidden, qk_norm="head", gate=gate, bias=bias, out_bias=bias)
    delta = DeltaNet.of(text)
    every = text.count("full_attention_interval", default=4, high=LAYERS)
    kinds = text.words("layer_types", choices=("linear_attention", "full_attention"), length=frame.layers)
    full = [(i + 1) % every == 0 for i in range(frame.layers)]
    if kinds is not None:
        full = [kind == "full_attention" for kind in kinds]
    routed, sparse, dense_size = _feed(text, frame.layers)
    # Qwen3-Next ships one MTP module and does not state it
    mtp_num = text.count("mtp_num_hidden_layers", default=1 if family == "qwen3_next" else 0, low=0, high=100)
    text.must_not("MTP embeddings of their own", "mtp_use_dedicated_embeddings")
    if routed is None:
        text.must_not("layers without experts in a dense model", "num_experts_per_tok", "mlp_only_layers")
    text.check()

    def layer(path: str, *, attends: bool, routes: bool) -> Block:
        site, hidden = Site(recipe, path), frame.hidden
        if attends:
            block = Block(
                name="full", core=heads.core(), linears=heads.linears(site, hidden), other=heads.norms
            )
        else:
            block = Block(
                name="delta", core=delta.core(), linears=delta.linears(site, hidden), other=delta.other
            )
        block.other += 2 * hidden
        if routes and routed is not None:
            routed.put(block, site, hidden)
            block.name += " + experts"
        else:
            block.linears += dense_ffn(site, hidden, dense_size)
            block.name += " + dense"
        return block

    def module(path: str) -> Block:
        block = layer(path, attends=True, routes=routed is not None)
        fc = Site(recipe).linear("mtp.fc", "attention", 2 * frame.hidden, frame.hidden, plain=recipe.plain)
        block.name = f"mtp: {block.name}"
        block.linears.append(replace(fc, name="fc"))
        block.other += 3 * frame.hidden
        return block

    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(f"layers.{i}", attends=full[i], routes=sparse[i]) for i in range(frame.layers)],
        max_context=frame.max_context, embedding=frame.embedding, other=frame.hidden,
        mtp=[module(f"mtp.layers.{n}") for n in range(mtp_num)], mtp_num=mtp_num,
    )  # fmt: skip


def _feed(text: Keys, layers: int) -> tuple[Routed | None, list[bool], int]:
    if not text.has("num_experts"):
        return None, [False] * layers, text.count("intermediate_size")
    num, top_k = read_experts(text, num=("num_experts",), top_k=("num_experts_per_tok",))
    shared = text.count("shared_expert_intermediate_size", default=0, low=0)
    routed = Routed(
        num=num, top_k=top_k, ffn_size=text.count("moe_intermediate_size"), shared_ffn_size=shared,
        shared_gate=shared > 0, shared="mlp.shared_expert",
    )  # fmt: skip
    sparse, dense_size = sparse_layers(text, layers)
    return routed, sparse, dense_size
