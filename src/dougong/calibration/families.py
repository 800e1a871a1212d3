"""Which parameters are fitted on which operators, where each starts, and what it means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """A parameter before the fit."""

    name: str
    value: float
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Family:
    """Operators fitted together, and the parameters that only they decide."""

    name: str
    ops: tuple[str, ...]
    parameters: tuple[Start, ...]


CHOSEN = (
    Start("gemm_tile_rows", 64.0, "1", "rows of the least tile; chosen among 32, 64 and 128"),
    Start(
        "gemm_vector_rows",
        8.0,
        "1",
        "rows of a tile that one row costs on the vector units, where few rows go",
    ),
    Start(
        "gemm_start_depth", 0.0, "1", "units of k that starting a sum costs; hidden where many run at once"
    ),
    Start(
        "gemm_serial_frac", 0.0, "1", "0: reading overlaps computing, as where many units run; 1: none does"
    ),
    Start("gemm_balance_flop_per_byte", 300.0, "FLOP/byte", "balance at which the efficiencies are stated"),
)
"""Parameters that are set, with their reason."""

_GEMM = (
    Start("gemm_fixed_s", 2e-6, "s", "time of a GEMM that neither computes nor reads"),
    Start("gemm_depth_s", 1e-9, "s", "walk along one unit of k; bounds narrow GEMMs"),
    Start("gemm_memory_efficiency", 0.9, "1", "reached share of memory bandwidth"),
    Start(
        "gemm_efficiency_limit", 0.95, "1", "reached share of the peak on a chip of little compute per byte"
    ),
    Start("gemm_efficiency", 0.75, "1", "reached share of the bf16 or fp8 peak at the reference balance"),
    Start("gemm_efficiency_int8", 0.85, "1", "the same for int8; two chips"),
    Start("gemm_efficiency_fp4", 0.85, "1", "the same for 4-bit block formats; Blackwell chips only"),
    Start("grouped_padding_rows", 64.0, "1", "rows each active expert wastes, where tiles have 64"),
    Start(
        "elementwise_fixed_s",
        3e-6,
        "s",
        "time of an elementwise kernel of no bytes",
    ),
)
_DECODE = (
    Start("decode_attention_fixed_s", 10e-6, "s", "split over the cache and merge, with key-value heads"),
    Start("latent_attention_fixed_s", 18e-6, "s", "the same for one latent head (MLA)"),
    Start("attention_memory_efficiency", 0.9, "1", "reached share of memory bandwidth in reading a cache"),
    Start("decode_attention_efficiency", 0.7, "1", "reached share of the peak in decode attention"),
    Start("sparse_attention_efficiency", 0.5, "1", "the same where an indexer picked the entries; one chip"),
)
_PREFILL = (
    Start("prefill_attention_fixed_s", 20e-6, "s", "time without any work; one chip"),
    Start("prefill_attention_efficiency", 0.6, "1", "reached share of the peak in prefill attention"),
)
_EXCHANGE = (
    Start("all_reduce_startup_s", 8e-6, "s", "start of an all-reduce of the vendor's library"),
    Start("all_reduce_engine_startup_s", 2e-6, "s", "start of an engine's own small-message all-reduce"),
    Start("all_reduce_chunk_s", 4e-6, "s", "price of one pipeline chunk of an all-reduce"),
    Start("all_to_all_startup_s", 10e-6, "s", "start of an all-to-all of the vendor's library"),
    Start("exchange_startup_s", 12e-6, "s", "start of a low-latency expert dispatch or combine"),
    Start("exchange_efficiency", 0.6, "1", "reached share of the scale-up link in such an exchange"),
    Start("link_latency_scale_up_s", 2e-6, "s", "one small message over a switched scale-up link"),
    Start("link_latency_scale_out_s", 4e-6, "s", "one small message over RDMA"),
    Start("link_latency_host_s", 10e-6, "s", "one small message between devices on a host bus only"),
    Start("link_efficiency_scale_up", 0.8, "1", "reached share of one-way bandwidth in bulk, scale-up"),
    Start("link_efficiency_scale_out", 0.85, "1", "the same over RDMA, dispatch and combine included"),
    Start("link_efficiency_host", 0.4, "1", "the same over the host bus"),
)

FAMILIES = (
    Family("gemm", ("gemm", "grouped_gemm", "gemm_peak"), _GEMM),
    Family(
        "decode_attention",
        ("decode_attention", "decode_attention_rate", "sparse_decode_attention", "index_scores"),
        _DECODE,
    ),
    Family("prefill_attention", ("prefill_attention",), _PREFILL),
    Family("exchange", ("all_reduce", "all_to_all", "link"), _EXCHANGE),
)
"""Each family is fitted alone: no parameter is shared between two."""
