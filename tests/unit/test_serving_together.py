"""A batch whose requests start together: prompts first, then answers."""

from dataclasses import replace

import pytest

from dougong.calibration import Parameters
from dougong.calibration.engines import engine_class
from dougong.cost.machine import machine_of
from dougong.cost.precision import apply
from dougong.cost.step import Pricer
from dougong.ops import Ranks
from dougong.plan.serving import colocated, decode_tokens, prefill_tokens, together
from dougong.testing import dense_model, tiny_chip, tiny_system
from dougong.workload import Workload

ONE = Ranks(tp=1.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=1.0)


def pricer(**more):
    system = tiny_system(tiny_chip(bf16=1e14, bandwidth=1e12))
    return Pricer(
        precise=apply(dense_model(), "bf16", system.chip),
        machine=machine_of(system),
        parameters=Parameters.load(),
        engine=replace(engine_class("community"), **more),
    )


def test_prompts_of_one_step_come_first_and_all_decode_after():
    one, load, batch = (
        pricer(prefill_step_tokens=8192.0),
        Workload(prompt_tokens=100.0, output_tokens=50.0),
        8.0,
    )
    prompts = one.step(ONE, 1.0, prefill_tokens(load, 800.0), decode=False, prefill=True).total
    step = one.step(ONE, 1.0, decode_tokens(load, batch, 0), decode=True, prefill=False).total
    found = together(one, ONE, 1.0, load, batch, 0.7)
    start = one.engine.request_s
    assert float(found.ttft_s) == pytest.approx(start + float(prompts))
    assert float(found.tpot_s) == pytest.approx(float(step))
    assert float(found.requests_per_s) == pytest.approx(batch / (start + float(prompts) + 49.0 * float(step)))


def test_the_mean_request_waits_for_half_of_the_prompts():
    load, batch = Workload(prompt_tokens=1000.0, output_tokens=1000.0), 64.0
    few = together(pricer(prefill_step_tokens=1000.0), ONE, 1.0, load, batch, 0.7)
    one = pricer(prefill_step_tokens=1000.0)
    whole = batch / float(few.requests_per_s) - 999.0 * float(few.decode_step.total)
    wait = float(few.ttft_s) - one.engine.request_s
    assert wait == pytest.approx((whole - one.engine.request_s) * 65.0 / 128.0)
    # Those that are through go on while the others are still read: their answers take longer than decoding alone.
    assert float(few.tpot_s) > float(few.decode_step.total)
    steady = colocated(one, ONE, 1.0, load, batch, 0.7)
    assert float(few.ttft_s) > 3.0 * float(steady.ttft_s)
    assert float(few.tpot_s) < float(steady.tpot_s)
