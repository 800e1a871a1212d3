"""A case taken apart: its steps are those of the prediction, and what would match does match."""

from dataclasses import replace

import numpy as np
import pytest

from dougong.backtest.case import Case, CaseSource, OperatorCase, PhaseLayout
from dougong.backtest.explain import counted, explain
from dougong.backtest.questions import PlanPredictor
from dougong.backtest.roofline import Roofline, floor_s, lossless, times
from dougong.backtest.views import View
from dougong.calibration import Parameters
from dougong.calibration.engines import engine_classes
from dougong.cost.machine import machine_of
from dougong.cost.precision import apply
from dougong.cost.step import Pricer
from dougong.ops import Collective, Compute, Ranks, Tokens
from dougong.plan.evaluate import evaluate, prepare
from dougong.testing import dense_model, moe_model, tiny_chip, tiny_system


class Shelf:
    """A catalog of one chip and two models."""

    def system(self, name):
        return tiny_system(tiny_chip(), chips=int(name.split("x ")[0]), node=8)

    def model(self, name):
        return moe_model() if "moe" in name else dense_model()


def case(**changes):
    base = {
        "id": "c", "model": "moe", "system": "16x tiny", "chip": "tiny", "layouts": {"all": PhaseLayout.of(tp=8)},
        "chips": {"all": 8.0}, "prompt_tokens": 1000, "output_tokens": 100, "concurrency": 32,
        "measured": {"tpot_s": 0.01}, "source": CaseSource(document="d"), "engine_class": "community",
    }  # fmt: skip
    return Case(**{**base, **changes})


WIDE = PhaseLayout.of(attn_dp=8, ep=8)
CASES = {
    "colocated": case(measured={"tpot_s": 0.01, "ttft_s": 0.5, "output_tokens_per_s_per_chip": 300.0}),
    "pipeline": case(layouts={"all": PhaseLayout.of(tp=4, pp=2)}),
    "drafting": case(layouts={"all": WIDE}, draft_tokens=1, acceptance=0.5),
    "saturated": case(concurrency=None, saturated=True, measured={"output_tokens_per_s_per_chip": 900.0}),
    "decode": case(
        layouts={"decode": WIDE}, concurrency=None, batch_per_device=16.0,
        measured={"tpot_s": 0.02, "decode_tokens_per_s_per_chip": 800.0},
    ),
    "ladder": case(
        layouts={"decode": WIDE}, concurrency=None, limits={"tpot_s": 0.05},
        measured={"decode_tokens_per_s_per_chip": 800.0},
    ),
    "prefill": case(
        layouts={"prefill": WIDE}, concurrency=None, output_tokens=None, prefill_batch_tokens=4096,
        measured={"prefill_tokens_per_s_per_chip": 9000.0},
    ),
    "disaggregated": case(
        layouts={"prefill": WIDE, "decode": WIDE}, concurrency=64, chips={"prefill": 8.0, "decode": 8.0},
        measured={"tpot_s": 0.02, "ttft_s": 0.4, "output_tokens_per_s_per_chip": 100.0},
    ),
}  # fmt: skip


def answers_of(one, engines=None):
    asked = PlanPredictor(Shelf()).gather([one])
    asks = [ask for _, ask in asked.asks]
    given = evaluate([ask.question for ask in asks], asked.models, asked.systems, None, engines)
    return counted(list(zip(asks, given, strict=True)))


@pytest.mark.parametrize("name", CASES)
def test_the_steps_shown_are_those_of_the_prediction(name):
    found = explain(CASES[name], Shelf())
    assert found.refused is None
    steps = {step.phase: step.seconds for pool in found.pools for step in pool.steps}
    ((_, given),) = answers_of(CASES[name])
    if given.decode_step_s is not None:
        assert steps["decode"] == pytest.approx(given.decode_step_s, rel=1e-9)
    if given.prefill_step_s is not None:
        assert steps["prefill"] == pytest.approx(given.prefill_step_s, rel=1e-9)
    assert ("mixed" in steps) == (name in ("colocated", "pipeline", "drafting", "saturated"))
    for pool in found.pools:
        assert pool.memory.used_bytes > 0
        assert all(
            sum(spent for spent, _ in step.groups.values()) == pytest.approx(step.seconds, rel=2e-3)
            for step in pool.steps
        )


@pytest.mark.parametrize("name", CASES)
def test_no_step_is_faster_than_its_floor(name):
    for match in explain(CASES[name], Shelf()).matches:
        if match.step:
            assert 0 < match.floor_s < match.step_s


def test_what_would_match_matches():
    # The pool of one phase is a single step: with that step as long as said, the prediction is the measurement.
    one = CASES["decode"]
    by_metric = {match.metric: match for match in explain(one, Shelf()).matches}
    match = by_metric["tpot_s"]
    assert match.alone_s == pytest.approx(0.02)
    assert match.every_step == pytest.approx(0.02 / match.step_s)
    rate = by_metric["decode_tokens_per_s_per_chip"]
    assert 16.0 / rate.alone_s == pytest.approx(800.0)


def test_a_mixture_of_steps_is_solved_for_one_of_them():
    one = CASES["colocated"]
    ((_, given),) = answers_of(one)
    match = next(match for match in explain(one, Shelf()).matches if match.metric == "tpot_s")
    steps = {step.phase: step.seconds for pool in explain(one, Shelf()).pools for step in pool.steps}
    share = (given.tpot_s - steps["decode"]) / (steps["mixed"] - steps["decode"])
    changed = {**steps, match.step: match.alone_s}
    assert (1 - share) * changed["decode"] + share * changed["mixed"] == pytest.approx(0.01)


def test_waiting_requests_and_a_full_cache_are_said():
    crowded = case(model="dense", layouts={"all": PhaseLayout()}, system="1x tiny", concurrency=10_000_000)
    (said, *_) = explain(crowded, Shelf()).limits
    assert "wait outside" in said
    assert "wait outside" not in explain(CASES["colocated"], Shelf()).limits[0]


def test_a_refused_case_and_an_operator_have_no_parts():
    refused = explain(case(refused="no layout"), Shelf())
    assert (refused.refused, refused.pools, refused.matches) == ("no layout", (), ())
    operator = OperatorCase(id="o", op="unheard_of", chip="tiny", measured={"latency_s": 1.0})
    assert "no form" in explain(operator, Shelf()).refused


def pricer(**changes):
    chip = tiny_chip()
    parts = {
        "precise": apply(dense_model(), "native", chip), "machine": machine_of(tiny_system(chip, chips=8, node=8)),
        "parameters": Parameters.load(), "engine": engine_classes()["community"],
    }  # fmt: skip
    return Pricer(**{**parts, **changes})


def test_the_floor_of_an_operator_by_hand():
    machine = machine_of(tiny_system(tiny_chip(), chips=8, node=8))
    peak, bandwidth = machine.peaks["bf16"], machine.bandwidth
    base = {"name": "x", "group": "other", "kind": "gemm", "count": 1.0}
    assert floor_s(Compute(**base, flop=peak, weight_bytes=0.0, io_bytes=bandwidth / 2), machine) == 1.0
    assert floor_s(Compute(**base, flop=peak, weight_bytes=bandwidth, io_bytes=bandwidth), machine) == 2.0
    passes = Compute(**{**base, "kind": "elementwise"}, flop=9 * peak, weight_bytes=0.0, io_bytes=bandwidth)
    assert floor_s(passes, machine) == 1.0
    link = machine.levels[0].bandwidth
    hop = Collective(name="x", group="other", kind="all_reduce", count=1.0, bytes_out=link, ranks=8.0)
    still = replace(machine, levels=tuple(replace(level, latency=0.0) for level in machine.levels))
    assert floor_s(hop, still) == pytest.approx(2 * 7 / 8)


def test_the_roofline_of_a_step_is_the_sum_of_its_operators():
    from dougong.ops import lower

    ideal = Roofline.of(pricer())
    ranks = Ranks(tp=4.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=4.0)
    tokens = Tokens(decode_sequences=16.0, context=500.0)
    step = ideal.step(ranks, 1.0, tokens, decode=True, prefill=False)
    operators = lower(ideal.precise.model, tokens, ranks, ideal.precise.dtypes, decode=True, prefill=False)
    assert float(step.total) == pytest.approx(
        sum(float(item.count * floor_s(item, ideal.machine)) for item in operators)
    )
    assert float(step.host) == 0
    assert float(step.total) < float(pricer().step(ranks, 1.0, tokens, decode=True, prefill=False).total)


def test_nothing_that_takes_time_is_left_in_a_lossless_class():
    engine = lossless(engine_classes()["early-port"])
    for name in ("step_s", "prefill_s", "layer_s", "sequence_s", "request_s"):
        assert getattr(engine, name) == 0
    assert (engine.compute_slowdown, engine.memory_slowdown, engine.link_slowdown) == (1, 1, 1)


def test_times_at_the_roofline_are_below_the_prediction_and_only_of_one_pool():
    asked = PlanPredictor(Shelf()).gather([CASES["colocated"], CASES["disaggregated"]])
    for program in prepare([ask.question for _, ask in asked.asks], asked.models, asked.systems):
        ttft, tpot = times(program)
        if program.questions[0].mode == "colocated":
            ((_, given),) = answers_of(CASES["colocated"])
            assert 0 < tpot[0] < given.tpot_s
            assert 0 < ttft[0] < given.ttft_s
        else:
            assert np.isnan(tpot).all()


def test_a_view_takes_numbers_not_columns():
    one = CASES["prefill"]
    asked = PlanPredictor(Shelf()).gather([one])
    ((ask, given),) = answers_of(one)
    (program,) = prepare([ask.question], asked.models, asked.systems)
    view = View.of(ask, given, replace(pricer(), precise=program.precise), program.shape)
    assert view.steps[0].tokens.prefill_tokens == pytest.approx(4096.0)
    assert view.shape.prompt_tokens == 1000.0
