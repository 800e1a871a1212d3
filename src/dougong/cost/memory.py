"""Bytes on the fullest device of a replica, and how many sequences fit.

Notes
-----
weights = matrices split by what really splits them + experts' slots + embedding and head split by ``tp``;
cache per sequence = entries kept x bytes per entry + states. One pipeline stage holds ``ceil(layers / pp)`` layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dougong.catalog.models import DTYPE_BITS, Layer, Model
from dougong.cost.machine import Machine
from dougong.ops import Dtypes, Ranks
from dougong.ops.cache import cached_entries, entry_bytes, state_bytes
from dougong.ops.matrices import split_ways
from dougong.ops.operators import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of one device, before any sequence [byte], and per sequence [byte]."""

    weights: Number
    activations: Number
    communication: Number
    reserve: Number
    capacity: Number
    cache_per_sequence: Number  # of one attention group's sequence in every pipeline stage's micro-batch

    @property
    def free(self) -> Number:
        """What is left for cache [byte]; negative if the weights do not fit."""
        return self.capacity - self.weights - self.activations - self.communication - self.reserve

    @property
    def sequences(self) -> Number:
        """Sequences an attention group can hold per micro-batch, not below 0 [sequence]."""
        return np.floor(np.maximum(self.free, 0.0) / self.cache_per_sequence)


def layer_weights(layer: Layer, ranks: Ranks) -> Number:
    """Bytes of one layer's weights on one device [byte]."""
    total: Number = layer.other_parameters * 2.0
    for linear in layer.linears:
        total = total + linear.parameters / split_ways(linear, ranks.tp) * DTYPE_BITS[linear.dtype] / 8
    if layer.experts is not None:
        slots = np.ceil(np.maximum(layer.experts.num / ranks.ep, 1.0))
        bank = layer.experts.parameters_per_expert * DTYPE_BITS[layer.experts.dtype] / 8
        total = total + slots * bank / ranks.expert_tp
    return total


def weights_per_device(model: Model, ranks: Ranks, pp: Number, *, mtp: bool = False) -> Number:
    """Bytes of weights on the fullest device [byte]."""
    stack: Number = 0.0
    for layer in model.layers:
        stack = stack + layer.count * layer_weights(layer, ranks)
    fullest = np.ceil(model.num_layers / pp) / model.num_layers
    ways = np.minimum(ranks.tp, float(model.head.ways))
    ends = model.embedding_parameters * DTYPE_BITS[model.embedding_dtype] / 8
    ends = ends + (0.0 if model.tied_embeddings else model.head.parameters * DTYPE_BITS[model.head.dtype] / 8)
    # With several stages embedding and head sit on different devices; the larger is what counts.
    ends = np.where(np.asarray(pp) > 1, np.maximum(ends / 2, 0.0), ends) / ways
    drafts: Number = 0.0
    for layer in model.mtp_layers if mtp else ():
        drafts = drafts + layer.count * layer_weights(layer, ranks)
    return stack * fullest + ends + drafts


def cache_per_sequence(model: Model, context: Number, ranks: Ranks, dtypes: Dtypes) -> Number:
    """Bytes of cache and state one sequence of ``context`` tokens holds, all layers, on one device [byte]."""
    total: Number = 0.0
    for layer in model.layers:
        core = layer.core
        entries = cached_entries(core, context) / ranks.cp
        total = total + layer.count * (
            entries * entry_bytes(core, dtypes.kv, ranks.tp) + state_bytes(core, dtypes.kv, ranks.tp)
        )
    return total


def kv_bytes_per_token(model: Model, kv_dtype: str | None = None) -> float:
    """Bytes one more token adds to the cache, all layers, one copy, windows not yet full [byte/token]."""
    kv = kv_dtype or model.default_kv_dtype
    return math.fsum(
        layer.count * entry_bytes(layer.core, kv, 1.0) / layer.core.compress
        for layer in model.layers
        if layer.core.kind not in ("linear", "none") and not layer.core.shares_cache
    )


def footprint(
    model: Model,
    machine: Machine,
    ranks: Ranks,
    pp: Number,
    dtypes: Dtypes,
    *,
    context: Number,
    step_tokens: Number,
    utilisation: float,
    graph_bytes: float,
    mtp: bool = False,
) -> Footprint:
    """Account for every byte of the fullest device.

    Parameters
    ----------
    context
        Cached tokens of one sequence at its longest [token].
    step_tokens
        Largest number of tokens one attention group computes in a step [token].
    utilisation
        Share of the device memory the engine may take [1].
    graph_bytes
        Captured graphs and runtime context of an engine process [byte].
    """
    widest = max(
        [model.hidden_size * 4.0]
        + [
            linear.outputs * 1.0
            for _, linear in model.each_linear()
            if linear.group in ("dense_ffn", "attention")
        ]
    )
    # Two live activations of the widest row per token, and logits of one sampled batch, in 16 bits.
    activations = (
        step_tokens * 2.0 * (model.hidden_size * 2 + widest / ranks.tp)
        + model.vocab_size * 256 * 2.0 / ranks.tp
    )
    top_k = max([layer.experts.top_k for layer in model.layers if layer.experts] or [0])
    # Send and receive buffers of one step's exchange, where there is one.
    exchange = (
        2.0 * step_tokens * model.hidden_size * 2.0 * np.minimum(top_k + 0.0 * ranks.ep, ranks.ep) / ranks.tp
    )
    communication = np.where(ranks.attn_dp > 1.5, exchange, 0.0) + np.where(ranks.width > 1.5, 512e6, 0.0)
    return Footprint(
        weights=weights_per_device(model, ranks, pp, mtp=mtp),
        activations=activations,
        communication=communication,
        reserve=(1.0 - utilisation) * machine.capacity + graph_bytes,
        capacity=machine.capacity,
        cache_per_sequence=cache_per_sequence(model, context, ranks, dtypes) + 1e-9,
    )
