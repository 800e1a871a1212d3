"""Each measured row priced by the forms: ``log(predicted / measured)``, by family of operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dougong.calibration.chips import tile_rows
from dougong.calibration.collectives import all_reduce_s, all_to_all_s, point_to_point_s
from dougong.calibration.facts import Facts, Floats
from dougong.calibration.forms import (
    decode_attention_s,
    elementwise_s,
    gemm_s,
    grouped_gemm_s,
    prefill_attention_s,
)
from dougong.calibration.parameters import Parameters

_VALUE_BYTES = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "fp8_block": 1.0,
    "int8": 1.0,
    "nvfp4": 0.5625,
    "": np.nan,
}
_LARGE = 16384.0  # extents of a peak tool's square GEMM: at this size they no longer matter
_BF16 = 2.0
_MLA_ENTRY, _MLA_LATENT = 576.0, 512.0  # DeepSeek-V3: latent and rotary values per entry; latent values


def _bytes_of(facts: Facts, column: str) -> Floats:
    return np.array([_VALUE_BYTES[word] for word in facts.words[column]])


def _roof(facts: Facts) -> dict[str, Floats]:
    return {
        "peak_flop_per_s": facts["peak_flop_per_s"],
        "bandwidth_bytes_per_s": facts["bandwidth_bytes_per_s"],
    }


def _time(facts: Facts, flop: Floats) -> Floats:
    # A document prints a time, or the rate at which it counts the FLOP.
    return np.where(np.isnan(facts["latency_s"]), flop / facts["flop_per_s"], facts["latency_s"])


def gemm_log_ratio(p: Parameters, facts: Facts) -> Floats:
    """Dense and grouped GEMMs, with the quantisation pass where the row timed it."""
    m, n, k = (np.where(np.isnan(facts[axis]), _LARGE, facts[axis]) for axis in ("m", "n", "k"))
    groups = np.nan_to_num(facts["groups"], nan=1.0)
    values_in, quantised = _bytes_of(facts, "compute_dtype"), facts["quantised"] == 1
    counts = {
        "flop": 2.0 * m * n * k * groups,
        "weight_bytes": n * k * groups * _bytes_of(facts, "weight_dtype"),
        "io_bytes": groups * m * (k * values_in + n * _BF16),
        "compute_efficiency": np.array([p.compute_efficiency(word) for word in facts.words["compute_dtype"]]),
        "n": n,
        "k": k,
        **_roof(facts),
    }
    grouped = facts.words["op"] == "grouped_gemm"
    tiles = np.array([tile_rows(chip) for chip in facts.words["chip"].tolist()])
    gemm: Floats = grouped * grouped_gemm_s(p, tokens_per_expert=m, tile_rows=tiles, **counts)
    gemm = gemm + ~grouped * gemm_s(p, m=m, **counts)
    bandwidth = facts["bandwidth_bytes_per_s"]
    passes: Floats = elementwise_s(p, bytes_=m * k * (_BF16 + values_in), bandwidth_bytes_per_s=bandwidth)
    return np.log((gemm + quantised * passes) / _time(facts, counts["flop"]))


def decode_attention_log_ratio(p: Parameters, facts: Facts) -> Floats:
    """Decode attention: whole shapes, and rates printed without one."""
    op, heads = facts.words["op"], facts["heads"]
    # A printed rate is that of a large batch, bound by the one resource it names.
    work = np.where(
        np.isnan(facts["batch"]), 1e12, facts["batch"] * np.fmin(facts["context"], _picked(facts))
    )
    latent = facts["kv_heads"] == 1
    per_entry = np.where(latent, 2.0 * heads * (_MLA_ENTRY + _MLA_LATENT), 4.0 * heads * facts["head_dim"])
    values = np.where(latent, _MLA_ENTRY, 2.0 * facts["kv_heads"] * facts["head_dim"])
    index = op == "index_scores"
    per_entry = np.where(index, 2.0 * heads * facts["head_dim"], per_entry)
    values = np.where(index, facts["head_dim"], values)
    names_flop = ~np.isnan(facts["flop_per_s"])
    shapeless = np.isnan(facts["batch"])
    per_entry = np.where(shapeless, names_flop * 1e6, per_entry)
    kv_bytes = np.where(shapeless, ~names_flop * 1e6, values * _bytes_of(facts, "kv_dtype"))
    seconds = decode_attention_s(
        p, flop=work * per_entry, kv_bytes=work * np.nan_to_num(kv_bytes), latent=latent * 1.0,
        sparse=(op == "sparse_decode_attention") * 1.0, **_roof(facts),
    )  # fmt: skip
    measured = np.where(
        names_flop, work * per_entry / facts["flop_per_s"], work * kv_bytes / facts["bytes_per_s"]
    )
    return np.log(seconds / np.where(np.isnan(facts["latency_s"]), measured, facts["latency_s"]))


def _picked(facts: Facts) -> Floats:
    # A sparse kernel reads top_k slots whether or not the context fills them.
    return np.where(facts.words["op"] == "sparse_decode_attention", facts["topk"], np.nan)


def prefill_attention_log_ratio(p: Parameters, facts: Facts) -> Floats:
    """Causal prefill attention, dense or sparse."""
    context, heads = np.nan_to_num(facts["context"], nan=65536.0), np.nan_to_num(facts["heads"], nan=128.0)
    row = 192.0 + 128.0  # naive MLA: query-key and value width of a head
    flop = heads * row * context**2
    seconds = prefill_attention_s(p, flop=flop, io_bytes=2.0 * context * heads * row * _BF16, **_roof(facts))
    return np.log(seconds / _time(facts, flop))


def _link(p: Parameters, facts: Facts) -> dict[str, Floats]:
    latency, efficiency = np.empty(len(facts)), np.empty(len(facts))
    for plane in ("scale_up", "scale_out", "host"):
        mask = facts.words["plane"] == plane
        latency[mask], efficiency[mask] = p.link_latency_s(plane), p.link_efficiency(plane)
    return {"link_bytes_per_s": facts["link_bytes_per_s"], "latency_s": latency, "efficiency": efficiency}


def all_reduce_log_ratio(p: Parameters, facts: Facts) -> Floats:
    """All-reduces; a bandwidth without a size is that of a large message."""
    size, ranks = np.nan_to_num(facts["message_bytes"], nan=1e9), facts["ranks"]
    engine = (facts.words["kernel"] == "engine") * 1.0
    seconds = all_reduce_s(p, message_bytes=size, ranks=ranks, engine_kernel=engine, **_link(p, facts))
    by_rate = 2.0 * (ranks - 1.0) / ranks * size / facts["bytes_per_s"]
    return np.log(seconds / np.where(np.isnan(facts["latency_s"]), by_rate, facts["latency_s"]))


def all_to_all_log_ratio(p: Parameters, facts: Facts) -> Floats:
    """Library all-to-all, and expert dispatch and combine, low-latency and bulk, within and across nodes."""
    kernel, ranks, near = facts.words["kernel"], facts["ranks"], facts["near_ranks"]
    link = _link(p, facts)
    # One-sided kernels send a token once to each rank that holds one of its experts, the others once per
    # expert.
    copies = np.where(
        np.char.startswith(kernel, "one_sided"),
        ranks * (1.0 - (1.0 - 1.0 / ranks) ** facts["topk"]),
        facts["topk"],
    )
    routed = facts["tokens_per_rank"] * copies * facts["hidden"] * facts["bytes_per_value"]
    total = np.where(kernel == "nccl", facts["message_bytes"], routed)
    across = facts.words["plane"] == "scale_out"
    leaving = total * np.where(across, 1.0 - near / ranks, 1.0 - 1.0 / ranks)
    low_latency = np.char.startswith(kernel, "low_latency") | np.char.startswith(kernel, "one_sided")
    share = np.where(low_latency & ~across, p.exchange_efficiency, link["efficiency"])
    startup = np.where(low_latency, p.exchange_startup_s, p.all_to_all_startup_s)
    seconds = all_to_all_s(
        p, bytes_out_per_rank=leaving, ranks=ranks, link_bytes_per_s=link["link_bytes_per_s"],
        latency_s=link["latency_s"], efficiency=share, startup_s=startup,
    )  # fmt: skip
    # Bulk rows print bytes per second of all routed bytes, those that stay near included, over a scale-out
    # link.
    by_rate = np.where(across, total, leaving) / facts["bytes_per_s"]
    return np.log(seconds / np.where(np.isnan(facts["latency_s"]), by_rate, facts["latency_s"]))


def link_log_ratio(p: Parameters, facts: Facts) -> Floats:
    """One message over one link; a bandwidth without a size is that of a large message."""
    size = np.nan_to_num(facts["message_bytes"], nan=1e9)
    seconds = point_to_point_s(p, message_bytes=size, **_link(p, facts))
    return np.log(
        seconds / np.where(np.isnan(facts["latency_s"]), size / facts["bytes_per_s"], facts["latency_s"])
    )


LogRatio = Callable[[Parameters, Facts], Floats]
LOG_RATIO: Mapping[str, LogRatio] = {
    "gemm": gemm_log_ratio,
    "grouped_gemm": gemm_log_ratio,
    "gemm_peak": gemm_log_ratio,
    "decode_attention": decode_attention_log_ratio,
    "decode_attention_rate": decode_attention_log_ratio,
    "sparse_decode_attention": decode_attention_log_ratio,
    "index_scores": decode_attention_log_ratio,
    "prefill_attention": prefill_attention_log_ratio,
    "all_reduce": all_reduce_log_ratio,
    "all_to_all": all_to_all_log_ratio,
    "link": link_log_ratio,
}
"""Operator of a row to the function that prices it."""


def log_ratio(p: Parameters, facts: Facts) -> Floats:
    """``log(predicted / measured)`` of every row, in the order of ``facts``."""
    out = np.empty(len(facts))
    ops = facts.words["op"]
    for price in dict.fromkeys(LOG_RATIO.values()):
        mask = np.isin(ops, [op for op, function in LOG_RATIO.items() if function is price])
        if mask.any():
            with np.errstate(invalid="ignore"):
                out[mask] = price(p, facts.where(mask))
    return out
