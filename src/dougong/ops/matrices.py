"""Matrices and passes over the residual, on one device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from dougong.catalog.models import Linear
from dougong.ops.operators import Compute, Number
from dougong.ops.shapes import Dtypes, bytes_of, least

ELEMENTWISE_PASSES = 10.0
"""Times the residual row is read or written per layer by norms, rotary, activation and quantisation kernels."""


def split_ways(linear: Linear, tp: Number) -> Number:
    """How many ranks really share a matrix; the rest hold copies."""
    if linear.shard == "none":
        return 1.0
    return least(tp, float(linear.ways))


def fused(linears: Iterable[Linear]) -> Iterator[tuple[Linear, ...]]:
    """Neighbours that read the same rows, as engines store them: one matrix of all their columns."""

    def shared(linear: Linear) -> object:
        alone = linear.shard == "row" or linear.absorbed or linear.copies > 1
        return linear.name if alone else (linear.group, linear.inputs, linear.dtype)

    for _, together in groupby(linears, shared):
        yield tuple(together)


def joint_gemm(
    linears: Sequence[Linear], count: float, tokens: Number, tp: Number, dtypes: Dtypes
) -> Compute:
    """Matrices that read the same rows, as one; see :func:`fused`."""
    parts = [gemm(linear, count, tokens, tp, dtypes) for linear in linears]
    first = parts[0]
    if len(parts) == 1:
        return first
    width = sum(part.n for part in parts)
    return replace(
        first,
        name="+".join(part.name for part in parts),
        flop=sum(part.flop for part in parts),
        weight_bytes=sum(part.weight_bytes for part in parts),
        io_bytes=tokens * (first.k + width) * bytes_of(dtypes.activation),
        n=width,
    )


def gemm(linear: Linear, count: float, tokens: Number, tp: Number, dtypes: Dtypes) -> Compute:
    """One matrix on one device, applied to ``tokens`` rows."""
    ways = split_ways(linear, tp)
    values = linear.copies * linear.inputs * linear.outputs / ways
    rows_in, rows_out = (
        (linear.inputs / ways, linear.outputs)
        if linear.shard == "row"
        else (linear.inputs, linear.outputs / ways)
    )
    return Compute(
        name=linear.name,
        group=linear.group,
        kind="gemm",
        count=count,
        flop=2.0 * tokens * values,
        weight_bytes=values * bytes_of(linear.dtype),
        io_bytes=tokens * linear.copies * (rows_in + rows_out) * bytes_of(dtypes.activation),
        dtype=dtypes.compute[linear.dtype],
        widened=dtypes.widens(linear.dtype),
        m=tokens,
        n=rows_out,
        k=rows_in,
    )


def elementwise(
    name: str, group: str, count: float, tokens: Number, hidden_size: int, kernels: float
) -> Compute:
    """Passes over the residual by ``kernels`` kernels."""
    return Compute(
        name=name,
        group=group,
        kind="elementwise",
        count=count,
        flop=tokens * 0.0,
        weight_bytes=0.0,
        io_bytes=tokens * hidden_size * 2.0 * ELEMENTWISE_PASSES,
        m=tokens,
        groups=kernels,
    )
