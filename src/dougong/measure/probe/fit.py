"""Parameters of one's own machine from its measured operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from dougong.calibration import Parameters, forms
from dougong.measure.descent import descend
from dougong.measure.probe.rows import Row

ENGINE = "llama-cpp"
"""The engine class whose own kernels ggml's rows are."""

_LAYER_NODES = 10.0
"""Small operators of a llama.cpp layer beside those that are priced: rotations, cache writes, residual sums, copies."""

_LARGE_ROWS = 64
_COLD_BYTES = 8e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What rows came to.

    Attributes
    ----------
    peaks
        Format to the best rate seen [FLOP/s].
    bandwidth_bytes_per_s
        Best reading rate from memory [byte/s].
    operator, engine
        Parameters of this chip, and of the engine class on it; empty where its kernels were not measured.
    error_frac
        Median of ``|log(predicted / measured)|`` over the fitted rows, and over those of the worst kind [1].
    """

    peaks: Mapping[str, float]
    bandwidth_bytes_per_s: float
    operator: Mapping[str, float]
    engine: Mapping[str, float]
    error_frac: Mapping[str, float]


def peaks_of(rows: Sequence[Row]) -> dict[str, float]:
    """Return the best rate of a large GEMM by format [FLOP/s]."""
    peaks: dict[str, float] = {}
    for row in rows:
        if row.op == "gemm" and row.m >= _LARGE_ROWS:
            peaks[row.dtype] = max(peaks.get(row.dtype, 0.0), row.flop / row.seconds)
    return peaks


def fit(rows: Sequence[Row]) -> Fitted:
    """Fit the rows of one probe."""
    peaks = peaks_of(rows)
    passes = [row for row in rows if row.op in ("read", "copy")]
    largest = max((row.bytes / row.threads for row in passes), default=0.0)
    # A matrix too large for a core's own cache is read as a pass reads: both are memory.
    streams = [row for row in rows if row.op == "gemm" and row.m == 1 and row.bytes > _COLD_BYTES]
    far = [row for row in passes if row.bytes / row.threads >= largest / 8]
    bandwidth = max(row.bytes / row.seconds for row in [*far, *streams])
    own = [row for row in rows if row.library == "ggml"]
    if not own:
        return Fitted(peaks=peaks, bandwidth_bytes_per_s=bandwidth, operator={}, engine={}, error_frac={})
    small_s = [row.typical_s for row in own if row.op == "elementwise"]
    small = max(min(small_s), 1e-9) if small_s else 1e-7
    fixed = {
        "gemm_depth_s": 1e-15,  # a core walks along k at the rate it computes
        "gemm_vector_rows": 1.0,  # and pads no rows to a tile
        "gemm_tile_rows": 1.0,
        "elementwise_fixed_s": small,
    }
    operator, error = operator_of(
        own, peaks, bandwidth, fixed=fixed, io_bytes=lambda row: 4.0 * row.m * (row.n + row.k)
    )
    engine = {
        "compute_slowdown": 1.0,
        "memory_slowdown": 1.0,
        "fixed_frac": 1.0,
        "widening_frac": 1.0,
        "layer_s": _LAYER_NODES * small,
    }
    return Fitted(
        peaks=peaks, bandwidth_bytes_per_s=bandwidth, operator=operator, engine=engine, error_frac=error
    )


def operator_of(
    rows: Sequence[Row],
    peaks: Mapping[str, float],
    bandwidth: float,
    *,
    fixed: Mapping[str, float],
    io_bytes: Callable[[Row], float],
) -> tuple[dict[str, float], dict[str, float]]:
    """Fit the parameters of a chip to its rows.

    Parameters
    ----------
    peaks, bandwidth
        Best rates seen [FLOP/s], [byte/s].
    fixed
        Parameters that are told and not fitted.
    io_bytes
        What a GEMM reads and writes beside its weights [byte].

    Returns
    -------
    tuple
        Parameters, and the median error by kind of operator [1].
    """
    # Where BLAS is faster at a format than the engine, the format's peak is not what the engine comes near.
    gemms = [row for row in rows if row.op == "gemm" and row.dtype != "fp32"]
    base = base_of(peaks)
    decode = [row for row in rows if row.op == "decode_attention"]
    prefill = [row for row in rows if row.op == "prefill_attention"]
    fixed = dict(fixed)
    shared = replace(Parameters.load(), **fixed)

    def with_gemm(p: Parameters, at: Mapping[str, float]) -> Parameters:
        eff = at["gemm_efficiency"]
        # Peaks are the best rates seen here, in each format: the share that is reached is one for all of them.
        every = dict.fromkeys(
            ("gemm_efficiency", "gemm_efficiency_limit", "gemm_efficiency_int8", "gemm_efficiency_fp4"), eff
        )
        return replace(p, **every, **{name: value for name, value in at.items() if name != "gemm_efficiency"})

    def gemm_ratio(p: Parameters, row: Row) -> float:
        weights = row.bytes - io_bytes(row)
        seconds = forms.gemm_s(
            p, flop=row.flop, weight_bytes=weights, io_bytes=row.bytes - weights, m=row.m, k=row.k,
            peak_flop_per_s=peaks[row.dtype], bandwidth_bytes_per_s=bandwidth,
            compute_efficiency=p.gemm_efficiency,
        )  # fmt: skip
        return math.log(float(seconds) / row.typical_s)

    def gemm_loss(at: Mapping[str, float]) -> float:
        p = with_gemm(shared, at)
        return sum(abs(gemm_ratio(p, row)) for row in gemms)

    found = descend(
        {
            "gemm_fixed_s": 1e-6,
            "gemm_memory_efficiency": 0.8,
            "gemm_efficiency": 0.9,
            "gemm_start_depth": 30.0,
            "gemm_serial_frac": 0.7,
        },
        gemm_loss,
        bounds={
            "gemm_fixed_s": (1e-8, 1e-3),
            "gemm_memory_efficiency": (0.05, 1.0),
            "gemm_efficiency": (0.3, 1.2),  # the best rate seen pays for the start of its sums too
            "gemm_start_depth": (0.1, 1e4),
            "gemm_serial_frac": (1e-3, 1.0),
        },
    )
    p = with_gemm(shared, found)
    fixed |= {
        name: getattr(p, name)
        for name in (
            "gemm_fixed_s", "gemm_memory_efficiency", "gemm_efficiency", "gemm_efficiency_limit",
            "gemm_efficiency_int8", "gemm_efficiency_fp4", "gemm_start_depth", "gemm_serial_frac",
        )
    }  # fmt: skip
    error = {"gemm": median(abs(gemm_ratio(p, row)) for row in gemms)}
    if decode:
        p, ratios = _decode_attention(p, decode, peaks[base], bandwidth)
        error["decode_attention"] = median(ratios)
        fixed |= {
            name: getattr(p, name)
            for name in (
                "decode_attention_fixed_s", "latent_attention_fixed_s", "attention_memory_efficiency",
                "decode_attention_efficiency", "sparse_attention_efficiency",
            )
        }  # fmt: skip
    if prefill:
        reached = median(row.flop / row.typical_s for row in prefill) / peaks[base]
        fixed |= {
            "prefill_attention_efficiency": min(reached, 1.0),
            "prefill_attention_fixed_s": fixed["gemm_fixed_s"],
        }
    return fixed, error


def _decode_attention(
    p: Parameters, rows: Sequence[Row], peak: float, bandwidth: float
) -> tuple[Parameters, list[float]]:
    def with_(at: Mapping[str, float]) -> Parameters:
        start, reached = at["fixed_s"], at["efficiency"]
        return replace(
            p, decode_attention_fixed_s=start, latent_attention_fixed_s=start,
            attention_memory_efficiency=p.gemm_memory_efficiency, decode_attention_efficiency=reached,
            sparse_attention_efficiency=reached,
        )  # fmt: skip

    def ratio(one: Parameters, row: Row) -> float:
        seconds = forms.decode_attention_s(
            one, flop=row.flop, kv_bytes=row.bytes, peak_flop_per_s=peak, bandwidth_bytes_per_s=bandwidth
        )
        return abs(math.log(float(seconds) / row.typical_s))

    found = descend(
        {"fixed_s": 2e-6, "efficiency": 0.3},
        lambda at: sum(ratio(with_(at), row) for row in rows),
        bounds={"fixed_s": (1e-8, 1e-3), "efficiency": (0.01, 1.0)},
    )
    best = with_(found)
    return best, [ratio(best, row) for row in rows]


def base_of(peaks: Mapping[str, float]) -> str:
    """The format that attention multiplies in, as :func:`dougong.cost.precision.base_dtype` chooses it."""
    return next(name for name in ("bf16", "fp16", "fp32") if name in peaks)
