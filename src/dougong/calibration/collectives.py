"""Seconds of one exchange among devices, from its bytes and the datasheet figures of the link.

Notes
-----
Alpha-beta forms: ``t = startup + hops * latency + bytes / (link * efficiency)``. ``link_bytes_per_s`` is
one-way, per device; ``latency_s`` is one small message, from the catalog, or by default that of the plane's
class. With one rank every function returns zero, so a layout without that parallelism needs no case of its
own.

References
----------
Thakur, Rabenseifner, Gropp, Optimization of Collective Communication Operations in MPICH, IJHPCA 19(1), 2005.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong.calibration.parameters import Parameters

Number = Any
"""A float, or an array that broadcasts against the others."""


def _defaults(p: Parameters, latency_s: Number | None, efficiency: Number | None) -> tuple[Number, Number]:
    return (
        p.link_latency_scale_up_s if latency_s is None else latency_s,
        p.link_efficiency_scale_up if efficiency is None else efficiency,
    )


def all_reduce_s(
    p: Parameters,
    *,
    message_bytes: Number,
    ranks: Number,
    link_bytes_per_s: Number,
    latency_s: Number | None = None,
    efficiency: Number | None = None,
    engine_kernel: Number = 1.0,
) -> Number:
    """Seconds to sum a vector over ranks, result everywhere [s].

    Parameters
    ----------
    p
        Fitted parameters.
    message_bytes
        The reduced vector [byte].
    ranks
        Devices of the group [1].
    link_bytes_per_s
        One-way bandwidth of the narrowest link it crosses, per device [byte/s].
    latency_s
        One small message [s]; default: a scale-up link.
    efficiency
        Reached share of the link [1]; default: a scale-up link. See :meth:`Parameters.link_efficiency`.
    engine_kernel
        1 where the engine has its own small-message kernel (loads from peers, one barrier before and one
        after), 0 where only the vendor's library is used [1].

    Notes
    -----
    Library: ``startup + 2 log2(r) L + 2 sqrt(chunk * t_b) + t_b`` with ``t_b = 2 (r - 1) / r * bytes /
    link``; the root is the price of pipelining in chunks. The engine's kernel replaces ``startup + 2 log2(r)
    L`` by its own startup and two latencies. Fitted for 8 KB to 512 MB, 4 and 8 ranks.
    """
    latency, share = _defaults(p, latency_s, efficiency)
    t_b = 2.0 * (ranks - 1.0) / ranks * message_bytes / (link_bytes_per_s * share)
    library = p.all_reduce_startup_s + 2.0 * np.log2(ranks) * latency
    engine = p.all_reduce_engine_startup_s + 2.0 * latency
    startup = library + engine_kernel * (np.minimum(engine, library) - library)
    return (ranks > 1) * (startup + 2.0 * np.sqrt(p.all_reduce_chunk_s * t_b) + t_b)


def reduce_scatter_s(
    p: Parameters,
    *,
    message_bytes: Number,
    ranks: Number,
    link_bytes_per_s: Number,
    latency_s: Number | None = None,
    efficiency: Number | None = None,
    engine_kernel: Number = 1.0,
) -> Number:
    """Seconds to sum a vector over ranks, one share each [s]; arguments as in :func:`all_reduce_s`.

    Notes
    -----
    No row measures it: by construction half an all-reduce of the same vector, with one whole startup.
    """
    latency, share = _defaults(p, latency_s, efficiency)
    t_b = (ranks - 1.0) / ranks * message_bytes / (link_bytes_per_s * share)
    library = p.all_reduce_startup_s + np.log2(ranks) * latency
    engine = p.all_reduce_engine_startup_s + 2.0 * latency
    startup = library + engine_kernel * (np.minimum(engine, library) - library)
    return (ranks > 1) * (startup + np.sqrt(2.0 * p.all_reduce_chunk_s * t_b) + t_b)


def all_gather_s(
    p: Parameters,
    *,
    bytes_out_per_rank: Number,
    ranks: Number,
    link_bytes_per_s: Number,
    latency_s: Number | None = None,
    efficiency: Number | None = None,
    engine_kernel: Number = 1.0,
) -> Number:
    """Seconds to give every rank what each contributes, ``bytes_out_per_rank`` [byte] each [s].

    Notes
    -----
    The mirror of :func:`reduce_scatter_s` of ``ranks`` times as many bytes.
    """
    return reduce_scatter_s(
        p, message_bytes=bytes_out_per_rank * ranks, ranks=ranks, link_bytes_per_s=link_bytes_per_s,
        latency_s=latency_s, efficiency=efficiency, engine_kernel=engine_kernel,
    )  # fmt: skip


def all_to_all_s(
    p: Parameters,
    *,
    bytes_out_per_rank: Number,
    ranks: Number,
    link_bytes_per_s: Number,
    latency_s: Number | None = None,
    efficiency: Number | None = None,
    startup_s: Number | None = None,
) -> Number:
    """Seconds in which every rank sends different bytes to every other: expert dispatch or combine [s].

    Parameters
    ----------
    p
        Fitted parameters.
    bytes_out_per_rank
        What leaves one rank through this link: without what stays on it, and without what takes another
        plane. Over a node of ``d`` devices that is ``(d - 1) / ranks`` of the total on the scale-up plane and
        ``1 - d / ranks`` on the scale-out plane; the exchange takes the slower of the two [byte].
    ranks
        Devices of the group [1].
    link_bytes_per_s
        One-way, per device [byte/s].
    latency_s
        One small message [s]; default: a scale-up link.
    efficiency
        Reached share of the link [1]; default: low-latency exchange kernels on a scale-up link. Bulk exchange
        in prefill and every exchange over scale-out reach :meth:`Parameters.link_efficiency`.
    startup_s
        Of the kernel [s]; default: low-latency exchange kernels. The vendor's library:
        ``p.all_to_all_startup_s``.

    Notes
    -----
    ``t = startup + log2(r) L + bytes / (link * efficiency)``. Fitted for 2 to 256 ranks, 1 to 128 tokens per
    rank.
    """
    latency = p.link_latency_scale_up_s if latency_s is None else latency_s
    share = p.exchange_efficiency if efficiency is None else efficiency
    startup = p.exchange_startup_s if startup_s is None else startup_s
    return (ranks > 1) * (
        startup + np.log2(ranks) * latency + bytes_out_per_rank / (link_bytes_per_s * share)
    )


def point_to_point_s(
    p: Parameters,
    *,
    message_bytes: Number,
    link_bytes_per_s: Number,
    latency_s: Number | None = None,
    efficiency: Number | None = None,
) -> Number:
    """Seconds to carry one message over one link [s]; arguments as in :func:`all_reduce_s`."""
    latency, share = _defaults(p, latency_s, efficiency)
    return latency + message_bytes / (link_bytes_per_s * share)
