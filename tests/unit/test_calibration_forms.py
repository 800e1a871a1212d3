"""The forms on numbers worked by hand, with parameters that make the working easy."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dougong.calibration import Parameters
from dougong.calibration.chips import tile_rows
from dougong.calibration.collectives import (
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    point_to_point_s,
    reduce_scatter_s,
)
from dougong.calibration.fitting import start
from dougong.calibration.forms import (
    decode_attention_s,
    elementwise_s,
    gemm_s,
    grouped_gemm_s,
    prefill_attention_s,
)

EASY = replace(
    start(),
    gemm_fixed_s=1e-6,
    gemm_depth_s=1e-12,
    gemm_tile_rows=64.0,
    gemm_memory_efficiency=0.5,
    gemm_efficiency_limit=1.0,
    gemm_efficiency=1.0,
    gemm_efficiency_fp4=0.5,
    gemm_balance_flop_per_byte=100.0,
    grouped_padding_rows=64.0,
    elementwise_fixed_s=2e-6,
    decode_attention_fixed_s=10e-6,
    latent_attention_fixed_s=20e-6,
    attention_memory_efficiency=0.5,
    decode_attention_efficiency=0.5,
    sparse_attention_efficiency=0.25,
    prefill_attention_fixed_s=5e-6,
    prefill_attention_efficiency=0.5,
    all_reduce_startup_s=10e-6,
    all_reduce_engine_startup_s=3e-6,
    all_reduce_chunk_s=4e-6,
    exchange_startup_s=10e-6,
    exchange_efficiency=0.5,
    link_latency_scale_up_s=2e-6,
    link_efficiency_scale_up=0.8,
)
CHIP = {"peak_flop_per_s": 1e14, "bandwidth_bytes_per_s": 1e12}  # 100 FLOP/byte


def test_a_gemm_bound_by_memory_reads_its_weights_at_the_reached_bandwidth() -> None:
    seconds = gemm_s(
        EASY, flop=2.0 * 64 * 1000 * 1000, weight_bytes=2e6, io_bytes=0.0, m=64, n=1000, k=1000, **CHIP
    )
    t_c, t_m, t_k = 1.28e-6, 4e-6, 1e-9
    assert seconds == pytest.approx(1e-6 + math.hypot(t_c, t_m, t_k), rel=1e-12)


def test_a_single_core_reads_and_computes_by_turns_and_pays_for_the_start_of_a_sum() -> None:
    core = replace(EASY, gemm_serial_frac=1.0, gemm_start_depth=500.0)
    seconds = gemm_s(
        core, flop=2.0 * 64 * 1000 * 1000, weight_bytes=2e6, io_bytes=0.0, m=64, n=1000, k=1000, **CHIP
    )
    t_c, t_m, t_k = 1.5 * 1.28e-6, 4e-6, 1e-9
    assert seconds == pytest.approx(1e-6 + math.hypot(t_c + t_m, t_k), rel=1e-12)


def test_sixteen_rows_compute_as_long_as_sixty_four() -> None:
    def at(m: int) -> float:
        return float(gemm_s(EASY, flop=2e9 * m, weight_bytes=0.0, io_bytes=0.0, m=m, n=1e6, k=1e3, **CHIP))

    assert at(16) == pytest.approx(at(64), rel=1e-12)
    assert at(65) == pytest.approx(at(128), rel=1e-12)
    assert at(65) > 1.9 * at(64)


def test_efficiency_is_reached_at_the_reference_balance_and_falls_as_one_over_it() -> None:
    def reached(balance: float, efficiency: float) -> float:
        flop, peak = 2e15, 1e14
        seconds = gemm_s(
            EASY,
            flop=flop,
            weight_bytes=0.0,
            io_bytes=0.0,
            m=64e6,
            n=1.0,
            k=1.0,
            peak_flop_per_s=peak,
            bandwidth_bytes_per_s=peak / balance,
            compute_efficiency=efficiency,
        )
        return flop / float(seconds) / peak

    assert reached(100.0, 0.5) == pytest.approx(0.5, rel=1e-6)
    assert reached(0.01, 0.5) == pytest.approx(1.0, rel=1e-6)  # the limit on a chip of little compute
    assert reached(1000.0, 0.5) / reached(2000.0, 0.5) == pytest.approx(2.0, rel=0.01)


def test_few_tokens_per_expert_go_to_the_vector_units_and_more_pay_the_padding() -> None:
    def seconds(tokens: float) -> float:
        return float(
            grouped_gemm_s(
                EASY, flop=2e9, weight_bytes=0.0, io_bytes=0.0, tokens_per_expert=tokens, n=1.0, k=1.0, **CHIP
            )
        )

    assert seconds(1.0) == pytest.approx(1e-6 + 8 * 2e9 / 1e14, rel=1e-9)
    assert seconds(64.0) == pytest.approx(1e-6 + (1 + 64 / 64) * 2e9 / 1e14, rel=1e-9)


def test_the_wasted_rows_of_an_expert_go_by_the_tile_of_the_chip() -> None:
    def seconds(tile: float) -> float:
        counts = {"flop": 2e9, "weight_bytes": 0.0, "io_bytes": 0.0, "tokens_per_expert": 32.0, "k": 1.0}
        return float(grouped_gemm_s(EASY, tile_rows=tile, **counts, **CHIP))

    assert seconds(64.0) == pytest.approx(1e-6 + (1 + 64 / 32) * 2e9 / 1e14, rel=1e-9)
    assert seconds(16.0) == pytest.approx(1e-6 + (1 + 16 / 32) * 2e9 / 1e14, rel=1e-9)


@pytest.mark.parametrize(
    ("chip", "rows"),
    [("nvidia-h100-sxm", 64), ("nvidia-h20-sxm-96", 64), ("nvidia-gh200-96", 64), ("nvidia-b200-sxm", 16),
     ("nvidia-a100-sxm-80", 16), ("huawei-910c", 16), ("intel-arc-pro-b60", 16), ("metax-c550", 16)],
)  # fmt: skip
def test_only_hopper_multiplies_tiles_of_64_rows(chip: str, rows: int) -> None:
    assert tile_rows(chip) == rows


def test_no_form_is_faster_than_what_the_chip_sustains() -> None:
    flop, moved = 1e15, 1e12
    compute = {"flop": flop, "peak_flop_per_s": 1e14, "bandwidth_bytes_per_s": 1e15}
    memory = {"flop": 1.0, "peak_flop_per_s": 1e20, "bandwidth_bytes_per_s": 1e12}
    extents = {"io_bytes": 0.0, "k": 4096.0}
    bound = {"sustained_flop_per_s": 2e13, "sustained_bytes_per_s": 2e11}
    slow = pytest.approx(flop / 2e13, rel=1e-3)
    assert gemm_s(EASY, weight_bytes=1.0, m=4096.0, **extents, **compute, **bound) == slow
    assert (
        grouped_gemm_s(EASY, weight_bytes=1.0, tokens_per_expert=1e9, **extents, **compute, **bound) == slow
    )
    assert decode_attention_s(EASY, kv_bytes=1.0, **compute, **bound) == slow
    assert prefill_attention_s(EASY, io_bytes=1.0, **compute, **bound) == slow
    slow = pytest.approx(moved / 2e11, rel=1e-3)
    assert gemm_s(EASY, weight_bytes=moved, m=1.0, **extents, **memory, **bound) == slow
    assert decode_attention_s(EASY, kv_bytes=moved, **memory, **bound) == slow
    assert elementwise_s(EASY, bytes_=moved, bandwidth_bytes_per_s=1e12, sustained_bytes_per_s=2e11) == slow


def test_a_bound_above_what_a_form_reaches_changes_nothing() -> None:
    counts = {"flop": 1e15, "weight_bytes": 1e9, "io_bytes": 1e8, "m": 4096.0, "k": 4096.0}
    free = {"sustained_flop_per_s": math.inf, "sustained_bytes_per_s": math.inf}
    assert gemm_s(EASY, **counts, **free, **CHIP) == gemm_s(EASY, **counts, **CHIP)


def test_decode_attention_of_few_sequences_is_its_fixed_part() -> None:
    few = decode_attention_s(EASY, flop=1.0, kv_bytes=1.0, **CHIP)
    assert few == pytest.approx(10e-6, rel=1e-6)
    assert decode_attention_s(EASY, flop=1.0, kv_bytes=1.0, latent=1.0, **CHIP) == pytest.approx(
        20e-6, rel=1e-6
    )


def test_decode_attention_combines_cache_and_compute_in_squares() -> None:
    seconds = decode_attention_s(EASY, flop=1.5e9, kv_bytes=20e6, **CHIP)
    assert seconds == pytest.approx(10e-6 + math.hypot(30e-6, 40e-6), rel=1e-12)
    gathered = decode_attention_s(EASY, flop=1.5e9, kv_bytes=20e6, sparse=1.0, **CHIP)
    assert gathered == pytest.approx(10e-6 + math.hypot(60e-6, 40e-6), rel=1e-12)


def test_prefill_attention_and_elementwise() -> None:
    assert prefill_attention_s(EASY, flop=1e12, io_bytes=0.0, **CHIP) == pytest.approx(5e-6 + 0.02, rel=1e-12)
    assert elementwise_s(EASY, bytes_=1e6, bandwidth_bytes_per_s=1e12, kernels=3.0) == pytest.approx(8e-6)


def test_all_reduce_by_the_library_and_by_the_engine() -> None:
    link = {"message_bytes": 8e6, "ranks": 8.0, "link_bytes_per_s": 1e11}
    t_b = 2 * 7 / 8 * 8e6 / (1e11 * 0.8)
    tail = 2 * math.sqrt(4e-6 * t_b) + t_b
    assert all_reduce_s(EASY, engine_kernel=0.0, **link) == pytest.approx(10e-6 + 2 * 3 * 2e-6 + tail)
    assert all_reduce_s(EASY, **link) == pytest.approx(3e-6 + 2 * 2e-6 + tail)


def test_gather_and_scatter_are_mirrors_and_each_at_most_an_all_reduce() -> None:
    link = {"ranks": 4.0, "link_bytes_per_s": 1e11}
    scatter = reduce_scatter_s(EASY, message_bytes=4e6, **link)
    assert all_gather_s(EASY, bytes_out_per_rank=1e6, **link) == scatter
    assert scatter < all_reduce_s(EASY, message_bytes=4e6, **link)


def test_an_exchange_and_a_single_message() -> None:
    seconds = all_to_all_s(EASY, bytes_out_per_rank=1e6, ranks=16.0, link_bytes_per_s=1e11)
    assert seconds == pytest.approx(10e-6 + 4 * 2e-6 + 20e-6)
    assert point_to_point_s(EASY, message_bytes=8e6, link_bytes_per_s=1e11) == pytest.approx(102e-6)


def test_one_rank_exchanges_nothing() -> None:
    link = {"ranks": 1.0, "link_bytes_per_s": 1e11}
    assert all_reduce_s(EASY, message_bytes=1e6, **link) == 0
    assert reduce_scatter_s(EASY, message_bytes=1e6, **link) == 0
    assert all_to_all_s(EASY, bytes_out_per_rank=1e6, **link) == 0


def test_arrays_broadcast_and_agree_with_scalars() -> None:
    m, k = np.array([[1.0], [100.0], [5000.0]]), np.array([512.0, 7168.0])
    together = gemm_s(
        EASY, flop=2 * m * 4096 * k, weight_bytes=8192 * k, io_bytes=m * k, m=m, n=4096.0, k=k, **CHIP
    )
    assert together.shape == (3, 2)
    alone = gemm_s(
        EASY,
        flop=2 * 100.0 * 4096 * 512,
        weight_bytes=8192 * 512.0,
        io_bytes=51200.0,
        m=100.0,
        k=512.0,
        **CHIP,
    )
    assert together[1, 0] == alone


def test_parameters_know_dtypes_and_planes() -> None:
    p = Parameters.load()
    assert p.compute_efficiency("bf16") == p.compute_efficiency("fp8_e4m3") == p.gemm_efficiency
    assert p.compute_efficiency("int8") == p.gemm_efficiency_int8
    assert p.compute_efficiency("mxfp4") == p.compute_efficiency("nvfp4") == p.gemm_efficiency_fp4
    assert p.link_latency_s("die_to_die") == p.link_latency_s("scale_up") < p.link_latency_s("host")
    assert p.link_efficiency("scale_out") == p.link_efficiency_scale_out
