"""The table of operators that are verified: one :class:`Definition` each, by name; one module per family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dougong.ops.definition import Definition
from dougong.ops.definitions import (
    cast,
    dynamic_quant,
    gemm,
    norm,
    quantised_gemm,
    rope,
)

_FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
)

DEFINITIONS: Mapping[str, Definition] = MappingProxyType(
    {each.name: each for family in _FAMILIES for each in family.DEFINITIONS}
)
"""Every operator that a backend may be asked to run, by name."""
