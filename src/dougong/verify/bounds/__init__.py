"""Error bounds of every operator, from its inputs in float64, under the operator's name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dougong.backends import Array, Call
from dougong.verify.bound import Bound, Rule
from dougong.verify.bounds import (
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

Bounder = Callable[[Call, Mapping[str, Array]], Mapping[str, Bound | Rule]]
"""From a call and its exact outputs to the bound or the rule of each output.

An output that is left out must equal the reference bit for bit, once that is rounded to its dtype."""

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

_EACH: dict[str, Bounder] = {name: bounder for family in _FAMILIES for name, bounder in family.BOUNDS.items()}

BOUNDS: Mapping[str, Bounder] = MappingProxyType({**_EACH, **graph.graphs(_EACH)})
