"""The float64 reference: the formula of every operator, in numpy, with nothing rounded but the result.

``FORMULAS`` maps a name of :data:`dougong.ops.definitions.DEFINITIONS` to a function from a :class:`Call` to its
outputs in float64 (or exact integers). Inputs are taken as they are: their own rounding is not an error.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dougong.backends.port import Array, Call
from dougong.backends.reference import (
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

Formula = Callable[[Call], dict[str, Array]]

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

_EACH: dict[str, Formula] = {
    name: formula for family in _FAMILIES for name, formula in family.FORMULAS.items()
}

FORMULAS: Mapping[str, Formula] = MappingProxyType({**_EACH, **graph.graphs(_EACH)})

__all__ = ["FORMULAS", "Formula"]
