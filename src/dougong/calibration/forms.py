"""Seconds of one operator on one device, from its counts and the datasheet figures of the chip.

Every function takes scalars or arrays that broadcast against each other, has no loop, and uses at most one
square root: it is the inner loop of the search.

Notes
-----
``t_c`` is time at the reached compute rate, ``t_m`` at the reached memory bandwidth. They combine as
``sqrt(t_c^2 + t_m^2)``: measured kernels overlap the two well except where both are near the limit, and the
quadratic mean fitted better than the maximum and the sum; see ``gemm_serial_frac`` for a single core.

References
----------
Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009. Alpha-beta model of collectives and pipelined
trees: Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005. Fitted on the rows of ``data/operator-facts.csv``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong.calibration.chips import WIDE_TILE_ROWS
from dougong.calibration.parameters import Parameters

Number = Any
"""A float, or an array that broadcasts against the others."""


def _joined(p: Parameters, t_c2: Number, t_m: Number) -> Number:
    """Square of the time of computing and reading together."""
    joined = t_c2 + t_m * t_m
    # Only a single core computes and reads by turns: the second root is left out of every other chip's search.
    return joined + 2.0 * p.gemm_serial_frac * t_m * np.sqrt(t_c2) if p.gemm_serial_frac else joined


def _reached(nominal: Number, efficiency: Number, sustained: Number | None) -> Number:
    """Rate that work meets: the fitted share of the nominal one, and no more than the chip sustains."""
    rate = nominal * efficiency
    return rate if sustained is None else np.minimum(rate, sustained)


def _compute_squared(
    p: Parameters, flop: Number, peak: Number, bandwidth: Number, efficiency: Number, sustained: Number | None
) -> Number:
    # On-chip traffic per FLOP is set by tile sizes, and on-chip bandwidth follows memory bandwidth:
    # the more FLOP per byte a chip has, the longer its units wait to be fed.
    limit, reference = p.gemm_efficiency_limit, p.gemm_balance_flop_per_byte
    starving = np.maximum((limit / efficiency) ** 2 - 1.0, 0.0) / (reference * reference)
    balance = peak / bandwidth
    t_peak = flop / (peak * limit)
    t_c2 = t_peak * t_peak * (1.0 + balance * balance * starving)
    if sustained is None:
        return t_c2
    t_sustained = flop / sustained
    return np.maximum(t_c2, t_sustained * t_sustained)


def gemm_s(
    p: Parameters,
    *,
    flop: Number,
    weight_bytes: Number,
    io_bytes: Number,
    m: Number,
    k: Number,
    peak_flop_per_s: Number,
    bandwidth_bytes_per_s: Number,
    n: Number = 1.0,
    compute_efficiency: Number | None = None,
    sustained_flop_per_s: Number | None = None,
    sustained_bytes_per_s: Number | None = None,
) -> Number:
    """Seconds of one dense GEMM ``[m, k] x [k, n]`` [s].

    Parameters
    ----------
    p
        Fitted parameters.
    flop
        ``2 m n k`` [FLOP].
    weight_bytes, io_bytes
        Weights; activations in and out [byte]. A quantised GEMM's own quantisation pass is an elementwise
        operator beside it.
    m, n, k
        Extents [1]. ``n`` does not enter: narrow outputs are covered by the depth term.
    peak_flop_per_s
        Dense peak of the dtype that multiplies [FLOP/s].
    bandwidth_bytes_per_s
        Nominal memory bandwidth [byte/s].
    compute_efficiency
        :meth:`Parameters.compute_efficiency` of that dtype; by default that of bf16 and fp8 [1].
    sustained_flop_per_s, sustained_bytes_per_s
        Most that large GEMMs and copies were measured to reach on the chip, which power or clocks may hold far below
        the nominal rates [FLOP/s, byte/s]; None where nobody measured.

    Notes
    -----
    ``t = t_0 + sqrt(t_c^2 + t_m^2 + 2 s t_c t_m + t_k^2)``, ``s`` the share of reading that nothing hides: 0 but on
    a single core. ``t_c = (1 + k_0 / k) flop / (peak e(I))`` with ``I = peak / bandwidth`` and
    ``e(I) = limit / sqrt(1 + ((limit / efficiency)^2 - 1) (I / 300)^2)``: the limit on a chip of little
    compute per byte, the given efficiency at 300 FLOP/byte, falling as ``1 / I`` beyond. Rows are rounded up
    to a tile, or go one by one to the vector units where they are few. ``t_k = k * depth`` is the walk of one
    column of tiles along ``k``, which bounds narrow GEMMs that cannot fill the chip. Fitted for m from 1 to
    16,384, n from 256 to 32,768, k from 256 to 16,384 and I from 72 to 1,875.
    """
    efficiency = p.gemm_efficiency if compute_efficiency is None else compute_efficiency
    rows = np.minimum(np.ceil(m / p.gemm_tile_rows) * p.gemm_tile_rows, p.gemm_vector_rows * m)
    work = flop * (rows / m) * (1.0 + p.gemm_start_depth / k)
    t_c2 = _compute_squared(p, work, peak_flop_per_s, bandwidth_bytes_per_s, efficiency, sustained_flop_per_s)
    t_m = (weight_bytes + io_bytes) / _reached(
        bandwidth_bytes_per_s, p.gemm_memory_efficiency, sustained_bytes_per_s
    )
    t_k = k * p.gemm_depth_s
    return p.gemm_fixed_s + np.sqrt(_joined(p, t_c2, t_m) + t_k * t_k)


def grouped_gemm_s(
    p: Parameters,
    *,
    flop: Number,
    weight_bytes: Number,
    io_bytes: Number,
    tokens_per_expert: Number,
    k: Number,
    peak_flop_per_s: Number,
    bandwidth_bytes_per_s: Number,
    n: Number = 1.0,
    tile_rows: Number = WIDE_TILE_ROWS,
    compute_efficiency: Number | None = None,
    sustained_flop_per_s: Number | None = None,
    sustained_bytes_per_s: Number | None = None,
) -> Number:
    """Seconds of one GEMM of the active experts of a device [s].

    Parameters
    ----------
    p
        Fitted parameters.
    flop
        Over all tokens routed here, without padding [FLOP].
    weight_bytes
        Of the experts that at least one token visits [byte].
    io_bytes
        Activations in and out [byte].
    tokens_per_expert
        Mean tokens of a visited expert [token]; any positive real.
    n, k
        Extents of one expert's matrix [1].
    tile_rows
        :func:`dougong.calibration.chips.tile_rows` of the chip; by default that of the fitted rows [1].
    peak_flop_per_s, bandwidth_bytes_per_s, compute_efficiency, sustained_flop_per_s, sustained_bytes_per_s
        As in :func:`gemm_s`.

    Notes
    -----
    As :func:`gemm_s`, but each expert wastes ``grouped_padding_rows`` rows, in proportion on a chip of smaller
    tiles: its last tile is part empty, and experts of one batch are unequally loaded.
    """
    efficiency = p.gemm_efficiency if compute_efficiency is None else compute_efficiency
    wasted = p.grouped_padding_rows * tile_rows / WIDE_TILE_ROWS
    padded = np.minimum(1.0 + wasted / tokens_per_expert, p.gemm_vector_rows)
    work = flop * padded * (1.0 + p.gemm_start_depth / k)
    t_c2 = _compute_squared(p, work, peak_flop_per_s, bandwidth_bytes_per_s, efficiency, sustained_flop_per_s)
    t_m = (weight_bytes + io_bytes) / _reached(
        bandwidth_bytes_per_s, p.gemm_memory_efficiency, sustained_bytes_per_s
    )
    t_k = k * p.gemm_depth_s
    return p.gemm_fixed_s + np.sqrt(_joined(p, t_c2, t_m) + t_k * t_k)


def decode_attention_s(
    p: Parameters,
    *,
    flop: Number,
    kv_bytes: Number,
    peak_flop_per_s: Number,
    bandwidth_bytes_per_s: Number,
    latent: Number = 0.0,
    sparse: Number = 0.0,
    sustained_flop_per_s: Number | None = None,
    sustained_bytes_per_s: Number | None = None,
) -> Number:
    """Seconds of one decode attention over the cache of a device's sequences [s].

    Parameters
    ----------
    p
        Fitted parameters.
    flop
        Scores and weighted sum [FLOP].
    kv_bytes
        Cache entries read [byte].
    peak_flop_per_s
        Dense peak of the dtype that multiplies [FLOP/s]: bf16, or fp8 where kernels keep queries in fp8.
    bandwidth_bytes_per_s
        Nominal memory bandwidth [byte/s].
    latent
        1 for MLA (one latent head, absorbed), 0 for MHA, GQA and indexer scores [1].
    sparse
        1 where an indexer picked the entries and reads are gathered, else 0 [1].
    sustained_flop_per_s, sustained_bytes_per_s
        As in :func:`gemm_s`.

    Notes
    -----
    ``t = t_0 + sqrt(t_c^2 + t_m^2)``; ``t_0`` holds the split over the cache and the merge of its parts, so
    few short sequences do not reach the bandwidth. Fitted for batches of 1 to 128 and 1,024 to 65,536 tokens.
    """
    efficiency = p.decode_attention_efficiency + sparse * (
        p.sparse_attention_efficiency - p.decode_attention_efficiency
    )
    t_c = flop / _reached(peak_flop_per_s, efficiency, sustained_flop_per_s)
    t_m = kv_bytes / _reached(bandwidth_bytes_per_s, p.attention_memory_efficiency, sustained_bytes_per_s)
    fixed = p.decode_attention_fixed_s + latent * (p.latent_attention_fixed_s - p.decode_attention_fixed_s)
    return fixed + np.sqrt(t_c * t_c + t_m * t_m)


def prefill_attention_s(
    p: Parameters,
    *,
    flop: Number,
    io_bytes: Number,
    peak_flop_per_s: Number,
    bandwidth_bytes_per_s: Number,
    sustained_flop_per_s: Number | None = None,
    sustained_bytes_per_s: Number | None = None,
) -> Number:
    """Seconds of one prefill attention, dense or over picked entries [s].

    Parameters
    ----------
    p
        Fitted parameters.
    flop
        Scores and weighted sum below the causal diagonal [FLOP].
    io_bytes
        Queries, keys, values and outputs [byte].
    peak_flop_per_s, bandwidth_bytes_per_s, sustained_flop_per_s, sustained_bytes_per_s
        As in :func:`decode_attention_s`.
    """
    t_c = flop / _reached(peak_flop_per_s, p.prefill_attention_efficiency, sustained_flop_per_s)
    t_m = io_bytes / _reached(bandwidth_bytes_per_s, p.attention_memory_efficiency, sustained_bytes_per_s)
    return p.prefill_attention_fixed_s + np.sqrt(t_c * t_c + t_m * t_m)


def elementwise_s(
    p: Parameters,
    *,
    bytes_: Number,
    bandwidth_bytes_per_s: Number,
    kernels: Number = 1.0,
    sustained_bytes_per_s: Number | None = None,
) -> Number:
    """Seconds of norms, activations, quantisation and other passes over memory [s].

    Parameters
    ----------
    p
        Fitted parameters.
    bytes_
        Read and written, all kernels together [byte].
    bandwidth_bytes_per_s
        Nominal memory bandwidth [byte/s].
    kernels
        How many kernels share these bytes; fused ones count once [1].
    sustained_bytes_per_s
        As in :func:`gemm_s`.
    """
    return kernels * p.elementwise_fixed_s + bytes_ / _reached(
        bandwidth_bytes_per_s, p.gemm_memory_efficiency, sustained_bytes_per_s
    )
