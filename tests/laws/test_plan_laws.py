"""Laws of planning: what any answer must keep, whatever the chip, the system and the model."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dougong.errors import InputError, UnknownFigure
from dougong.facts import Unknown
from dougong.plan import Infeasible, Plan, PlanRequest, make_plan
from dougong.testing import Shelf, dense_model, moe_model, tiny_chip, tiny_system
from dougong.workload import Limit, Workload

SLOW = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
MODELS = {
    model.id: model
    for model in (
        dense_model(),
        moe_model(),
        moe_model(experts=64, top_k=8, ffn=1024, layers=24, name="large"),
    )
}


@st.composite
def questions(draw):
    chips = draw(st.sampled_from([1, 2, 4, 8, 24, 64]))
    chip = tiny_chip(
        bf16=draw(st.floats(1e13, 2e15)),
        capacity=draw(st.floats(2e9, 2e11)),
        bandwidth=draw(st.floats(1e11, 8e12)),
        devices=draw(st.sampled_from([1, 2])),
        fp8=draw(st.sampled_from([None, 2e15])),
    )
    system = tiny_system(
        chip,
        chips=chips,
        node=min(8, chips),
        link=draw(st.floats(1e9, 1e12)),
        fabric=draw(st.floats(1e9, 1e11)),
    )
    load = draw(st.sampled_from([{}, {"rate_requests_per_s": 0.5}, {"users": 16.0}]))
    workload = Workload(
        prompt_tokens=float(draw(st.integers(1, 20_000))),
        output_tokens=float(draw(st.integers(1, 2000))),
        prefix_hit_frac=draw(st.sampled_from([0.0, 0.5])),
        **load,
    )
    limit = Limit(
        ttft_s=draw(st.sampled_from([None, 0.5, 10.0])), tpot_s=draw(st.sampled_from([None, 0.005, 0.05]))
    )
    request = PlanRequest(
        model=draw(st.sampled_from(sorted(MODELS))),
        systems=(system.id,),
        workload=workload,
        limit=limit,
        objective=draw(st.sampled_from(["throughput", "latency", *(["chips"] if load else [])])),
        mode=draw(st.sampled_from(["auto", "colocated", "disaggregated"])),
        top=draw(st.integers(1, 8)),
    )
    return request, system


def ask(request, system):
    return make_plan(request, Shelf(models=MODELS, systems={system.id: system}))


@given(questions())
@SLOW
def test_every_option_keeps_every_promise(question):
    request, system = question
    answer = ask(request, system)
    if isinstance(answer, Infeasible):
        assert answer.refusals
        assert all(refusal.count > 0 and refusal.detail and refusal.remedy for refusal in answer.refusals)
        return
    assert 1 <= len(answer.options) <= request.top
    loaded = request.workload.rate_requests_per_s is not None or request.workload.users is not None
    for option in (*answer.options, *answer.pareto):
        assert option.chips <= system.num_chips
        assert option.chips == math.ceil(sum(pool.chips for pool in option.pools) - 1e-9)
        assert option.chips_counted == (option.chips if loaded else system.num_chips)
        rate, chips = option.output_tokens_per_s_per_chip.value, option.chips_counted
        assert rate * chips == pytest.approx(option.output_tokens_per_s.value)
        # Little's law over the whole life of a request, whatever the mode.
        life_s = option.ttft_s.value + (request.workload.output_tokens - 1) * option.tpot_s.value
        assert option.users == pytest.approx(option.requests_per_s * life_s)
        assert option.tpot_s.low <= option.tpot_s.value <= option.tpot_s.high
        for pool in option.pools:
            cut = pool.layout
            assert cut.tp * cut.cp * cut.attn_dp == cut.ep * cut.expert_tp
            assert pool.memory.used_bytes <= pool.memory.capacity_bytes * (1 + 1e-9)
            assert pool.utilisation <= 1 + 1e-9
    for option in answer.options:
        assert option.meets
        assert request.limit.tpot_s is None or option.tpot_s.value <= request.limit.tpot_s
        assert request.limit.ttft_s is None or option.ttft_s.value <= request.limit.ttft_s
        if request.workload.rate_requests_per_s is not None:
            assert option.requests_per_s >= request.workload.rate_requests_per_s * (1 - 1e-9)
        if request.workload.users is not None:
            assert option.users == pytest.approx(request.workload.users)


@given(questions())
@SLOW
def test_the_same_question_has_the_same_answer(question):
    request, system = question
    first, second = (asdict(replace(ask(request, system), elapsed_s=0.0)) for _ in range(2))
    assert first == second


@given(questions())
@SLOW
def test_a_front_trades_one_thing_for_the_other(question):
    request, system = question
    answer = ask(request, system)
    if isinstance(answer, Plan):
        speeds = [1 / option.tpot_s.value for option in answer.pareto]
        rates = [option.output_tokens_per_s_per_chip.value for option in answer.pareto]
        assert speeds == sorted(speeds, reverse=True)
        assert rates == sorted(rates)


@given(questions(), st.floats(1.0, 3.0), st.sampled_from(["bandwidth", "bf16"]))
@SLOW
def test_a_better_chip_never_plans_worse(question, factor, what):
    request, system = question
    request = replace(
        request,
        objective="throughput",
        workload=replace(request.workload, rate_requests_per_s=None, users=None),
        mode="colocated",
    )
    chip = system.chip
    values = {
        "bf16": float(chip.peak("bf16")),
        "bandwidth": float(chip.memory_bandwidth),
        "capacity": float(chip.memory_capacity),
    }
    best = []
    for rates in (values, {**values, what: values[what] * factor}):
        answer = ask(request, replace(system, chip=tiny_chip(**rates, devices=chip.devices)))
        best.append(answer.options[0].output_tokens_per_s.value if isinstance(answer, Plan) else 0.0)
    assert best[1] >= best[0] * (1 - 1e-9)


def test_an_unknown_link_refuses_what_crosses_it_and_nothing_else():
    system = tiny_system(
        chips=16, node=8, fabric=Unknown("not published", "invented-s1", "domain.cluster.bandwidth")
    )
    request = PlanRequest(
        model="invented-dense",
        systems=(system.id,),
        workload=Workload(prompt_tokens=100.0, output_tokens=100.0),
    )
    answer = ask(request, system)
    assert isinstance(answer, Plan)
    assert all(pool.layout.devices <= 8 for option in answer.options for pool in option.pools)
    (refusal,) = [refusal for refusal in answer.refusals if refusal.reason == "links-known"]
    assert "domain.cluster.bandwidth is unknown (not published)" in refusal.detail


def test_an_unknown_memory_bandwidth_is_an_error_that_names_it():
    chip = replace(tiny_chip(), memory_bandwidth=Unknown("no document", "invented-t1", "memory.bandwidth"))
    system = tiny_system(chip)
    request = PlanRequest(
        model="invented-dense",
        systems=(system.id,),
        workload=Workload(prompt_tokens=100.0, output_tokens=100.0),
    )
    with pytest.raises(UnknownFigure, match=r"invented-t1: memory.bandwidth is unknown \(no document\)"):
        ask(request, system)


def test_what_does_not_fit_says_what_it_needs():
    system = tiny_system(tiny_chip(capacity=1e9), chips=1)
    answer = ask(
        PlanRequest(
            model="large", systems=(system.id,), workload=Workload(prompt_tokens=100.0, output_tokens=100.0)
        ),
        system,
    )
    assert isinstance(answer, Infeasible)
    (refusal,) = [refusal for refusal in answer.refusals if refusal.reason == "memory"]
    assert "needs" in refusal.detail
    assert "weights" in refusal.detail


def test_all_faults_of_a_request_are_told_at_once():
    request = PlanRequest(
        model="large",
        systems=("s",),
        workload=Workload(prompt_tokens=1.0, output_tokens=1.0),
        objective="chips",
        acceptance=2.0,
        pue=0.5,
        imbalance=0.1,
        watts_per_chip=float("nan"),
    )
    with pytest.raises(InputError) as caught:
        make_plan(request, Shelf(models={}, systems={}))
    text = str(caught.value)
    for words in (
        "needs a load",
        "acceptance must be",
        "acceptance is given",
        "PUE",
        "imbalance",
        "watts_per_chip",
    ):
        assert words in text
