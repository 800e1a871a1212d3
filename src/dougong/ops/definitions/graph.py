"""Operators as graphs, captured once and replayed: of each family that a decode step has, one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType

from dougong.ops.definition import Definition

PREFIX = "captured_"
"""What the name of a graph has before that of its operator."""

CAPTURED = (
    "linear",
    "linear_w8a8",
    "cast",
    "dynamic_quant",
    "rms_norm",
    "rope",
    "attention",
    "paged_attention",
    "latent_attention",
    "latent_cache_write",
    "softmax",
    "swiglu",
    "exp",
    "sum",
    "top_k",
    "filter_probabilities",
    "route_sigmoid",
    "moe_combine",
    "embedding",
    "lora_merge",
    "transpose",
)
"""Operators that are also asked for as a graph, where they are defined."""


def graphs(operators: Iterable[Definition]) -> Iterator[Definition]:
    """Define the graphs of operators."""
    for inner in operators:
        if inner.name in CAPTURED:
            yield replace(
                inner,
                name=f"{PREFIX}{inner.name}",
                family="graph",
                formula=f"{inner.formula}; captured with other inputs of the same shapes, padded to capture_rows rows "
                "where there are fewer, then replayed with these",
                attributes=MappingProxyType({**inner.attributes, "capture_rows": 0, "compiler": ""}),
                priced_as=None,
                references=(),
            )
