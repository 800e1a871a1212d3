"""Laws of the forms, on any counts and any chip."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dougong.calibration import Parameters
from dougong.calibration.collectives import (
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    point_to_point_s,
    reduce_scatter_s,
)
from dougong.calibration.forms import (
    decode_attention_s,
    elementwise_s,
    gemm_s,
    grouped_gemm_s,
    prefill_attention_s,
)

P = Parameters.load()
UNFIXED = replace(P, **{name: 1e-30 for name in asdict(P) if name.endswith("_s")})
"""The shipped parameters without start-ups and latencies: pure rates."""

peaks = st.floats(1e12, 2e16)
bandwidths = st.floats(5e10, 2e13)
links = st.floats(1e9, 2e12)
sizes = st.floats(1.0, 1e6)
sides = st.floats(64.0, 65536.0)
efficiencies = st.floats(0.05, 0.99)
ranks = st.sampled_from([2.0, 3.0, 4.0, 8.0, 16.0, 72.0, 384.0])
factors = st.floats(1.0, 100.0)
bytes_ = st.floats(1.0, 1e11)


def gemm(p: Parameters, m, n, k, peak, bandwidth, efficiency=None):
    return gemm_s(
        p, flop=2 * m * n * k, weight_bytes=n * k, io_bytes=m * (n + k), m=m, n=n, k=k,
        peak_flop_per_s=peak, bandwidth_bytes_per_s=bandwidth, compute_efficiency=efficiency,
    )  # fmt: skip


def grouped(p: Parameters, m, n, k, peak, bandwidth, efficiency=None):
    return grouped_gemm_s(
        p, flop=16 * m * n * k, weight_bytes=8 * n * k, io_bytes=8 * m * (n + k),
        tokens_per_expert=m, n=n, k=k,
        peak_flop_per_s=peak, bandwidth_bytes_per_s=bandwidth, compute_efficiency=efficiency,
    )  # fmt: skip


GEMMS = [gemm, grouped]


@pytest.mark.parametrize("form", GEMMS)
@given(m=sizes, n=sides, k=sides, peak=peaks, bandwidth=bandwidths, efficiency=efficiencies, factor=factors)
def test_a_gemm_is_never_faster_for_more_work_nor_slower_on_a_better_chip(
    form, m, n, k, peak, bandwidth, efficiency, factor
) -> None:
    base = form(P, m, n, k, peak, bandwidth, efficiency)
    slack = 1 + 1e-9
    assert 0 < base < np.inf
    assert form(P, m * factor, n, k, peak, bandwidth, efficiency) * slack >= base
    assert form(P, m, n * factor, k, peak, bandwidth, efficiency) * slack >= base
    assert form(P, m, n, k * factor, peak, bandwidth, efficiency) * slack >= base
    assert form(P, m, n, k, peak * factor, bandwidth, efficiency) <= base * slack
    assert form(P, m, n, k, peak, bandwidth * factor, efficiency) <= base * slack
    assert form(P, m, n, k, peak, bandwidth, min(efficiency * factor, 0.99)) <= base * slack


@pytest.mark.parametrize("form", GEMMS)
@given(m=sizes, n=sides, k=sides, peak=peaks, bandwidth=bandwidths)
def test_no_gemm_passes_the_peak_or_the_bandwidth(form, m, n, k, peak, bandwidth) -> None:
    seconds = form(UNFIXED, m, n, k, peak, bandwidth)
    copies = 8 if form is grouped else 1
    assert seconds >= copies * 2 * m * n * k / peak
    assert seconds >= copies * (n * k + m * (n + k)) / bandwidth


@pytest.mark.parametrize("form", GEMMS)
@given(m=sizes, n=sides, k=sides, peak=peaks, bandwidth=bandwidths, factor=factors)
def test_scaling_every_rate_scales_time_without_its_fixed_parts(
    form, m, n, k, peak, bandwidth, factor
) -> None:
    slow = form(UNFIXED, m, n, k, peak, bandwidth)
    assert form(UNFIXED, m, n, k, peak * factor, bandwidth * factor) * factor == pytest.approx(slow, rel=1e-9)


def attention(p: Parameters, flop, size, peak, bandwidth, **more):
    return decode_attention_s(
        p, flop=flop, kv_bytes=size, peak_flop_per_s=peak, bandwidth_bytes_per_s=bandwidth, **more
    )


def prefill(p: Parameters, flop, size, peak, bandwidth):
    return prefill_attention_s(
        p, flop=flop, io_bytes=size, peak_flop_per_s=peak, bandwidth_bytes_per_s=bandwidth
    )


@pytest.mark.parametrize("form", [attention, prefill])
@given(flop=st.floats(1.0, 1e16), size=bytes_, peak=peaks, bandwidth=bandwidths, factor=factors)
def test_attention_is_never_faster_for_more_work_nor_slower_on_a_better_chip(
    form, flop, size, peak, bandwidth, factor
) -> None:
    base = form(P, flop, size, peak, bandwidth)
    slack = 1 + 1e-9
    assert 0 < base < np.inf
    assert base >= flop / peak
    assert base >= size / bandwidth
    assert form(P, flop * factor, size, peak, bandwidth) * slack >= base
    assert form(P, flop, size * factor, peak, bandwidth) * slack >= base
    assert form(P, flop, size, peak * factor, bandwidth) <= base * slack
    assert form(P, flop, size, peak, bandwidth * factor) <= base * slack
    alone = form(UNFIXED, flop, size, peak, bandwidth)
    faster = form(UNFIXED, flop, size, peak * factor, bandwidth * factor)
    assert faster * factor == pytest.approx(alone, rel=1e-9)


@given(size=bytes_, bandwidth=bandwidths, factor=factors)
def test_elementwise_work_follows_its_bytes(size, bandwidth, factor) -> None:
    base = elementwise_s(P, bytes_=size, bandwidth_bytes_per_s=bandwidth)
    assert base >= size / bandwidth
    assert elementwise_s(P, bytes_=size * factor, bandwidth_bytes_per_s=bandwidth) >= base
    assert elementwise_s(P, bytes_=size, bandwidth_bytes_per_s=bandwidth * factor) <= base


def reduce_all(p, size, ranks, link, latency=None):
    return all_reduce_s(p, message_bytes=size, ranks=ranks, link_bytes_per_s=link, latency_s=latency)


def reduce_all_by_library(p, size, ranks, link, latency=None):
    return all_reduce_s(
        p, message_bytes=size, ranks=ranks, link_bytes_per_s=link, latency_s=latency, engine_kernel=0.0
    )


def scatter(p, size, ranks, link, latency=None):
    return reduce_scatter_s(p, message_bytes=size, ranks=ranks, link_bytes_per_s=link, latency_s=latency)


def gather(p, size, ranks, link, latency=None):
    return all_gather_s(p, bytes_out_per_rank=size, ranks=ranks, link_bytes_per_s=link, latency_s=latency)


def exchange(p, size, ranks, link, latency=None):
    return all_to_all_s(p, bytes_out_per_rank=size, ranks=ranks, link_bytes_per_s=link, latency_s=latency)


COLLECTIVES = [reduce_all, reduce_all_by_library, scatter, gather, exchange]


@pytest.mark.parametrize("form", COLLECTIVES)
@given(size=bytes_, n=ranks, link=links, factor=factors, latency=st.floats(1e-7, 1e-3))
def test_an_exchange_is_never_faster_for_more_nor_slower_on_a_better_link(
    form, size, n, link, factor, latency
) -> None:
    base = form(P, size, n, link, latency)
    slack = 1 + 1e-9
    assert 0 < base < np.inf
    assert form(P, size * factor, n, link, latency) * slack >= base
    assert form(P, size, n * 2, link, latency) * slack >= base
    assert form(P, size, n, link * factor, latency) <= base * slack
    assert form(P, size, n, link, latency * factor) * slack >= base
    assert form(P, size, 1.0, link, latency) == 0
    pure = form(UNFIXED, size, n, link, 1e-30)
    assert form(UNFIXED, size, n, link * factor, 1e-30) * factor == pytest.approx(pure, rel=1e-6)


@given(size=bytes_, n=ranks, link=links)
def test_an_engine_takes_its_own_kernel_only_where_it_helps(size, n, link) -> None:
    assert reduce_all(P, size, n, link) <= reduce_all_by_library(P, size, n, link)


@given(size=bytes_, link=links, factor=factors)
def test_a_message_takes_its_latency_and_its_bytes(size, link, factor) -> None:
    base = point_to_point_s(P, message_bytes=size, link_bytes_per_s=link)
    assert base >= size / link
    assert point_to_point_s(P, message_bytes=size * factor, link_bytes_per_s=link) >= base
    assert point_to_point_s(P, message_bytes=size, link_bytes_per_s=link * factor) <= base


@given(st.lists(st.tuples(sizes, sides, sides, peaks, bandwidths), min_size=1, max_size=8))
def test_an_array_gives_what_its_elements_give(rows) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    together = gemm(P, *columns)
    assert together.tolist() == pytest.approx([float(gemm(P, *row)) for row in rows], rel=1e-12)
