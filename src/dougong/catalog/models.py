"""Inner record of a model: what the lowering and the memory account need, and nothing of a file format.

A model is a list of layer kinds with counts. Each layer lists its matrices one by one (:class:`Linear`,
:class:`Experts`) and describes its attention core (:class:`Core`), so that parameter counts are exact and one
lowering serves every architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dougong.facts import Figure, Unknown

GROUPS = ("attention", "indexer", "dense_ffn", "shared_expert", "router", "experts", "head", "other")

DTYPE_BITS: Mapping[str, float] = {
    "fp32": 32.0,
    "bf16": 16.0,
    "fp16": 16.0,
    "fp8_e4m3": 8.0,
    "int8": 8.0,
    "int4": 4.0,
    "mxfp8": 8.25,  # one 8-bit scale per 32 values (OCP MX v1.0, section 5.1)
    "mxfp4": 4.25,  # likewise
    "nvfp4": 4.5,  # one 8-bit scale per 16 values
    "int4_g32": 4.5,  # one 16-bit scale per 32 values
    "int4_g128": 4.125,
    "q4_0": 4.5,  # llama.cpp: one 16-bit scale per 32 values
    "q4_1": 5.0,  # llama.cpp: a scale and a least value, 16 bits each, per 32 values
    "q8_0": 8.5,  # llama.cpp: one 16-bit scale per 32 values
    "q4_k_m": 4.8944,  # llama.cpp: a mixture; tools/quantize/README.md, Llama-3.1-8B, bits per weight
}
"""Stored bits per value, block scales included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One weight matrix applied to every token.

    ``ways`` is the largest tensor-parallel degree that still splits it (heads, groups); beyond it ranks hold
    copies. ``shard``: ``column`` splits the outputs, ``row`` splits the inputs and owes an all-reduce,
    ``none`` is copied to every rank.
    """

    name: str
    group: str
    inputs: int
    outputs: int
    shard: str = "none"
    ways: int = 1 << 30
    bias: bool = False
    dtype: str = "bf16"  # stored dtype of the checkpoint
    copies: int = 1  # independent matrices of this shape (for instance per head)
    absorbed: bool = False  # MLA k_up / v_up: in absorbed decode applied per head to the latent instead

    @property
    def parameters(self) -> int:
        """Weights and biases, all ranks together."""
        return self.copies * (self.inputs * self.outputs + (self.outputs if self.bias else 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A bank of routed experts: each token visits ``top_k`` of ``num``."""

    num: int
    top_k: int
    inputs: int  # width of what is routed (the hidden size, or a latent width)
    ffn_size: int
    matrices: int = 3  # gate, up, down; 2 without a gate
    bias: bool = False
    dtype: str = "bf16"

    @property
    def parameters_per_expert(self) -> int:
        """Weights and biases of one expert."""
        weights = self.matrices * self.inputs * self.ffn_size
        biases = (self.matrices - 1) * self.ffn_size + self.inputs if self.bias else 0
        return weights + biases


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The part of attention that mixes tokens: no weights, but a cache or a state.

    kind ``full``: scores over cached keys. One query token against one cached entry costs
    ``2 * num_heads * (qk_dim + v_dim)`` FLOP; an entry holds ``num_kv_heads * (qk_dim + v_dim)`` values.
    kind ``mla``: an entry holds ``latent_dim + rope_dim`` values. Prefill is naive (per head
    ``qk_dim``/``v_dim``), decode is absorbed (per head ``latent_dim + rope_dim`` and ``latent_dim``).
    kind ``linear``: a state of ``state_values`` per sequence, no cache; ``flop_per_token`` per token.
    kind ``none``: the layer has no attention.
    """

    kind: str
    num_heads: int = 0
    num_kv_heads: int = 0
    qk_dim: int = 0
    v_dim: int = 0
    latent_dim: int = 0
    rope_dim: int = 0
    window: int | None = None  # a query sees at most this many entries
    compress: int = 1  # one cached entry stands for this many tokens (beyond ``local_window``)
    local_window: int = 0  # uncompressed recent entries beside the compressed ones
    top_k: int | None = None  # an indexer picks this many entries
    index_heads: int = 0
    index_dim: int = 0  # values of the index key kept per entry
    index_bytes_per_value: float = 1.0
    shares_cache: bool = False  # reads another layer's cache; stores none
    shared_kv: bool = False  # key and value are the same stored vector (V4, MLA-like MQA)
    extra_bytes_8_bit: int = (
        0  # of an entry in an 8-bit cache: scales, and rotary values kept in 16 bits [byte]
    )
    state_values: int = 0  # linear: values of the recurrent state per sequence
    state_dtype: str = "fp32"
    conv_values: int = 0  # linear: values of the short-convolution state per sequence
    flop_per_token: int = 0  # linear: FLOP per token, all heads

    @property
    def entry_values(self) -> int:
        """Cached values per entry [values], without index keys, all key-value heads together."""
        if self.shares_cache or self.kind in ("linear", "none"):
            return 0
        if self.kind == "mla":
            return self.latent_dim + self.rope_dim
        return self.num_kv_heads * (self.qk_dim if self.shared_kv else self.qk_dim + self.v_dim)

    def bytes_of_values(self, values: int, bytes_per_value: float) -> float:
        """Bytes of ``values`` of one entry [byte]: what an 8-bit cache keeps beside them is counted in."""
        extra = self.extra_bytes_8_bit if values and bytes_per_value == 1.0 else 0
        return values * bytes_per_value + extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One kind of layer and how often it stands in the model."""

    name: str
    count: int
    core: Core
    linears: tuple[Linear, ...]
    experts: Experts | None = None
    other_parameters: int = (
        0  # norms, gates, convolutions: copied to every rank, counted, not priced as a GEMM
    )
    indices: tuple[int, ...] = ()  # which layers of the model, for the curious


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An open-weight model."""

    id: str
    name: str
    vendor: str
    family: str  # model_type of the configuration
    hidden_size: int
    vocab_size: int
    layers: tuple[Layer, ...]
    head: Linear
    tied_embeddings: bool
    max_context_tokens: int
    embedding_parameters: int  # input embedding, and per-layer embeddings where a model has them
    embedding_dtype: str = "bf16"
    other_parameters: int = 0  # outside layers: the final norm
    mtp_layers: tuple[
        Layer, ...
    ] = ()  # multi-token-prediction modules, not in the published total of most models
    mtp_num: int = 0  # how many tokens the shipped MTP module drafts in sequence
    default_kv_dtype: str = "bf16"
    activation_dtype: str = "bf16"  # what quantised matrices multiply with in the checkpoint's own recipe
    residual_streams: int = 1  # hyper-connections keep several copies of the residual
    aliases: tuple[str, ...] = ()
    license: str = ""
    base: str | None = None
    relation: str = ""  # of a derivative to its base: fine-tune | quantised | distilled | ...
    absent: tuple[str, ...] = ()  # parts that exist and are not priced, each named (a vision tower)
    published_total: Figure | Unknown | None = None
    published_active: Figure | Unknown | None = None
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def each_linear(self, *, mtp: bool = False) -> Iterator[tuple[int, Linear]]:
        """(count, matrix) of every layer, head excluded."""
        for layer in (*self.layers, *(self.mtp_layers if mtp else ())):
            for linear in layer.linears:
                yield layer.count, linear

    def parameters(self, *, mtp: bool = False) -> int:
        """Parameters held, exact: embeddings, every matrix, experts, norms; MTP modules on request."""
        total = self.embedding_parameters + self.other_parameters
        total += 0 if self.tied_embeddings else self.head.parameters
        for layer in (*self.layers, *(self.mtp_layers if mtp else ())):
            total += layer.count * _layer_parameters(layer, layer.experts.num if layer.experts else 0)
        return total

    def active_parameters(self) -> int:
        """Parameters one token passes through: the head, ``top_k`` experts, no embedding look-up."""
        return (
            self.head.parameters
            + self.other_parameters
            + sum(
                layer.count * _layer_parameters(layer, layer.experts.top_k if layer.experts else 0)
                for layer in self.layers
            )
        )

    @property
    def num_layers(self) -> int:
        """Layers of the main stack."""
        return sum(layer.count for layer in self.layers)

    @property
    def is_moe(self) -> bool:
        """Whether any layer routes tokens to experts."""
        return any(layer.experts for layer in self.layers)


def _layer_parameters(layer: Layer, experts: int) -> int:
    bank = layer.experts.parameters_per_expert * experts if layer.experts else 0
    return bank + layer.other_parameters + sum(linear.parameters for linear in layer.linears)
