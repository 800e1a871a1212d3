import math

import pytest

from dougong.backtest import run
from dougong.backtest.ablations import AblationPredictor
from dougong.backtest.case import Case, CaseSource, OperatorCase, PhaseLayout, Precision
from dougong.backtest.operator_predictor import OperatorPredictor
from dougong.backtest.questions import PlanPredictor, asks_of, recipe_of
from dougong.errors import UnknownId
from dougong.plan.evaluate import evaluate
from dougong.testing import dense_model, moe_model, tiny_chip, tiny_system


class Shelf:
    """A catalog of one chip and two models."""

    def chip(self, name):
        return tiny_chip()

    def system(self, name):
        return tiny_system(tiny_chip(), chips=int(name.split("x ")[0]) if "x " in name else 384, node=8)

    def model(self, name):
        if name.endswith(("-nvfp4", "-fp8")):
            raise UnknownId("model", name, ())
        return moe_model() if "moe" in name or "deepseek" in name else dense_model()


def case(**changes):
    base = {
        "id": "c", "model": "moe", "system": "16x tiny", "chip": "tiny", "layouts": {"all": PhaseLayout.of(tp=16)},
        "chips": {"all": 16.0}, "prompt_tokens": 1000, "output_tokens": 100, "concurrency": 32,
        "measured": {"tpot_s": 0.01}, "source": CaseSource(document="d"), "engine_class": "community",
    }  # fmt: skip
    return Case(**{**base, **changes})


def test_a_colocated_case_is_one_question():
    (ask,) = asks_of(case(precision=Precision(kv="fp8_e4m3"), balanced_experts=True), "m")
    question = ask.question
    assert (question.mode, question.users, question.saturated) == ("colocated", 32, False)
    assert (question.precision, question.kv_dtype, question.imbalance) == ("native", "fp8_e4m3", 1.0)
    assert str(question.decode) == "TP16"


def test_a_run_of_whole_waves_keeps_its_rate_and_a_part_of_one_costs_more_than_its_share():
    lengths = {"prompt_tokens": 100, "output_tokens": 4000, "measured": {"output_tokens_per_s_per_chip": 1.0}}

    def rate(requests):
        burst = case(concurrency=None, saturated=True, requests=requests, **lengths)
        (found,) = run([burst], PlanPredictor(Shelf()))
        return found.predicted

    def held():
        limited = PlanPredictor(Shelf())
        asked = limited.gather([case(concurrency=10**6, **lengths)])
        (answer,) = evaluate([ask.question for _, ask in asked.asks], asked.models, asked.systems)
        return answer.batch

    full = round(held())
    steady = rate(full * 100)
    assert rate(2 * full) == pytest.approx(steady, rel=0.01)
    assert 0.5 * steady < rate(full + full // 20) < 0.99 * steady
    assert rate(full + full // 20) < rate(full + full // 2) < steady


def test_a_batch_per_device_becomes_a_batch_per_attention_group():
    (ask,) = asks_of(
        case(
            layouts={"decode": PhaseLayout.of(tp=4, attn_dp=4, ep=16)}, concurrency=None, batch_per_device=8.0
        ),
        "m",
    )
    assert (ask.question.mode, ask.question.batch) == ("decode", 32.0)


def test_phases_measured_apart_are_two_questions():
    asks = asks_of(
        case(
            layouts={"prefill": PhaseLayout(), "decode": PhaseLayout.of(attn_dp=4, ep=4)},
            measured={"prefill_tokens_per_s_per_chip": 1.0, "decode_tokens_per_s_per_chip": 2.0},
        ),
        "m",
    )
    assert [(ask.question.mode, ask.metrics) for ask in asks] == [
        ("prefill", ("prefill_tokens_per_s_per_chip",)),
        ("decode", ("decode_tokens_per_s_per_chip",)),
    ]


def test_a_prefill_rate_beside_a_tpot_is_a_question_of_its_own():
    asks = asks_of(case(measured={"tpot_s": 1.0, "prefill_tokens_per_s_per_chip": 1.0}), "m")
    assert [(ask.question.mode, ask.metrics) for ask in asks] == [
        ("colocated", ("tpot_s",)),
        ("prefill", ("prefill_tokens_per_s_per_chip",)),
    ]


def test_a_burst_is_as_many_users_as_it_has_requests():
    (ask,) = asks_of(case(concurrency=None, requests=3000, saturated=True), "m")
    assert (ask.question.users, ask.question.saturated) == (3000, False)
    (ask,) = asks_of(case(concurrency=None, saturated=True), "m")
    assert (ask.question.users, ask.question.saturated) == (None, True)


def test_both_layouts_with_end_to_end_figures_are_disaggregated():
    layouts = {"prefill": PhaseLayout.of(tp=4, replicas=2), "decode": PhaseLayout.of(tp=8)}
    (ask,) = asks_of(case(layouts=layouts), "m")
    assert (ask.question.mode, ask.question.prefill_replicas, str(ask.question.decode)) == (
        "disaggregated",
        2,
        "TP8",
    )


def test_a_precision_is_a_recipe():
    assert recipe_of(Precision(kv="bf16")) == "native"
    recipe = recipe_of(Precision(weights="int8", experts="int4", activations="int8"))
    assert (recipe.weights, recipe.experts, recipe.activations) == ("int8", "int4", "int8")


def predicted(*cases):
    predictor = PlanPredictor(Shelf())
    predictor.prepare(cases)
    return {(o.id, o.metric): o for o in run(cases, predictor)}


def test_cases_are_answered_together_as_they_are_alone():
    layouts = {"decode": PhaseLayout.of(attn_dp=16, ep=16)}
    cases = [
        case(id="a"),
        case(id="b", concurrency=4),
        case(id="c", layouts=layouts, batch_per_device=4.0, concurrency=None),
        case(
            id="d", layouts={"prefill": PhaseLayout.of(tp=8)}, measured={"prefill_tokens_per_s_per_chip": 9.0}
        ),
    ]
    together = predicted(*cases)
    for one in cases:
        for key, outcome in predicted(one).items():
            assert together[key].predicted == pytest.approx(outcome.predicted, rel=1e-9)
    assert together["a", "tpot_s"].low < together["a", "tpot_s"].predicted < together["a", "tpot_s"].high
    assert together["b", "tpot_s"].predicted < together["a", "tpot_s"].predicted


def test_where_only_a_limit_tells_the_load_the_largest_batch_within_it_counts():
    layouts = {"decode": PhaseLayout.of(attn_dp=16, ep=16)}
    rate = {"decode_tokens_per_s_per_chip": 1.0}
    loose, tight = (
        case(id=name, layouts=layouts, concurrency=None, measured=rate, limits={"tpot_s": limit})
        for name, limit in (("loose", 10.0), ("tight", 0.02))
    )
    found = predicted(loose, tight)
    big, small = (found[name, "decode_tokens_per_s_per_chip"].predicted for name in ("loose", "tight"))
    assert small < big
    # Asked with the batch that the limit allowed, the planner gives the same rate, and one step more breaks it.
    for batch, lawful in ((small * 0.02, True), (small * 0.02 * 1.3, False)):
        again = case(layouts=layouts, concurrency=None, batch_per_device=batch, measured={"tpot_s": 0.02})
        assert (predicted(again)["c", "tpot_s"].predicted <= 0.0201) is lawful


def test_refusals_keep_their_reason():
    found = predicted(
        case(id="a", refused="no layout"), case(id="b", engine_class="community", model="x-nvfp4")
    )
    assert found["a", "tpot_s"].refused == "no layout"
    assert "x-nvfp4" in (found["b", "tpot_s"].refused or "")


def operator(op, **changes):
    return OperatorCase(id=op, op=op, chip="tiny", **{"measured": {"latency_s": 1e-4}, **changes})


def test_operators_are_priced_on_the_catalogs_chip():
    predictor = OperatorPredictor(Shelf())
    gemm = operator(
        "gemm", shape={"m": 4096.0, "n": 8192.0, "k": 8192.0}, words={"dtype": "bfloat16"},
        measured={"latency_s": 1e-4, "utilisation_frac": 0.5, "flop_per_s": 1e14},
    )  # fmt: skip
    found = predictor(gemm)
    peak = float(tiny_chip().peak("bf16"))
    assert found["utilisation_frac"].value == pytest.approx(found["flop_per_s"].value / peak)
    assert 0.3 < found["utilisation_frac"].value < 1.0
    dispatch = operator("moe_dispatch", shape={"ep": 16.0, "tokens_per_rank": 128.0})
    wide = operator("moe_dispatch", shape={"ep": 16.0, "tokens_per_rank": 256.0})
    assert predictor(wide)["latency_s"].value > predictor(dispatch)["latency_s"].value
    assert all(math.isfinite(guess.value) for guess in predictor(dispatch).values())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (operator("telepathy"), "no form"),
        (operator("gemm", shape={"m": 1.0}, words={"dtype": "bf16"}), "n is not stated"),
        (operator("gemm", shape={"m": 1.0, "n": 1.0, "k": 1.0}, words={"dtype": "fp3"}), "fp3"),
    ],
)
def test_operators_without_a_shape_are_refused(asked, words):
    answer = OperatorPredictor(Shelf())(asked)
    assert isinstance(answer, str)
    assert words in answer


def test_ablations_of_other_deployments_are_refused():
    assert isinstance(AblationPredictor(Shelf())(operator("ablation_mtp")), str)


def test_a_case_is_told_in_one_line():
    assert str(case()) == "moe on 16x tiny, TP16, 1000/100, 32 in flight"
    assert str(operator("gemm")) == "gemm on tiny"
    assert str(operator("gemm", shape={"m": 8.0, "n": 1e6})) == "gemm on tiny: m 8, n 1e+06"
