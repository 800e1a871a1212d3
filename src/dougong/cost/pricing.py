"""Seconds of one operator on one device: chip rates x calibration x engine class."""

from __future__ import annotations

from dougong.calibration import Parameters, forms
from dougong.calibration.engines import EngineClass
from dougong.cost.links import collective_seconds
from dougong.cost.machine import Machine
from dougong.ops import Collective, Compute, Operator
from dougong.ops.operators import Number


def seconds(operator: Operator, machine: Machine, p: Parameters, engine: EngineClass) -> Number:
    """Seconds of one instance of ``operator`` on one device (not times ``count``) [s]."""
    if isinstance(operator, Collective):
        spent = collective_seconds(operator, machine, p, engine.link_slowdown)
    else:
        spent = compute_seconds(operator, machine, p, engine)
    return spent * machine.factor(operator.kind)


def compute_seconds(operator: Compute, machine: Machine, p: Parameters, engine: EngineClass) -> Number:
    """Seconds of one operator by the forms that all chips share [s]."""
    # Slowdowns stretch the work, not the chip: efficiencies were fitted on the chip's own balance.
    io_bytes = operator.io_bytes * engine.memory_slowdown
    copies = machine.sustained.get("memory")
    if operator.kind == "elementwise":
        return forms.elementwise_s(
            p,
            bytes_=io_bytes,
            bandwidth_bytes_per_s=machine.bandwidth,
            kernels=operator.groups,
            sustained_bytes_per_s=copies,
        )
    flop = operator.flop * engine.compute_slowdown
    rates = {
        "peak_flop_per_s": machine.peak(operator.dtype),
        "bandwidth_bytes_per_s": machine.bandwidth,
        "sustained_flop_per_s": machine.sustained.get(operator.dtype),
        "sustained_bytes_per_s": copies,
    }
    if operator.kind in ("decode_attention", "linear_attention"):
        # A state update reads and writes its state as a cache is read: once per sequence.
        return forms.decode_attention_s(
            p,
            flop=flop,
            kv_bytes=io_bytes,
            latent=float(operator.latent),
            sparse=float(operator.sparse),
            **rates,
        )
    if operator.kind == "prefill_attention":
        return forms.prefill_attention_s(p, flop=flop, io_bytes=io_bytes, **rates)
    counts = {
        "flop": flop,
        "weight_bytes": operator.weight_bytes * engine.memory_slowdown,
        "io_bytes": io_bytes,
        "n": operator.n,
        "k": operator.k,
        "compute_efficiency": p.compute_efficiency(operator.dtype)
        * (engine.widening_frac if operator.widened else 1.0),
        **rates,
    }
    if operator.kind == "grouped_gemm":
        counts["flop"] = flop * engine.expert_slowdown
        return forms.grouped_gemm_s(p, tokens_per_expert=operator.m, tile_rows=machine.tile_rows, **counts)
    return forms.gemm_s(p, m=operator.m, **counts)


def startup_s(operator: Compute, p: Parameters) -> Number:
    """What of one operator's seconds passes before it works: the part that another stream can fill [s]."""
    if operator.kind == "elementwise":
        return p.elementwise_fixed_s * operator.groups
    if operator.kind == "prefill_attention":
        return p.prefill_attention_fixed_s
    if operator.kind in ("decode_attention", "linear_attention"):
        return p.latent_attention_fixed_s if operator.latent else p.decode_attention_fixed_s
    return p.gemm_fixed_s
