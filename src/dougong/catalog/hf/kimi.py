"""Reader of Kimi Linear and Kimi K3: delta-rule layers with a decay per channel beside latent attention.

K3 adds output gates, experts that work in a narrower latent row, and attention over earlier residuals.

References
----------
Kimi Linear, arXiv 2510.26692; transformers ``models/kimi_linear``; Kimi K3: SGLang ``models/kimi_k3.py``
(``KimiK3DeltaAttention``, ``KimiK3MLAAttention``, ``KimiK3MoE``, ``KimiK3DecoderLayer``).
"""

from __future__ import annotations

from dataclasses import dataclass

from dougong.catalog.hf.blocks import Frame, Latent, Routed, dense_ffn, read_experts, routed_layers
from dougong.catalog.hf.keys import HEADS, LAYERS, Keys
from dougong.catalog.hf.linear import delta_core
from dougong.catalog.hf.parts import Block, Body, Site
from dougong.catalog.hf.quant import Recipe
from dougong.catalog.models import Core, Linear

_STEM = "block_sparse_moe"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaAttention:
    """Shape of a KDA layer: queries, keys and values of one head size, low-rank decay, an output gate."""

    heads: int
    dim: int
    kernel: int
    wide_gate: bool  # the output gate is one full matrix and not a low-rank pair

    @classmethod
    def of(cls, keys: Keys) -> DeltaAttention:
        """Read ``linear_attn_config``."""
        return cls(
            heads=keys.count("num_heads", high=HEADS),
            dim=keys.count("head_dim"),
            kernel=keys.count("short_conv_kernel_size", high=1000),
            wide_gate=keys.flag("use_full_rank_gate"),
        )

    def core(self) -> Core:
        """The mixing part."""
        return delta_core(
            key_heads=self.heads, value_heads=self.heads, dk=self.dim, dv=self.dim, kernel=self.kernel
        )

    def linears(self, site: Site, hidden: int) -> list[Linear]:
        """Every projection of the layer."""
        rows = self.heads * self.dim

        def split(module: str, inputs: int, outputs: int) -> Linear:
            return site.linear(
                f"self_attn.{module}", "attention", inputs, outputs, shard="column", ways=self.heads
            )

        def whole(module: str, outputs: int) -> Linear:
            return site.linear(f"self_attn.{module}", "attention", hidden, outputs)

        gate = (
            [split("g_proj", hidden, rows)]
            if self.wide_gate
            else [whole("g_a_proj", self.dim), split("g_b_proj", self.dim, rows)]
        )
        return [
            split("q_proj", hidden, rows), split("k_proj", hidden, rows), split("v_proj", hidden, rows),
            whole("f_a_proj", self.dim), split("f_b_proj", self.dim, rows),
            split("b_proj", hidden, self.heads), *gate,
            site.linear("self_attn.o_proj", "attention", rows, hidden, shard="row", ways=self.heads),
        ]  # fmt: skip

    @property
    def other(self) -> int:
        """Convolutions, decay, time step and the norm before the output."""
        rows = self.heads * self.dim
        return 3 * rows * self.kernel + rows + self.heads + self.dim


def around_experts(site: Site, hidden: int, width: int) -> list[Linear]:
    """The two projections around experts that work in a narrower row; checkpoints keep them plain."""
    plain = site.recipe.plain
    return [
        site.linear(f"{_STEM}.routed_expert_down_proj", "dense_ffn", hidden, width, plain=plain),
        site.linear(f"{_STEM}.routed_expert_up_proj", "dense_ffn", width, hidden, plain=plain),
    ]


def read(text: Keys, outer: Keys, recipe: Recipe, family: str) -> Body:
    """Read Kimi Linear and K3."""
    frame = Frame.of(text, outer, max_context=text.count("model_max_length", default=1048576, high=10**10))
    latent = Latent.of(text)
    linear = text.section("linear_attn_config")
    delta = DeltaAttention.of(linear)
    full = {i - 1 for i in linear.counts("full_attn_layers", low=1, high=LAYERS) or ()}
    told = {i - 1 for i in linear.counts("kda_layers", low=1, high=LAYERS) or ()}
    num, top_k = read_experts(
        text, num=("num_experts", "n_routed_experts"), top_k=("num_experts_per_token", "num_experts_per_tok")
    )
    size, ffn = text.count("moe_intermediate_size"), text.count("intermediate_size")
    shared = text.count("num_shared_experts", "n_shared_experts", default=0, low=0, high=1000)
    sparse = routed_layers(text, frame.layers)
    narrow = text.count("routed_expert_hidden_size", default=0, low=0)
    latent_norm = text.flag("latent_moe_use_norm")
    gated = text.flag("mla_use_output_gate")
    residuals = text.has("attn_res_block_size")
    text.asked.add("attn_res_block_size")
    text.must_not("MTP modules of Kimi Linear", "num_nextn_predict_layers")
    if not text.faults and full | told != set(range(frame.layers)):
        linear.fault("full_attn_layers", "with kda_layers it must name every layer once")
    text.check()
    routed = Routed(
        num=num, top_k=top_k, ffn_size=size, shared_ffn_size=shared * size, correction=True, width=narrow,
        router=f"{_STEM}.gate", module=f"{_STEM}.experts", shared=f"{_STEM}.shared_experts",
    )  # fmt: skip

    def layer(i: int) -> Block:
        site, hidden = Site(recipe, f"layers.{i}"), frame.hidden
        if i in full:
            block = Block(
                name="mla", core=latent.core(), linears=latent.linears(site, hidden), other=latent.norms
            )
            if gated:
                rows = latent.num * latent.v_dim
                gate = site.linear(
                    "self_attn.g_proj", "attention", hidden, rows, shard="column", ways=latent.num
                )
                block.linears.append(gate)
        else:
            block = Block(
                name="kda", core=delta.core(), linears=delta.linears(site, hidden), other=delta.other
            )
        # Two norms; with residual attention, two more and two scoring rows
        block.other += (6 if residuals else 2) * hidden
        if not sparse[i]:
            block.linears += dense_ffn(site, hidden, ffn)
            block.name += " + dense"
        else:
            routed.put(block, site, hidden)
            block.name += " + experts"
            if narrow:
                block.linears += around_experts(site, hidden, narrow)
                block.other += narrow if latent_norm else 0
        return block

    return Body(
        hidden_size=frame.hidden, vocab_size=frame.vocab, head=frame.head(Site(recipe)), tied=frame.tied,
        blocks=[layer(i) for i in range(frame.layers)], max_context=frame.max_context,
        embedding=frame.embedding, other=(3 if residuals else 1) * frame.hidden,
    )  # fmt: skip
