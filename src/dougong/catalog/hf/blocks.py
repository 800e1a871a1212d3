"""The pieces that most families share: grouped-query and latent attention, dense and routed feed-forward.

Shapes follow the published modelling code; ``hidden`` is the width of the residual row.

References
----------
transformers ``models/llama``, ``models/qwen3_moe``, ``models/deepseek_v3`` (``modeling_*.py``).
MLA: DeepSeek-V2, arXiv 2405.04434, section 2.1 and table 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dougong.catalog.hf.keys import EXPERTS, HEADS, LAYERS, TOKENS, VOCABULARY, Keys
from dougong.catalog.hf.parts import Block, Site
from dougong.catalog.models import Core, Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The sizes that every family states."""

    hidden: int
    layers: int
    vocab: int
    max_context: int
    tied: bool

    @classmethod
    def of(cls, text: Keys, outer: Keys, *, tied: bool = False, max_context: int | None = None) -> Frame:
        """Read the frame; ``tied`` is the family's default for ``tie_word_embeddings``."""
        inner = text.flag("tie_word_embeddings", default=tied)
        context = {} if max_context is None else {"default": max_context}
        return cls(
            hidden=text.count("hidden_size"),
            layers=text.count("num_hidden_layers", high=LAYERS),
            vocab=text.count("vocab_size", high=VOCABULARY),
            max_context=text.count("max_position_embeddings", high=TOKENS, **context),
            tied=inner if outer is text else outer.flag("tie_word_embeddings", default=inner),
        )

    @property
    def embedding(self) -> int:
        """Parameters of the input embedding."""
        return self.hidden * self.vocab

    def head(self, site: Site, *, bias: bool = False) -> Linear:
        """The output head; split over the vocabulary."""
        return site.linear("lm_head", "head", self.hidden, self.vocab, shard="column", bias=bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Shape of grouped-query attention."""

    num: int
    kv: int
    dim: int
    v_dim: int
    bias: bool = False  # on query, key and value
    out_bias: bool = False
    qk_norm: str = ""  # "head": one weight per head dimension; "all": per query and key row
    gate: bool = False  # the query projection also yields a gate of the same width
    query_rank: int = 0  # of a bottleneck, with a norm, that all query heads share; 0 without one

    @classmethod
    def of(
        cls, text: Keys, hidden: int, *, bias: bool = False, out_bias: bool = False, qk_norm: str = "",
        gate: bool = False, dim: int | None = None,
    ) -> Heads:  # fmt: skip
        """Read the usual four keys; the head size defaults to ``hidden / heads``."""
        num = text.count("num_attention_heads", high=HEADS)
        kv = text.count("num_key_value_heads", default=num, high=HEADS)
        size = text.count("head_dim", default=dim or max(hidden // num, 1))
        if not text.faults and num % kv:
            text.fault("num_key_value_heads", f"{kv} does not divide the {num} attention heads")
        return cls(
            num=num, kv=kv, dim=size, v_dim=size, bias=bias, out_bias=out_bias, qk_norm=qk_norm, gate=gate
        )

    @property
    def norms(self) -> int:
        """Parameters of the norms on queries and keys."""
        own = {"": 0, "head": 2 * self.dim, "all": (self.num + self.kv) * self.dim}[self.qk_norm]
        return own + self.query_rank

    def core(self, *, window: int | None = None, shares_cache: bool = False) -> Core:
        """The mixing part over a cache."""
        return Core(
            kind="full", num_heads=self.num, num_kv_heads=self.kv, qk_dim=self.dim, v_dim=self.v_dim,
            window=window, shares_cache=shares_cache,
        )  # fmt: skip

    def linears(self, site: Site, hidden: int, *, prefix: str = "self_attn") -> list[Linear]:
        """Query, key, value and output projections."""
        rows = self.num * self.dim * (2 if self.gate else 1)
        if self.query_rank:
            query = [
                site.linear(f"{prefix}.q_proj", "attention", hidden, self.query_rank, bias=self.bias),
                site.linear(
                    f"{prefix}.wq", "attention", self.query_rank, rows, shard="column", ways=self.num
                ),
            ]
        else:
            query = [
                site.linear(
                    f"{prefix}.q_proj",
                    "attention",
                    hidden,
                    rows,
                    shard="column",
                    ways=self.num,
                    bias=self.bias,
                )
            ]
        return [
            *query,
            site.linear(
                f"{prefix}.k_proj",
                "attention",
                hidden,
                self.kv * self.dim,
                shard="column",
                ways=self.kv,
                bias=self.bias,
            ),
            site.linear(
                f"{prefix}.v_proj",
                "attention",
                hidden,
                self.kv * self.v_dim,
                shard="column",
                ways=self.kv,
                bias=self.bias,
            ),
            site.linear(
                f"{prefix}.o_proj",
                "attention",
                self.num * self.v_dim,
                hidden,
                shard="row",
                ways=self.num,
                bias=self.out_bias,
            ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Shape of multi-head latent attention."""

    num: int
    q_rank: int | None
    kv_rank: int
    nope: int
    rope: int
    v_dim: int
    bias: bool = False

    @classmethod
    def of(cls, text: Keys, *, bias: bool = False) -> Latent:
        """Read the keys of DeepSeek-V2 and its descendants."""
        text.asked.update(("num_key_value_heads", "head_dim"))  # stated for show: the latent serves all heads
        return cls(
            num=text.count("num_attention_heads", high=HEADS),
            q_rank=text.count("q_lora_rank") if text.has("q_lora_rank") else None,
            kv_rank=text.count("kv_lora_rank"),
            nope=text.count("qk_nope_head_dim"),
            rope=text.count("qk_rope_head_dim", low=0),
            v_dim=text.count("v_head_dim"),
            bias=bias,
        )

    @property
    def norms(self) -> int:
        """Parameters of the norms on the two latents."""
        return (self.q_rank or 0) + self.kv_rank

    def core(self, *, top_k: int | None = None, index_heads: int = 0, index_dim: int = 0) -> Core:
        """The mixing part; an indexer's shape where one picks the entries."""
        return Core(
            kind="mla", num_heads=self.num, num_kv_heads=1, qk_dim=self.nope + self.rope, v_dim=self.v_dim,
            latent_dim=self.kv_rank, rope_dim=self.rope, top_k=top_k, index_heads=index_heads,
            index_dim=index_dim,
        )  # fmt: skip

    def linears(self, site: Site, hidden: int) -> list[Linear]:
        """Down- and up-projections of queries and key-values, and the output."""
        rows = self.num * (self.nope + self.rope)
        queries = (
            [site.linear("self_attn.q_proj", "attention", hidden, rows, shard="column", ways=self.num)]
            if self.q_rank is None
            else [
                site.linear("self_attn.q_a_proj", "attention", hidden, self.q_rank, bias=self.bias),
                site.linear(
                    "self_attn.q_b_proj", "attention", self.q_rank, rows, shard="column", ways=self.num
                ),
            ]
        )
        return [
            *queries,
            site.linear(
                "self_attn.kv_a_proj_with_mqa", "attention", hidden, self.kv_rank + self.rope, bias=self.bias
            ),
            site.linear(
                "self_attn.kv_b_proj", "attention", self.kv_rank, self.num * (self.nope + self.v_dim),
                shard="column", ways=self.num, absorbed=True,
            ),
            site.linear(
                "self_attn.o_proj", "attention", self.num * self.v_dim, hidden,
                shard="row", ways=self.num, bias=self.bias,
            ),
        ]  # fmt: skip


def dense_ffn(
    site: Site, hidden: int, ffn_size: int, *, module: str = "mlp", group: str = "dense_ffn",
    bias: bool = False, gated: bool = True,
) -> list[Linear]:  # fmt: skip
    """Gate, up and down projections of a feed-forward block; no gate where ``gated`` is false."""
    up = [
        site.linear(f"{module}.{name}", group, hidden, ffn_size, shard="column", bias=bias)
        for name in (("gate_proj", "up_proj") if gated else ("up_proj",))
    ]
    return [*up, site.linear(f"{module}.down_proj", group, ffn_size, hidden, shard="row", bias=bias)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Shape of a mixture-of-experts block."""

    num: int
    top_k: int
    ffn_size: int
    shared_ffn_size: int = 0  # all shared experts side by side; 0 without any
    shared_gate: bool = False  # a gate of one value weighs the shared expert
    router_bias: bool = False
    correction: bool = False  # one bias per expert that only steers the choice
    bias: bool = False
    gated: bool = True  # gate, up and down; otherwise up and down
    width: int = 0  # of the row experts work in, where it is not the hidden size
    router: str = "mlp.gate"
    module: str = "mlp.experts"
    shared: str = "mlp.shared_experts"

    def put(self, block: Block, site: Site, hidden: int) -> None:
        """Add router, experts and shared experts to ``block``."""
        block.linears.append(site.linear(self.router, "router", hidden, self.num, bias=self.router_bias))
        if self.correction:
            block.other += self.num
        if self.shared_ffn_size:
            size, module = self.shared_ffn_size, self.shared
            block.linears += dense_ffn(
                site, hidden, size, module=module, group="shared_expert", gated=self.gated
            )
        if self.shared_gate:
            gate = site.linear("mlp.shared_expert_gate", "shared_expert", hidden, 1, plain=site.recipe.plain)
            block.linears.append(gate)
        block.experts = site.experts(
            f"{self.module}.0.gate_proj", num=self.num, top_k=self.top_k, inputs=self.width or hidden,
            ffn_size=self.ffn_size, matrices=3 if self.gated else 2, bias=self.bias,
        )  # fmt: skip


def listed_layers(text: Keys, layers: int, *, otherwise: Iterable[int]) -> list[bool]:
    """Which layers route, by their numbers in ``moe_layers_enum``; ``otherwise`` where nothing is listed."""
    listed = text.get("moe_layers_enum")
    if listed is None:
        chosen = set(otherwise)
    else:
        words = listed.split(",") if isinstance(listed, str) else text.items("moe_layers_enum") or []
        chosen = {int(str(word)) for word in words if str(word).strip().isdecimal() and len(str(word)) < 7}
    return [i in chosen for i in range(layers)]


def read_experts(text: Keys, *, num: tuple[str, ...], top_k: tuple[str, ...]) -> tuple[int, int]:
    """Number of experts and how many a token visits; more visits than experts is a fault."""
    experts = text.count(*num, high=EXPERTS)
    visits = text.count(*top_k, high=EXPERTS)
    if visits > experts and not text.faults:
        text.fault(top_k[0], f"{visits} experts per token are more than the {experts} there are")
    return experts, visits


def with_mtp_entry(block: Block, site: Site, hidden: int) -> Block:
    """Make a layer an MTP module: two norms, the joining projection, a norm before the shared head."""
    block.name = f"mtp: {block.name}"
    block.linears.append(site.linear("eh_proj", "attention", 2 * hidden, hidden, plain=site.recipe.plain))
    block.other += 3 * hidden
    return block


def routed_layers(text: Keys, layers: int) -> list[bool]:
    """Which layers route to experts: ``mlp_layer_types``, or the first dense ones and a stride."""
    kinds = text.words("mlp_layer_types", choices=("dense", "sparse"), length=layers)
    first = text.count("first_k_dense_replace", default=0, low=0, high=LAYERS)
    listed = text.get("moe_layer_freq")
    flags = text.counts("moe_layer_freq", length=layers, high=1) if isinstance(listed, list) else None
    stride = 1 if flags is not None else text.count("moe_layer_freq", default=1, high=LAYERS)
    if kinds is not None:
        return [kind == "sparse" for kind in kinds]
    if flags is not None:
        return [flag == 1 for flag in flags]
    return [i >= first and i % stride == 0 for i in range(layers)]
