"""Error bounds of every operator, from its inputs in float64, under the operator's name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dougong.backends import Array, Call
from dougong.verify.bound import Bound
from dougong.verify.bounds import (
    gemm,
)

Bounder = Callable[[Call, Mapping[str, Array]], dict[str, Bound]]
"""From a call and its exact outputs to the bound of each output; an exact output has none."""

_FAMILIES = (gemm,)

BOUNDS: Mapping[str, Bounder] = MappingProxyType(
    {name: bounder for family in _FAMILIES for name, bounder in family.BOUNDS.items()}
)
