"""Cache entries: how many a query reads, how many a sequence keeps, what each weighs."""

from __future__ import annotations

from dougong.catalog.models import Core
from dougong.ops.operators import Number
from dougong.ops.shapes import bytes_of, least, most


def attended(core: Core, context: Number) -> Number:
    """Cached entries one decode query reads in the main attention [entry]."""
    entries = context
    if core.compress > 1:
        entries = context / core.compress
    if core.top_k is not None:
        entries = least(entries, float(core.top_k))
    if core.window is not None:
        entries = least(entries, float(core.window))
    if core.local_window:
        entries = entries + least(context, float(core.local_window))
    return entries


def attended_in_prefill(core: Core, mean_context: Number, longest: Number) -> Number:
    """Mean entries a prompt token reads: min(position, limit) averaged over a causal ramp up to ``longest``."""
    limit = core.window if core.window is not None else core.top_k
    entries, reach = mean_context / core.compress, longest / core.compress
    if limit is not None:
        short = least(reach, float(limit))
        ramp = short * (reach - short / 2) / most(reach, 1.0)
        entries = least(entries, ramp)
    if core.local_window:
        entries = entries + least(mean_context, float(core.local_window))
    return entries


def cached_entries(core: Core, context: Number) -> Number:
    """Entries one sequence of ``context`` tokens keeps [entry]."""
    if core.kind in ("linear", "none") or core.shares_cache:
        return context * 0.0
    entries = context / core.compress if core.compress > 1 else context
    if core.window is not None and core.top_k is None:
        entries = least(entries, float(core.window))
    if core.local_window:
        entries = entries + least(context, float(core.local_window))
    return entries


def entry_bytes(core: Core, kv_dtype: str, tp: Number) -> Number:
    """Bytes of one cache entry on one device, index key included [byte]."""
    ways = 1.0 if core.kind == "mla" else least(tp, float(max(core.num_kv_heads, 1)))
    main = core.bytes_of_values(core.entry_values, bytes_of(kv_dtype)) / ways
    index = core.index_dim * core.index_bytes_per_value if core.top_k is not None else 0.0
    return main + index


def state_bytes(core: Core, kv_dtype: str, tp: Number) -> Number:
    """Bytes of recurrent and convolution state of one sequence on one device [byte]."""
    if core.kind != "linear":
        return tp * 0.0
    ways = least(tp, float(max(core.num_heads, 1)))
    return (core.state_values * bytes_of(core.state_dtype) + core.conv_values * bytes_of("bf16")) / ways
