"""Prices published operators with the forms of the calibration on the catalog's chips.

Notes
-----
Nominal figures of one device come from the catalog; shapes that a table leaves unsaid are those of
DeepSeek-V3 (hidden 7168, 8 of 256 experts, MLA of 512 + 64 values), whose operators these tables time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dougong.backtest.case import OperatorCase
from dougong.calibration import Parameters
from dougong.calibration.collectives import all_reduce_s
from dougong.calibration.forms import decode_attention_s, gemm_s, grouped_gemm_s, prefill_attention_s
from dougong.calibration.parameters import load_residuals
from dougong.catalog.hardware import System
from dougong.catalog.store import Catalog
from dougong.cost.links import collective_seconds
from dougong.cost.machine import Machine, machine_of
from dougong.errors import InputError
from dougong.ops.operators import Collective
from dougong.plan.types import Interval

_DTYPES = {  # a printed dtype -> (rate the chip has, bytes per value)
    "bfloat16": ("bf16", 2.0), "bf16": ("bf16", 2.0), "fp16": ("fp16", 2.0), "fp8": ("fp8_e4m3", 1.0),
    "fp8_block": ("fp8_e4m3", 1.0), "fp8 block-scaled": ("fp8_e4m3", 1.0), "int8": ("int8", 1.0),
    "nvfp4": ("fp4", 0.5625),
}  # fmt: skip
_HIDDEN, _TOP_K, _HEADS = 7168.0, 8.0, 128.0
_MLA_ENTRY, _MLA_LATENT, _MLA_ROW = 576.0, 512.0, 192.0 + 128.0
_FP8_WITH_SCALES, _BF16 = 1.0 + 4.0 / 128.0, 2.0  # DeepEP: one fp32 scale per 128 values
_NODE = 8.0
_PEAK_TOOL = {"m": 16384.0, "n": 16384.0, "k": 16384.0}  # a tool that prints no shape runs a large square


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """Seconds of an operator, its FLOP, and the bytes its printed bandwidth counts (memory, or sent)."""

    seconds: float
    group: str  # of the residuals
    flop: float = math.nan
    peak: float = math.nan
    moved_bytes: float = math.nan
    roof_bytes_per_s: float = math.nan  # what a memory utilisation is measured against


_Price = Callable[[OperatorCase, Machine, Parameters], _Priced]


@dataclass(slots=True)
class OperatorPredictor:
    """Answers operator cases; an operator whose shape is not stated is refused with the reason."""

    catalog: Catalog
    parameters: Parameters = field(default_factory=Parameters.load)

    def __call__(self, case: OperatorCase) -> Mapping[str, Interval] | str:
        """Predict one operator."""
        price = next((rule for start, rule in _PRICES if case.op.startswith(start)), None)
        if price is None:
            return f"no form for the operator {case.op}"
        try:
            machine = machine_of(self._system(case))
            priced = price(case, machine, self.parameters)
        except InputError as error:
            return error.message
        except KeyError as error:
            return f"{error.args[0]} is not stated, or the chip has no such rate"
        rate, bandwidth = priced.flop / priced.seconds, priced.moved_bytes / priced.seconds
        memory = bandwidth / priced.roof_bytes_per_s
        values = {
            "latency_s": priced.seconds,
            "flop_per_s": rate,
            "utilisation_frac": rate / priced.peak if math.isnan(memory) else memory,
            "bandwidth_bytes_per_s": bandwidth,
        }
        residual = load_residuals().get(priced.group)
        width = math.exp((residual.leave_one_chip_out or residual.in_sample)[1]) if residual else 2.0
        return {
            metric: Interval(value, value / width, value * width)
            for metric, value in values.items()
            if math.isfinite(value)
        }

    def _system(self, case: OperatorCase) -> System:
        chip = self.catalog.chip(case.chip)
        count = max(1, math.ceil(_ranks(case) / chip.devices))
        return self.catalog.system(f"{count}x {case.chip}")


def _ranks(case: OperatorCase) -> float:
    shape = case.shape
    if case.op.startswith("link_"):
        return 3.0 * _NODE if case.words.get("scope") == "inter-node" else 4.0  # beyond the package
    return shape.get("ep") or shape.get("n_chips") or shape.get("n_nodes", 0.125) * _NODE


def _dtype(case: OperatorCase, default: str = "") -> tuple[str, float]:
    return _DTYPES[(case.words.get("dtype") or default).lower()]


def _gemm(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    extents = case.shape if not case.op.startswith("gemm_peak") else {**_PEAK_TOOL, **case.shape}
    m, n, k = extents["m"], extents["n"], extents["k"]
    rate, width = _dtype(case)
    flop, peak = 2.0 * m * n * k, float(machine.peak(rate))
    weights, io = n * k * width, m * (k * width + n * _BF16)
    seconds = gemm_s(
        p, flop=flop, weight_bytes=weights, io_bytes=io, m=m, n=n, k=k, peak_flop_per_s=peak,
        bandwidth_bytes_per_s=machine.bandwidth, compute_efficiency=p.compute_efficiency(rate),
    )  # fmt: skip
    return _Priced(seconds=float(seconds), group="gemm", flop=flop, peak=peak, moved_bytes=weights + io)


def _grouped(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    shape = case.shape
    groups, m = shape["groups"], shape.get("m_per_group") or shape["m"]
    n, k = shape["n"], shape["k"]
    rate, width = _dtype(case, "int8" if "int8" in case.op else "fp8")
    flop, peak = 2.0 * groups * m * n * k, float(machine.peak(rate))
    weights, io = groups * n * k * width, groups * m * (k * width + n * _BF16)
    seconds = grouped_gemm_s(
        p, flop=flop, weight_bytes=weights, io_bytes=io, tokens_per_expert=m, n=n, k=k, tile_rows=machine.tile_rows,
        peak_flop_per_s=peak, bandwidth_bytes_per_s=machine.bandwidth, compute_efficiency=p.compute_efficiency(rate),
    )  # fmt: skip
    return _Priced(
        seconds=float(seconds), group="grouped_gemm", flop=flop, peak=peak, moved_bytes=weights + io
    )


def _grouped_decode(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    # One layer's experts of one rank: every rank sends its batch, top-k times, to all experts.
    shape = case.shape
    groups = shape["experts"] / shape["ep"]
    rows = shape["batch_per_gpu"] * shape["ep"] * shape.get("topk", _TOP_K) / shape["experts"]
    hidden, inter = shape["hidden"], shape["inter"]
    n, k = (hidden, inter) if case.op.endswith("_down") else (2.0 * inter, hidden)
    cut = replace(case, shape={"groups": groups, "m_per_group": rows, "n": n, "k": k})
    return _grouped(cut, machine, p)


def _link(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    # The table prints the latency of 512 bytes and the bandwidth of large messages.
    beyond = float(machine.devices_per_chip)  # the neighbour is another package
    small = _collective("point_to_point", 512.0, 2.0, machine, p, beyond)
    large = _collective("point_to_point", 1e9, 2.0, machine, p, beyond)
    return replace(small, group="link", moved_bytes=large.moved_bytes * small.seconds / large.seconds)


def _decode_mla(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    shape = case.shape
    seen = min(shape["context"], shape.get("topk", math.inf))
    entries, width = shape["batch"] * seen, _DTYPES[case.words["kv_dtype"]][1]
    flop = 2.0 * shape.get("heads", _HEADS) * (_MLA_ENTRY + _MLA_LATENT) * entries
    peak = float(machine.peak("bf16"))
    seconds = decode_attention_s(
        p, flop=flop, kv_bytes=entries * _MLA_ENTRY * width, peak_flop_per_s=peak,
        bandwidth_bytes_per_s=machine.bandwidth, latent=1.0, sparse=float("sparse" in case.op),
    )  # fmt: skip
    return _Priced(seconds=float(seconds), group="decode_attention", flop=flop, peak=peak)


def _mla_rate(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    # A rate without a shape is that of a large batch, bound by the one resource the table names.
    by_memory, large = "memory" in case.op, 1e13
    peak = float(machine.peak("bf16"))
    seconds = decode_attention_s(
        p, flop=0.0 if by_memory else large * 100, kv_bytes=large if by_memory else 0.0, peak_flop_per_s=peak,
        bandwidth_bytes_per_s=machine.bandwidth, latent=1.0,
    )  # fmt: skip
    if by_memory:
        roof = float(machine.bandwidth)
        return _Priced(
            seconds=float(seconds), group="decode_attention", moved_bytes=large, roof_bytes_per_s=roof
        )
    return _Priced(seconds=float(seconds), group="decode_attention", flop=large * 100, peak=peak)


def _decode_gqa(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    shape = case.shape
    entries, width = shape["batch"] * shape["context"], _DTYPES[case.words["kv_dtype"]][1]
    flop, peak = 4.0 * shape["heads"] * shape["head_dim"] * entries, float(machine.peak("bf16"))
    seconds = decode_attention_s(
        p, flop=flop, kv_bytes=2.0 * shape["kv_heads"] * shape["head_dim"] * entries * width,
        peak_flop_per_s=peak, bandwidth_bytes_per_s=machine.bandwidth,
    )  # fmt: skip
    return _Priced(seconds=float(seconds), group="decode_attention", flop=flop, peak=peak)


def _prefill_mla(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    seq, heads = case.shape["seq"], case.shape.get("heads", _HEADS)
    flop, peak = heads * _MLA_ROW * seq**2, float(machine.peak("bf16"))
    seconds = prefill_attention_s(
        p, flop=flop, io_bytes=2.0 * seq * heads * _MLA_ROW * _BF16, peak_flop_per_s=peak,
        bandwidth_bytes_per_s=machine.bandwidth,
    )  # fmt: skip
    return _Priced(seconds=float(seconds), group="prefill_attention", flop=flop, peak=peak)


def _exchange(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    shape, ranks = case.shape, _ranks(case)
    top_k = shape.get("topk", _TOP_K)
    narrow = 0.5625 if case.words.get("dtype") == "nvfp4" else _FP8_WITH_SCALES
    width = _BF16 if "combine" in case.op else narrow
    one_sided = "trtllm" in case.op  # a token travels once to each rank that holds one of its experts
    copies = ranks * (1.0 - (1.0 - 1.0 / ranks) ** top_k) if one_sided else top_k
    sent = shape["tokens_per_rank"] * copies * shape.get("hidden", _HIDDEN) * width
    return _collective("all_to_all", sent, ranks, machine, p)


def _collective(
    kind: str, sent: float, ranks: float, machine: Machine, p: Parameters, stride: float = 1.0
) -> _Priced:
    operator = Collective(
        name=kind, group="exchange", kind=kind, count=1.0, bytes_out=sent, ranks=ranks, stride=stride
    )
    seconds = float(collective_seconds(operator, machine, p, 1.0))
    return _Priced(seconds=seconds, group=kind, moved_bytes=sent)


def _all_reduce(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    if "nccl" in case.library.lower():  # the library's kernel, not the one engines bring
        size, ranks, inner = case.shape["message_bytes"], case.shape["n_chips"], machine.levels[0]
        if ranks <= inner.size and not inner.scale_out:
            seconds = all_reduce_s(
                p, message_bytes=size, ranks=ranks, link_bytes_per_s=inner.bandwidth, engine_kernel=0.0
            )
            return _Priced(seconds=float(seconds), group="all_reduce", moved_bytes=size)
    return _collective("all_reduce", case.shape["message_bytes"], case.shape["n_chips"], machine, p)


def _all_to_all(case: OperatorCase, machine: Machine, p: Parameters) -> _Priced:
    return _collective("all_to_all", case.shape["message_bytes"], case.shape["n_chips"], machine, p)


_PRICES: tuple[tuple[str, _Price], ...] = (
    ("grouped_gemm_decode", _grouped_decode),
    ("link_", _link),
    ("grouped_gemm_int8", _grouped),
    ("grouped_gemm_contiguous", _grouped),
    ("grouped_gemm_masked", _grouped),
    ("gemm", _gemm),
    ("mla_compute", _mla_rate),
    ("mla_memory", _mla_rate),
    ("mla_decode_dense_memory", _mla_rate),
    ("decode_attention_mla", _decode_mla),
    ("decode_attention_sparse_mla", _decode_mla),
    ("decode_attention_gqa", _decode_gqa),
    ("prefill_attention_mla", _prefill_mla),
    ("moe_dispatch_combine", _exchange),
    ("moe_dispatch", _exchange),
    ("moe_combine", _exchange),
    ("deepep_low_latency", _exchange),
    ("trtllm_all_to_all", _exchange),
    ("all_reduce", _all_reduce),
    ("all_to_all", _all_to_all),
)
