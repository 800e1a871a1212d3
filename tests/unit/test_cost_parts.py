"""Precision, memory, links and money against numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dougong.calibration import Parameters
from dougong.catalog.models import DTYPE_BITS
from dougong.catalog.store import Catalog
from dougong.cost.links import collective_seconds
from dougong.cost.machine import machine_of
from dougong.cost.memory import cache_per_sequence, kv_bytes_per_token, weights_per_device
from dougong.cost.precision import apply
from dougong.errors import UnknownId
from dougong.ops import Collective, Dtypes, Ranks
from dougong.plan.money import rates_of
from dougong.plan.types import PlanRequest
from dougong.testing import Shelf, dense_model, figure, moe_model, tiny_chip, tiny_system
from dougong.workload import Workload

P = Parameters.load()
ONE = Ranks(tp=1.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=1.0)


@pytest.fixture(scope="module")
def catalog():
    return Catalog.open()


def test_a_checkpoint_computes_in_what_the_chip_has():
    fp8 = replace(dense_model(dtype="fp8_e4m3"), activation_dtype="fp8_e4m3")
    with_fp8 = apply(fp8, "auto", tiny_chip(fp8=2e14))
    assert with_fp8.dtypes.compute["fp8_e4m3"] == "fp8_e4m3"
    with_int8 = apply(fp8, "auto", tiny_chip(int8=2e14))
    assert with_int8.recipe == "int8"
    assert with_int8.dtypes.compute["int8"] == "int8"
    assert "INT8" in with_int8.note
    with_neither = apply(fp8, "auto", tiny_chip())
    assert with_neither.recipe == "native"
    assert with_neither.dtypes.compute["fp8_e4m3"] == "bf16"
    assert with_neither.dtypes.widens("fp8_e4m3")


def test_weight_only_recipes_multiply_in_sixteen_bits():
    precise = apply(dense_model(), "w4a16", tiny_chip(int8=2e14, fp8=2e14))
    assert precise.dtypes.compute["int4_g128"] == "bf16"
    stored = {linear.dtype for _, linear in precise.model.each_linear() if linear.group != "router"}
    assert stored == {"int4_g128"}


def test_an_unknown_precision_names_the_near_ones():
    with pytest.raises(UnknownId, match="fp88"):
        apply(dense_model(), "fp88", tiny_chip())


def test_weights_of_a_dense_model_split_by_tensor_parallelism():
    # 8 layers of attention and of 3 x 1024 x 4096 feed-forward, embedding and head of 32,000 x 1024, in bf16.
    model = dense_model()
    attention = 1024 * (1024 + 256 + 256 + 1024)
    layer = attention + 3 * 1024 * 4096
    ends = 2 * 32_000 * 1024
    assert float(weights_per_device(model, ONE, 1.0)) == 2 * (8 * (layer + 2048) + ends)
    four = Ranks(tp=4.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=4.0)
    # Norms are copied to every device.
    assert float(weights_per_device(model, four, 1.0)) == 2 * (8 * (layer / 4 + 2048) + ends / 4)
    eight = Ranks(tp=8.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=8.0)
    # Beyond the four key-value heads keys and values are held twice.
    kv = 2 * 1024 * 256
    expected = 2 * (8 * ((layer - kv) / 8 + kv / 4 + 2048) + ends / 8)
    assert float(weights_per_device(model, eight, 1.0)) == expected


def test_experts_are_dealt_out_whole():
    # 32 experts of 3 x 1024 x 512 in bf16 on 3, 32 and 64 devices: 11, 1 and 1 slots.
    model = moe_model()
    bank = 3 * 1024 * 512 * 2
    held = []
    for devices in (3.0, 32.0, 64.0):
        wide = Ranks(tp=1.0, cp=1.0, attn_dp=devices, ep=devices, expert_tp=1.0)
        held.append(float(weights_per_device(model, wide, 1.0)))
    assert held[0] - held[1] == 8 * 10 * bank
    assert held[1] == held[2]


@pytest.mark.parametrize(
    ("model", "bytes_per_token"),
    [
        ("deepseek-r1", 61 * (512 + 64) * 2),  # one latent and one rotary key a layer
        ("llama-3.1-8b", 32 * 2 * 8 * 128 * 2),
        ("qwen3-32b", 64 * 2 * 8 * 128 * 2),
        ("kimi-k2", 61 * (512 + 64) * 2),
        (
            "gpt-oss-120b",
            36 * 2 * 8 * 64 * 2,
        ),  # half the layers keep a window only; before it is full all grow
    ],
)
def test_cache_bytes_per_token(catalog, model, bytes_per_token):
    assert kv_bytes_per_token(catalog.model(model), "bf16") == bytes_per_token


def test_windows_stop_the_cache_from_growing(catalog):
    # gpt-oss-120b at 100,000 tokens: 18 full layers, 18 of a window of 128.
    bf16 = Dtypes(compute=dict.fromkeys(DTYPE_BITS, "bf16"))
    held = float(cache_per_sequence(catalog.model("gpt-oss-120b"), 100_000.0, ONE, bf16))
    assert held == pytest.approx(18 * (100_000 + 128) * 2 * 8 * 64 * 2)


def all_to_all(size, ranks, copies=1.0):
    return Collective(
        name="x", group="g", kind="all_to_all", count=1.0, bytes_out=size, ranks=ranks, copies=copies
    )


def test_a_group_of_one_exchanges_nothing():
    machine = machine_of(tiny_system(chips=8))
    assert collective_seconds(all_to_all(1e9, 1.0), machine, P, 1.0) == 0.0


def test_what_leaves_the_node_takes_the_fabric():
    # 16 chips in nodes of 8: half of a bulk exchange crosses a fabric a hundredth as fast, and decides.
    machine = machine_of(tiny_system(chips=16, node=8, link=1e11, fabric=1e9))
    spent = float(collective_seconds(all_to_all(1e9, 16.0), machine, P, 1.0))
    fabric = 1e9 * 8 / 16 / (1e9 * P.link_efficiency_scale_out)
    assert spent == pytest.approx(fabric, rel=0.05)


def test_bulk_dispatch_sends_a_row_once_to_a_node():
    # 8 copies of each row over 2 nodes: 2 (1 - (1/2)^8) of 8 are distinct, about a quarter.
    machine = machine_of(tiny_system(chips=16, node=8, link=1e13, fabric=1e9))
    direct = float(collective_seconds(all_to_all(1e9, 16.0, 1.0), machine, P, 1.0))
    shared = float(collective_seconds(all_to_all(1e9, 16.0, 8.0), machine, P, 1.0))
    assert shared / direct == pytest.approx(2 * (1 - 0.5**8) / 8, rel=0.01)


def test_a_mesh_gives_a_pair_one_link_of_seven():
    plain = tiny_system(chips=8, link=7e10)
    mesh = replace(plain, domains=(replace(plain.domains[0], topology="mesh"),))
    reduce = Collective(name="x", group="g", kind="all_reduce", count=1.0, bytes_out=1e9, ranks=2.0)
    pair = [float(collective_seconds(reduce, machine_of(system), P, 1.0)) for system in (plain, mesh)]
    assert pair[1] / pair[0] == pytest.approx(7.0, rel=0.1)
    whole = replace(reduce, ranks=8.0)
    assert collective_seconds(whole, machine_of(plain), P, 1.0) == collective_seconds(
        whole, machine_of(mesh), P, 1.0
    )


def test_an_unknown_link_is_no_number():
    from dougong.facts import Unknown

    machine = machine_of(tiny_system(chips=16, node=8, fabric=Unknown("nobody says")))
    assert math.isfinite(float(collective_seconds(all_to_all(1e6, 8.0), machine, P, 1.0)))
    assert np.isnan(collective_seconds(all_to_all(1e6, 16.0), machine, P, 1.0))


def test_two_dies_share_a_package(catalog):
    machine = machine_of(catalog.system("cloudmatrix384"))
    assert machine.num_devices == 768
    assert machine.peak("int8") == 752e12
    assert machine.bandwidth == 1.6e12
    assert [level.size for level in machine.levels] == [2, 16, 768]
    assert [level.bandwidth for level in machine.levels] == [270e9, 196e9, 196e9]


def test_money_and_energy_follow_the_flags():
    system = tiny_system()
    request = PlanRequest(
        model="m", systems=("s",), workload=Workload(prompt_tokens=1.0, output_tokens=1.0), usd_per_chip_hour=3.6,
        watts_per_chip=500.0, pue=1.2, usd_per_kwh=0.1, grid_g_per_kwh=360.0,
    )  # fmt: skip
    rates = rates_of(system, request, Shelf(models={}, systems={}))
    assert rates.watts_per_chip == 600.0
    assert rates.usd_per_chip_s == pytest.approx(0.001 + 600 * 0.1 / 3.6e6)
    assert rates.grams_per_j == pytest.approx(1e-4)


def test_power_without_a_host_is_said_to_be_so():
    system = replace(tiny_system(), power={})
    request = PlanRequest(model="m", systems=("s",), workload=Workload(prompt_tokens=1.0, output_tokens=1.0))
    rates = rates_of(system, request, Shelf(models={}, systems={}))
    assert rates.watts_per_chip == 300.0
    assert any("TDP only" in note for note in rates.notes)
    whole = replace(system, power={"all_in": figure(8000.0, "power.all_in")})
    assert rates_of(whole, request, Shelf(models={}, systems={})).watts_per_chip == 1000.0
