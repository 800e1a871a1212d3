"""What a plan says, on invented systems and on shipped ones: measures, loads, refusals, money and words."""

import dataclasses
import math
import re

import numpy as np
import pytest

from dougong import units
from dougong.calibration.engines import engine_class
from dougong.catalog.store import Catalog
from dougong.errors import InputError
from dougong.facts import Unknown
from dougong.plan import Infeasible, Plan, PlanRequest, compare, fit_matrix, make_plan
from dougong.plan.explain import binding
from dougong.plan.pools import Transfer
from dougong.plan.remarks import engine_notes
from dougong.plan.space import BATCHES
from dougong.report.dump import dump_answer
from dougong.report.plan import draw_answer, infeasible_sentence
from dougong.report.terminal import render
from dougong.testing import Shelf, dense_model, moe_model, tiny_chip, tiny_system
from dougong.workload import Limit, Workload

MODELS = {model.id: model for model in (dense_model(), moe_model())}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.open()


def ask(system, model="invented-dense", *, prompt=1000.0, output=100.0, shelf=MODELS, **words):
    load = {name: words.pop(name) for name in ("rate_requests_per_s", "users") if name in words}
    request = PlanRequest(
        model=model,
        systems=(system.id,),
        workload=Workload(prompt_tokens=prompt, output_tokens=output, **load),
        **words,
    )
    return make_plan(request, Shelf(models=shelf, systems={system.id: system}))


def shipped(catalog, model, *systems, prompt=2048.0, output=256.0, **words):
    load = {name: words.pop(name) for name in ("rate_requests_per_s", "users") if name in words}
    workload = Workload(prompt_tokens=prompt, output_tokens=output, **load)
    return make_plan(PlanRequest(model=model, systems=systems, workload=workload, **words), catalog)


def reasons(answer):
    return {refusal.reason: refusal for refusal in answer.refusals}


# Links


def dark_fabric(chips=16):
    return tiny_system(
        chips=chips, node=8, fabric=Unknown("not published", "invented-s1", "domain.cluster.bandwidth")
    )


def test_a_cache_is_not_moved_over_an_unknown_link():
    answer = ask(dark_fabric(), mode="disaggregated")
    assert isinstance(answer, Plan)
    for option in answer.options:
        assert option.chips <= 8
        assert math.isfinite(option.ttft_s.value)
        assert option.kv_transfer_s > 0


def test_pools_that_need_an_unknown_link_are_refused_by_name():
    node = tiny_system(
        chips=2, node=1, fabric=Unknown("not published", "invented-s1", "domain.cluster.bandwidth")
    )
    answer = ask(node, mode="disaggregated")
    assert isinstance(answer, Infeasible)
    assert "domain.cluster.bandwidth is unknown (not published)" in reasons(answer)["pool-link"].detail
    assert "the cache must move between the pools" in infeasible_sentence(answer)


def test_a_transfer_reads_the_domain_that_holds_the_deployment():
    transfer = Transfer(np.array([2.0, 16.0, 64.0]), np.array([1e-3, 5e-3, np.nan]))
    assert transfer.over(np.array([2.0, 3.0, 16.0])).tolist() == [1e-3, 5e-3, 5e-3]
    assert np.isnan(transfer.over(np.array([17.0, 100.0]))).all()
    assert transfer.least == 1e-3


# Loads


def test_users_of_two_pools_wait_for_prefill():
    # Two tokens out: nearly all of a request's life is its prompt, and 2,000 users cannot all be decoding.
    system = tiny_system(chips=8)
    answer = ask(system, prompt=2048.0, output=2.0, users=500.0, mode="disaggregated")
    assert isinstance(answer, Plan)
    best = answer.options[0]
    assert best.users == pytest.approx(500.0)
    assert best.ttft_s.value + best.tpot_s.value == pytest.approx(500.0 / best.requests_per_s)
    assert best.ttft_s.value > 10 * best.tpot_s.value


def test_more_users_than_caches_fit_is_a_reasoned_no():
    answer = ask(tiny_system(chips=2), prompt=20_000.0, output=1.0, users=5000.0, objective="chips")
    assert isinstance(answer, Infeasible)
    detail = reasons(answer)["load"].detail
    assert "the caches of 5,000 requests of 20,001 tokens do not fit" in detail
    held = int(re.search(r"hold ([\d,]+) at once", detail)[1].replace(",", ""))
    fits = ask(tiny_system(chips=2), prompt=20_000.0, output=1.0, users=float(held))
    assert isinstance(fits, Plan)
    assert isinstance(ask(tiny_system(chips=2), prompt=20_000.0, output=1.0, users=held + 1.0), Infeasible)


def test_the_nearest_of_a_load_that_is_not_carried_carries_most():
    answer = ask(tiny_system(chips=8), rate_requests_per_s=1e6)
    assert isinstance(answer, Infeasible)
    most = ask(tiny_system(chips=8))
    assert isinstance(most, Plan)
    assert answer.nearest is not None
    assert answer.nearest.requests_per_s == pytest.approx(most.options[0].requests_per_s, rel=0.02)


# One measure of best


@pytest.mark.parametrize("load", [{}, {"rate_requests_per_s": 2.0}])
def test_order_ties_families_and_front_read_one_measure(load):
    answer = ask(tiny_system(chips=24, node=8), "invented-moe", **load)
    assert isinstance(answer, Plan)
    rates = [option.output_tokens_per_s_per_chip.value for option in answer.options]
    assert rates == sorted(rates, reverse=True)
    assert [option.tie for option in answer.options[1:]] == [rate * 1.05 >= rates[0] for rate in rates[1:]]
    family = answer.explanation.families[0]
    assert family.verdict == "wins"
    assert family.best_tokens_per_s_per_chip == pytest.approx(rates[0])
    assert max(option.output_tokens_per_s_per_chip.value for option in answer.pareto) == pytest.approx(
        rates[0]
    )


@pytest.mark.parametrize("objective", ["throughput", "latency", "cost", "chips"])
def test_the_winner_is_of_the_first_family_and_gains_are_of_the_objective(objective):
    load = {"rate_requests_per_s": 5.0} if objective == "chips" else {}
    answer = ask(tiny_system(chips=8), objective=objective, usd_per_chip_hour=1.0, **load)
    assert isinstance(answer, Plan)
    why = answer.explanation
    assert why.families[0].verdict == "wins"
    assert (
        why.measure
        == {
            "throughput": "tokens/s per chip",
            "latency": "TPOT",
            "cost": "USD per million output tokens",
            "chips": "chips in use",
        }[objective]
    )
    best = max(why.sensitivities, key=lambda gain: gain.gain_frac)
    assert all(gain.gain_frac > -1e-9 for gain in why.sensitivities)
    assert why.binding.startswith(best.knob) == (best.gain_frac > 0.005)


def test_latency_gains_are_those_of_a_faster_memory():
    system = tiny_system(chips=1)
    answer = ask(system, objective="latency")
    (gain,) = [one for one in answer.explanation.sensitivities if one.knob == "memory bandwidth"]
    faster = ask(tiny_system(tiny_chip(bandwidth=1.1e12), chips=1), objective="latency")
    ratio = faster.options[0].tpot_s.value / answer.options[0].tpot_s.value
    assert gain.gain_frac == pytest.approx(1 - ratio, rel=0.02)


def test_the_next_step_is_told_where_nothing_gains():
    answer = ask(tiny_system(tiny_chip(capacity=10e9), chips=1))
    (pool,) = answer.options[0].pools
    told = binding(answer.options[0], answer.request, ())
    following = float(BATCHES[pool.sequences_per_replica < BATCHES][0])
    memory = pool.memory
    each = memory.kv_cache_bytes / pool.sequences_per_replica
    lacking = each * (following - pool.sequences_per_replica) - (memory.capacity_bytes - memory.used_bytes)
    assert lacking > 0
    assert f"{following:,.0f} sequences per attention group" in told
    assert f"needs {units.show(lacking, 'byte')} more on each device" in told


# Money


def test_cost_cannot_order_without_a_price():
    answer = ask(tiny_system(chips=2), objective="cost")
    assert isinstance(answer, Infeasible)
    assert reasons(answer)["price"].remedy == "give --usd-per-chip-hour, or another objective"
    with pytest.raises(InputError, match="at a price of 0"):
        ask(tiny_system(chips=2), objective="cost", usd_per_chip_hour=0.0)


def test_electricity_alone_is_no_cost():
    alone = ask(tiny_system(chips=1), usd_per_kwh=0.1).options[0]
    assert alone.usd_per_million_output_tokens is None
    tokens_per_s = alone.output_tokens_per_s.value
    assert alone.electricity_usd_per_million_output_tokens == pytest.approx(
        300.0 / 3.6e6 * 0.1 / tokens_per_s * 1e6
    )
    both = ask(tiny_system(chips=1), usd_per_kwh=0.1, usd_per_chip_hour=1.0).options[0]
    bare = ask(tiny_system(chips=1), usd_per_chip_hour=1.0).options[0]
    assert both.usd_per_million_output_tokens == pytest.approx(
        bare.usd_per_million_output_tokens + alone.electricity_usd_per_million_output_tokens
    )


def test_a_price_of_the_catalog_holds_its_electricity(catalog):
    bare = shipped(catalog, "qwen3-8b", "hgx-h100")
    told = shipped(catalog, "qwen3-8b", "hgx-h100", usd_per_kwh=0.1)
    costs = [answer.options[0].usd_per_million_output_tokens for answer in (bare, told)]
    assert costs[0] == costs[1]
    assert 0 < told.options[0].electricity_usd_per_million_output_tokens < costs[0]


def test_a_price_is_told_in_our_words(catalog):
    notes = shipped(catalog, "qwen3-8b", "cloudmatrix384", chips=8).notes
    (price,) = [note for note in notes if note.startswith("price:")]
    assert "1.58 USD/h per chip" in price
    assert "a server of eight" in price


# Chips


def test_half_a_chip_is_bought_whole():
    system = tiny_system(tiny_chip(devices=2, capacity=64e9), chips=4)
    answer = ask(system, rate_requests_per_s=0.01, objective="chips")
    best = answer.options[0]
    assert (best.chips, best.chips_counted) == (1, 1)
    assert best.output_tokens_per_s_per_chip.value == pytest.approx(best.output_tokens_per_s.value)
    drawn = render(draw_answer(answer))
    assert "on 1 chip," in drawn
    assert "1 die" in drawn
    assert "0.5 chips" not in drawn


# Context


def test_a_request_longer_than_the_context_is_a_no():
    short = {"invented-dense": dataclasses.replace(dense_model(), max_context_tokens=8192)}
    answer = ask(tiny_system(), prompt=8000.0, output=500.0, shelf=short)
    assert isinstance(answer, Infeasible)
    assert "8,500 tokens in the end" in infeasible_sentence(answer)
    assert "8,192 tokens" in infeasible_sentence(answer)
    longer = ask(tiny_system(), prompt=8000.0, output=500.0, shelf=short, max_context_tokens=32768)
    assert isinstance(longer, Plan)
    assert any("extended to 32,768 by your word" in note for note in longer.notes)


def test_a_trace_tells_how_many_requests_are_too_long():
    short = {"invented-dense": dataclasses.replace(dense_model(), max_context_tokens=8192)}
    system = tiny_system()
    workload = Workload(
        prompt_tokens=2500.0, output_tokens=100.0, source="trace", totals=(20_000, 9000, 1000, *[500] * 17)
    )
    assert workload.longer_than(8192) == pytest.approx(0.1)
    assert (workload.longer_than(20_000), workload.longer_than(100)) == (0.0, 1.0)
    request = PlanRequest(model="invented-dense", systems=(system.id,), workload=workload)
    answer = make_plan(request, Shelf(models=short, systems={system.id: system}))
    (note,) = [note for note in answer.notes if "trace" in note]
    assert "10 % of the trace's 20 requests" in note
    assert "longest 20,000" in note
    assert "totals" not in str(dump_answer(answer)["request"])


def test_a_matrix_says_which_requests_are_too_long(catalog):
    matrix = fit_matrix(
        ["llama-2-7b"], ["hgx-h100"], catalog, workload=Workload(prompt_tokens=5000.0, output_tokens=10.0)
    )
    cell = matrix.cells["llama-2-7b", "hgx-h100"]
    assert cell.verdict == "does-not-fit"
    assert "4,096 tokens" in cell.detail


@pytest.mark.parametrize("system", ["cloudmatrix384", "hgx-h200", "metax-c550-supernode"])
@pytest.mark.parametrize("model", ["deepseek-r1", "qwen3-32b"])
def test_a_matrix_agrees_with_a_colocated_plan(catalog, model, system):
    workload = Workload(prompt_tokens=4096.0, output_tokens=1024.0)
    cell = fit_matrix([model], [system], catalog, workload=workload).cells[model, system]
    plan = make_plan(
        PlanRequest(model=model, systems=(system,), workload=workload, mode="colocated"), catalog
    )
    assert cell.tokens_per_s_per_chip == pytest.approx(
        plan.options[0].output_tokens_per_s_per_chip.value, rel=0.03
    )


# Several systems


def test_every_system_of_several_is_seen_and_notes_say_whose(catalog):
    answer = shipped(catalog, "qwen3-8b", "hgx-h100", "cloudmatrix384", "rtx-4090-8")
    assert {option.system for option in answer.best_of_each} == {"hgx-h100", "cloudmatrix384", "rtx-4090-8"}
    assert answer.best_of_each[0] == dataclasses.replace(
        answer.options[0], pools=answer.best_of_each[0].pools
    )
    drawn = render(draw_answer(answer))
    assert all(name in drawn for name in answer.request.systems)
    assert any(note.startswith("cloudmatrix384: price:") for note in answer.notes)
    assert not any(note.startswith("price:") for note in answer.notes)


def test_a_fingerprint_is_of_what_the_plan_stood_on(catalog):
    alone = shipped(catalog, "qwen3-8b", "hgx-h100")
    request = dataclasses.replace(alone.request, systems=("cloudmatrix384", "hgx-h100"))
    beside = compare(request, Catalog.open())
    assert beside[1].fingerprint == alone.fingerprint
    assert beside[0].fingerprint != alone.fingerprint
    assert shipped(catalog, "qwen3-14b", "hgx-h100").fingerprint != alone.fingerprint


# Steps


@pytest.mark.parametrize(
    ("model", "mode"), [("invented-dense", "colocated"), ("invented-moe", "disaggregated")]
)
@pytest.mark.parametrize("chips", [8, 24])
def test_groups_make_up_the_step_exactly(model, mode, chips):
    # A small memory and a slow link make pipeline stages win.
    system = tiny_system(tiny_chip(capacity=3e9), chips=chips, node=8, link=2e9)
    answer = ask(system, model, mode=mode, top=20)
    for pool in answer.options[0].pools:
        for step in pool.steps:
            assert math.fsum(spent for spent, _ in step.groups.values()) == pytest.approx(
                step.seconds, rel=1e-9
            )


def test_one_output_token_has_no_decode_step():
    answer = ask(tiny_system(chips=2), output=1.0)
    (pool,) = answer.options[0].pools
    assert [step.phase for step in pool.steps] == ["prefill"]
    assert pool.step_s == pytest.approx(pool.steps[0].seconds)
    assert not any(operator.kind == "decode_attention" for operator in pool.steps[0].operators)


# Words


def test_values_that_look_alike_get_more_digits():
    system = tiny_system(chips=2)
    fastest = ask(system, objective="latency").options[0].tpot_s.value
    answer = ask(system, limit=Limit(tpot_s=fastest * (1 - 1e-5)))
    assert isinstance(answer, Infeasible)
    value, limit = re.search(r"TPOT (.*) where (.*) is the limit", infeasible_sentence(answer)).groups()
    assert value != limit
    tiny = ask(system, limit=Limit(tpot_s=1e-12))
    assert "e-" not in reasons(tiny)["tpot-limit"].detail


def test_one_token_and_two_pools_is_its_own_reason():
    answer = ask(tiny_system(chips=8), output=1.0, mode="disaggregated")
    assert isinstance(answer, Infeasible)
    assert "one-token" in reasons(answer)
    small = ask(tiny_system(chips=1), mode="disaggregated")
    assert reasons(small)["devices"].detail == "two pools of replicas that fit do not go into 1 device"


def test_shapes_are_told_without_powers_of_ten():
    answer = ask(tiny_system(chips=2), prompt=4264.0)
    formulas = {operator.formula for step in answer.options[0].pools[0].steps for operator in step.operators}
    assert not [formula for formula in formulas if "e+" in formula]


def test_vendor_tuned_says_where_it_does_not_lead():
    tuned, community = engine_class("vendor-tuned"), engine_class("community")
    names = ("compute_slowdown", "memory_slowdown", "link_slowdown")
    leads = dataclasses.replace(tuned, **{name: getattr(community, name) for name in names})
    assert engine_notes(leads) == []
    (note,) = engine_notes(dataclasses.replace(leads, memory_slowdown=community.memory_slowdown * 1.2))
    assert "memory-bound work takes 20 % longer" in note
    assert "do not tell which stack is faster" in note
    assert engine_notes(dataclasses.replace(community, memory_slowdown=9.0)) == []


@pytest.mark.parametrize("dtype", ["q4_k_m", "mxfp8", "fp32"])
def test_a_cache_is_kept_in_what_engines_store(dtype):
    with pytest.raises(InputError, match="not a thing engines offer"):
        ask(tiny_system(chips=1), kv_dtype=dtype)
