import json
import math

import pytest

from dougong.backtest import leave_one_group_out, run, spread, summary, to_json
from dougong.backtest.case import Case, CaseSource, PhaseLayout
from dougong.backtest.run import quantile
from dougong.plan.types import Interval


def case(name, tpot=1.0, *, document="d", refused=None, model="qwen3-32b", chip="nvidia-h200-sxm"):
    return Case(
        id=name, model=model, system="1x c", chip=chip, layouts={"all": PhaseLayout()}, chips={"all": 1.0},
        prompt_tokens=10, output_tokens=10, concurrency=1, measured={"tpot_s": tpot, "ttft_s": 2 * tpot},
        source=CaseSource(document=document), refused=refused,
    )  # fmt: skip


def always(value, width=2.0):
    return lambda case: {name: Interval(value, value / width, value * width) for name in case.measured}


def test_errors_are_relative_to_the_measurement_and_intervals_cover_or_not():
    tpot, ttft = run([case("a", 1.0)], always(1.5, 1.2))
    assert (tpot.metric, tpot.error_frac) == ("tpot_s", pytest.approx(0.5))
    assert tpot.covered is False
    assert ttft.error_frac == pytest.approx(-0.25)
    assert ttft.covered is False
    assert run([case("a", 1.0)], always(1.5, 2.0))[0].covered is True


def test_nothing_leaves_the_count():
    cases = [case("a"), case("b", refused="no layout"), case("c")]

    def predict(asked):
        assert asked.id != "b"
        return "does not fit" if asked.id == "c" else {"tpot_s": Interval(1, 1, 1)}

    outcomes = run(cases, predict)
    assert [(o.id, o.metric, o.refused) for o in outcomes] == [
        ("a", "tpot_s", None),
        ("a", "ttft_s", "ttft_s is not predicted for this case"),
        ("b", "tpot_s", "no layout"),
        ("b", "ttft_s", "no layout"),
        ("c", "tpot_s", "does not fit"),
        ("c", "ttft_s", "does not fit"),
    ]
    found = spread(outcomes)
    assert (found.cases, found.predicted, found.refused) == (1, 1, 5)


def test_a_prediction_that_is_no_number_is_refused():
    outcome, *_ = run([case("a")], always(math.inf))
    assert outcome.predicted is None
    assert "not finite" in (outcome.refused or "")


def test_summary_by_hand():
    cases = [case("a", 1.0), case("b", 2.0, chip="huawei-910c", model="deepseek-r1"), case("c", 4.0)]
    outcomes = [o for o in run(cases, always(2.0)) if o.metric == "tpot_s"]  # errors +1, 0, -0.5
    tables = summary(outcomes)
    assert tables["overall"]["median_abs"] == pytest.approx(0.5)
    assert tables["overall"]["mean_abs"] == pytest.approx(0.5)
    assert tables["overall"]["p90_abs"] == pytest.approx(0.9)
    assert tables["overall"]["bias"] == pytest.approx(0.0)
    assert tables["overall"]["coverage"] == pytest.approx(1.0)
    assert set(tables["vendor"]) == {"nvidia", "huawei"}
    assert tables["family"]["deepseek"]["median_abs"] == 0
    assert tables["regime"]["end-to-end"]["cases"] == 3


def test_leave_one_document_out_never_shows_a_document_to_its_own_fit():
    cases = [case("a", 1.0, document="x"), case("b", 3.0, document="y"), case("c", 5.0, document="y")]
    seen = []

    def fit(training):
        seen.append({item.source.document for item in training})
        return always(sum(item.measured["tpot_s"] for item in training) / len(training))

    outcomes = [o for o in leave_one_group_out(cases, fit) if o.metric == "tpot_s"]
    assert seen == [{"y"}, {"x"}]
    assert {o.id: o.predicted for o in outcomes} == {"a": 4.0, "b": 1.0, "c": 1.0}


def test_json_is_plain_and_has_a_schema():
    nothing = Case(id="n", model="m", system="s", chip="c", refused="no reason to measure")
    text = json.dumps(to_json(run([case("a"), nothing], always(1.0))), allow_nan=False)
    back = json.loads(text)
    assert back["schema"] == 1
    assert set(back["cases"][0]) == {
        "id", "metric", "measured", "predicted", "low", "high", "error_frac", "refused",
    }  # fmt: skip
    assert back["cases"][-1]["measured"] is None
    assert back["summary"]["overall"]["refused"] == 1


def test_quantiles():
    assert quantile([], 0.5) is None
    assert quantile([3.0], 0.9) == 3.0
    assert quantile([0.0, 1.0], 0.9) == pytest.approx(0.9)
