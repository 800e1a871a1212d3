"""The table of operators that are verified: one :class:`Definition` each, by name; one module per family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dougong.ops.definition import Definition
from dougong.ops.definitions import (
    activation,
    attention,
    cast,
    collective,
    dynamic_quant,
    elementary,
    gather,
    gemm,
    graph,
    kv_write,
    latent_attention,
    lora,
    moe,
    norm,
    paged_attention,
    quantised_gemm,
    reduction,
    rope,
    sampler,
    selection,
    softmax,
    view,
)

_FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
    attention,
    paged_attention,
    latent_attention,
    kv_write,
    softmax,
    activation,
    elementary,
    reduction,
    selection,
    sampler,
    moe,
    gather,
    collective,
    lora,
    view,
)

_EACH = tuple(each for family in _FAMILIES for each in family.DEFINITIONS)

DEFINITIONS: Mapping[str, Definition] = MappingProxyType(
    {each.name: each for each in (*_EACH, *graph.graphs(_EACH))}
)
"""Every operator that a backend may be asked to run, by name."""
