"""Operators and collectives with their counts, on one device, for one layer.

Notes
-----
Counts follow the usual definition: a GEMM of ``[m, k] x [k, n]`` is ``2 m n k`` FLOP (one multiply and one add).
Bytes are what must cross the memory interface at least once: weights, inputs and outputs, cache entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Number = Any
"""A float, or an array that broadcasts against the others of one lowering."""

COMPUTE_KINDS = (
    "gemm",
    "grouped_gemm",
    "prefill_attention",
    "decode_attention",
    "linear_attention",
    "elementwise",
)
COLLECTIVE_KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "point_to_point")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Work of one device: FLOP in ``dtype`` and bytes through its memory.

    ``count`` is how often it stands in the model (layers of its kind). ``m, n, k`` are the extents of one GEMM
    on this device; ``groups`` the number of experts whose weights are read; ``parallel`` the number of
    independent sequence-by-head streams an attention kernel can spread over the chip. For elementwise work ``groups``
    counts kernels.
    """

    name: str
    group: str
    kind: str
    count: float
    flop: Number
    weight_bytes: Number
    io_bytes: Number
    dtype: str = "bf16"
    m: Number = 1.0
    n: Number = 1.0
    k: Number = 1.0
    groups: Number = 1.0
    parallel: Number = 1.0
    widened: bool = False  # weights are stored narrower than they multiply
    latent: bool = False  # attention over one latent head (MLA, absorbed)
    sparse: bool = False  # attention over entries that an indexer picked


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective:
    """An exchange among ``ranks`` devices; ``bytes_out`` is what one device contributes [byte].

    all_reduce: the size of the reduced vector. all_gather: what one rank contributes. reduce_scatter: the whole
    vector before reduction. all_to_all: what one rank sends to all others together. point_to_point: the message.
    ``stride`` is the distance in devices between neighbours of the group (1: contiguous).
    """

    name: str
    group: str
    kind: str
    count: float
    bytes_out: Number
    ranks: Number
    stride: Number = 1.0
    copies: Number = 1.0  # all_to_all: destinations of one row; rows to one domain may travel together


Operator = Compute | Collective
