"""Laws of the cost model on random chips, systems, models and layouts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dougong.calibration import Parameters
from dougong.calibration.engines import engine_class
from dougong.cost.machine import machine_of, stack
from dougong.cost.memory import cache_per_sequence, weights_per_device
from dougong.cost.precision import apply
from dougong.cost.step import Pricer, tokens_per_step
from dougong.ops import Ranks, Tokens
from dougong.plan.layouts import RULES, Setting, enumerate_layouts
from dougong.plan.serving import colocated, decode_pool, decode_tokens
from dougong.testing import dense_model, moe_model, tiny_chip, tiny_system
from dougong.workload import Workload

rates = st.floats(1e13, 3e15)
bandwidths = st.floats(1e11, 1e13)
links = st.floats(1e9, 1e12)
models = st.sampled_from(
    [
        dense_model(),
        moe_model(),
        dense_model(window=256, name="windowed"),
        moe_model(experts=64, top_k=8, name="many"),
    ]
)
workloads = st.builds(
    Workload, prompt_tokens=st.integers(1, 30_000).map(float), output_tokens=st.integers(2, 4000).map(float)
)
batches = st.integers(1, 512).map(float)


def pricer(model, *, bf16=1e14, bandwidth=1e12, link=1e11, chips=16, node=8, engine="community", **more):
    system = tiny_system(
        tiny_chip(bf16=bf16, bandwidth=bandwidth), chips=chips, node=node, link=link, fabric=link / 4
    )
    return Pricer(
        precise=apply(model, "auto", system.chip),
        machine=machine_of(system),
        parameters=Parameters.load(),
        engine=engine_class(engine),
        **more,
    )


@st.composite
def layouts(draw, model, devices=16):
    tp = draw(st.sampled_from([1, 2, 4, 8]))
    dp = draw(st.sampled_from([n for n in (1, 2, 4) if tp * n <= devices])) if model.is_moe else 1
    etp = draw(st.sampled_from(sorted({1, tp, tp * dp}))) if model.is_moe else tp
    return Ranks(tp=float(tp), cp=1.0, attn_dp=float(dp), ep=float(tp * dp // etp), expert_tp=float(etp))


@st.composite
def scenes(draw):
    model = draw(models)
    return model, draw(layouts(model)), draw(workloads), draw(batches)


def step(one, ranks, workload, batch):
    return float(np.asarray(decode_pool(one, ranks, 1.0, workload, batch, 0.7).step_s))


@given(
    scenes(), rates, bandwidths, links, st.floats(1.0, 10.0), st.sampled_from(["bf16", "bandwidth", "link"])
)
def test_more_of_anything_never_slows_a_step(scene, bf16, bandwidth, link, factor, what):
    model, ranks, workload, batch = scene
    base = {"bf16": bf16, "bandwidth": bandwidth, "link": link}
    # A faster multiplier on the same memory keeps less of its peak busy (a fitted form), but never less in all.
    before = step(pricer(model, **base), ranks, workload, batch)
    after = step(pricer(model, **{**base, what: base[what] * factor}), ranks, workload, batch)
    assert after <= before * (1 + 1e-9)


@given(scenes(), links, st.floats(0.0, 1.0))
def test_micro_batches_are_taken_only_where_they_pay(scene, link, overlap):
    model, ranks, workload, batch = scene
    one = pricer(model, link=link)
    serial, two = (
        replace(one, engine=replace(one.engine, micro_batches=flag, overlap_frac=overlap))
        for flag in (False, True)
    )
    before, after = step(serial, ranks, workload, batch), step(two, ranks, workload, batch)
    assert after <= before * (1 + 1e-9)
    # Two halves cannot take less than the longer of what they overlap.
    assert after >= 0.5 * before * (1 - 1e-9)
    if ranks.attn_dp == 1.0 or overlap == 0.0:
        assert after == pytest.approx(before)


@given(scenes(), st.floats(1.0, 4.0))
def test_a_larger_batch_never_takes_less_time_nor_yields_less(scene, factor):
    model, ranks, workload, batch = scene
    one = pricer(model)
    small, large = (decode_pool(one, ranks, 1.0, workload, b, 0.7) for b in (batch, batch * factor))
    assert float(large.step_s) >= float(small.step_s) * (1 - 1e-9)


@given(scenes())
def test_longer_contexts_never_decode_faster(scene):
    model, ranks, workload, batch = scene
    longer = Workload(prompt_tokens=workload.prompt_tokens * 2, output_tokens=workload.output_tokens)
    one = pricer(model)
    assert step(one, ranks, longer, batch) >= step(one, ranks, workload, batch) * (1 - 1e-9)


@given(scenes())
def test_a_mixed_step_takes_at_least_its_decode_part(scene):
    model, ranks, workload, batch = scene
    one = pricer(model)
    decode = one.step(ranks, 1.0, decode_tokens(workload, batch, 0), decode=True, prefill=False)
    mixed = one.step(
        ranks,
        1.0,
        Tokens(
            decode_sequences=batch,
            context=workload.mean_decode_context,
            prefill_tokens=512.0,
            prefill_context=256.0,
            prefill_sequences=1.0,
        ),
        decode=True,
        prefill=True,
    )
    assert float(mixed.total) >= float(decode.total)


@given(st.data())
@settings(max_examples=20)
def test_a_table_prices_like_its_rows(data):
    model = data.draw(models)
    workload = data.draw(workloads)
    one = pricer(model)
    setting = Setting(model=model, machine=one.machine, devices=16, context_tokens=workload.full_context)
    table = enumerate_layouts(setting)
    for rule in RULES:
        table = table.take(np.broadcast_to(rule.check(setting, table), (len(table),)))
    grid = np.array([[1.0, 7.0, 64.0]])
    whole = np.asarray(
        colocated(one, table.ranks(), table.pp[:, None].astype(float), workload, grid, 0.7).tpot_s
    )
    assert whole.shape == (len(table), 3)
    row = data.draw(st.integers(0, len(table) - 1))
    layout = table.layout(row)
    ranks = Ranks(
        tp=float(layout.tp),
        cp=float(layout.cp),
        attn_dp=float(layout.attn_dp),
        ep=float(layout.ep),
        expert_tp=float(layout.expert_tp),
    )
    for column, batch in enumerate(grid[0]):
        alone = colocated(one, ranks, float(layout.pp), workload, batch, 0.7).tpot_s
        assert whole[row, column] == pytest.approx(float(alone), rel=1e-12)


@given(st.data())
@settings(max_examples=20)
def test_stacked_machines_price_like_each_alone(data):
    model = data.draw(models)
    systems = [
        tiny_system(
            tiny_chip(bf16=data.draw(rates), bandwidth=data.draw(bandwidths)),
            link=data.draw(links),
            name=f"s{i}",
        )
        for i in range(3)
    ]
    machines = [machine_of(system) for system in systems]
    # What one of them is known to sustain bounds it alone.
    machines[1] = replace(machines[1], sustained={"bf16": data.draw(rates), "memory": data.draw(bandwidths)})
    precise = apply(model, "bf16", systems[0].chip)
    ranks, workload = data.draw(layouts(model, devices=8)), data.draw(workloads)
    columns = Ranks(**{name: np.full((3, 1), getattr(ranks, name)) for name in Ranks.__dataclass_fields__})
    common = {"precise": precise, "parameters": Parameters.load(), "engine": engine_class("community")}
    together = colocated(
        Pricer(machine=stack(machines, np.arange(3)), **common),
        columns,
        1.0,
        workload,
        np.array([[8.0]]),
        0.7,
    ).tpot_s
    for i, machine in enumerate(machines):
        alone = colocated(Pricer(machine=machine, **common), ranks, 1.0, workload, 8.0, 0.7).tpot_s
        assert np.asarray(together)[i, 0] == pytest.approx(float(alone), rel=1e-12)


@given(models, st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.sampled_from([1.0, 2.0, 4.0]))
def test_splitting_never_needs_more_bytes(model, tp, pp):
    one = Ranks(tp=tp, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=tp)
    two = Ranks(tp=2 * tp, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=2 * tp)
    assert float(weights_per_device(model, two, pp)) <= float(weights_per_device(model, one, pp))
    assert float(weights_per_device(model, one, 2 * pp)) <= float(weights_per_device(model, one, pp))


@given(models, st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_cache_grows_with_the_context(model, a, b):
    dtypes = apply(model, "auto", tiny_chip()).dtypes
    ranks = Ranks(tp=1.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=1.0)
    small, large = sorted((float(a), float(b)))
    assert float(cache_per_sequence(model, small, ranks, dtypes)) <= float(
        cache_per_sequence(model, large, ranks, dtypes)
    )


@given(st.integers(0, 8), st.floats(0, 1))
def test_speculation_yields_between_one_and_all_drafts(drafts, acceptance):
    assert 1.0 <= tokens_per_step(drafts, acceptance) <= 1.0 + drafts


@given(scenes())
def test_users_in_a_replica_obey_littles_law(scene):
    model, ranks, workload, batch = scene
    served = colocated(pricer(model), ranks, 1.0, workload, batch, 0.7)
    residence = served.ttft_s + (workload.output_tokens - 1) * served.tpot_s
    assert float(served.users) == pytest.approx(float(served.requests_per_s * residence))
