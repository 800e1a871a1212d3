"""The fit of engine classes on measurements whose parameters are known, because they were made from them."""

from dataclasses import replace

import numpy as np
import pytest

from dougong.backtest.case import Case, CaseSource
from dougong.backtest.fitting import Bench, Row, decode, encode, fit_class, out_of_fold
from dougong.calibration.engines import engine_starts
from dougong.plan.evaluate import answer, prepare
from dougong.plan.question import Question
from dougong.plan.types import Layout
from dougong.testing import dense_model, moe_model, tiny_chip, tiny_system

MODELS = {model.id: model for model in (dense_model(layers=32), moe_model(layers=24))}
RATES = [(2e14, 1e12), (1e15, 3e12), (4e14, 4e12)]
CHIPS = {
    f"vendor{i}-chip": tiny_chip(bf16=bf16, bandwidth=bandwidth, capacity=2e11)
    for i, (bf16, bandwidth) in enumerate(RATES)
}
SYSTEMS = {name: tiny_system(chip, name=name) for name, chip in CHIPS.items()}


def bench(truth, noise=0.0):
    questions = [
        Question(
            model=model,
            system=system,
            mode="colocated",
            decode=Layout(tp=tp, expert_tp=tp),
            prompt_tokens=1000.0,
            output_tokens=500.0,
            users=users,
            engine="community",
        )
        for model in MODELS
        for system in SYSTEMS
        for tp in (1, 4)
        for users in (1.0, 8.0, 64.0)
    ]
    programs = prepare(questions, MODELS, SYSTEMS)
    random = np.random.default_rng(7)
    rows = []
    for number, program in enumerate(programs):
        for place, given in enumerate(answer(program, None, {"community": truth})):
            asked = program.questions[place]
            case = Case(
                id=f"{number}-{place}",
                model=asked.model,
                system=asked.system,
                chip=asked.system,
                source=CaseSource(document=asked.system),
            )
            for metric in ("tpot_s", "ttft_s"):
                value = getattr(given, metric) * float(np.exp(noise * random.normal()))
                rows.append(Row(case=case, metric=metric, measured=value, program=number, place=place))
    return Bench(programs=tuple(programs), rows=tuple(rows))


@pytest.fixture(scope="module")
def truth():
    start = engine_starts()["community"]
    return replace(
        start, step_s=5e-3, sequence_s=4e-5, memory_slowdown=1.6, compute_slowdown=1.8, request_s=0.2
    )


def test_numbers_go_to_the_fit_and_back():
    start = engine_starts()["community"]
    again = decode(start, encode(start))
    assert again.step_s == pytest.approx(start.step_s)
    assert again.fixed_frac == pytest.approx(start.fixed_frac)
    assert again.compute_slowdown == pytest.approx(start.compute_slowdown)


def test_a_fit_finds_what_made_the_measurements(truth):
    made = bench(truth)
    start = engine_starts()["community"]
    paced = np.array([row.metric == "tpot_s" for row in made.rows])
    before = np.abs(made.residuals({"community": start}))[paced]
    fitted = fit_class(made, "community", lambda row: True, start)
    after = np.abs(made.residuals({"community": fitted}))[paced]
    assert np.median(before) > 0.15
    assert np.median(after) < 0.04
    assert np.max(after) < 0.2


def test_nothing_to_fit_to_leaves_the_start(truth):
    start = engine_starts()["community"]
    assert fit_class(bench(truth), "community", lambda row: False, start) == start


def test_out_of_fold_errors_are_those_of_fits_that_saw_nothing_of_the_fold(truth):
    made = bench(truth, noise=0.05)
    centres = {"community": engine_starts()["community"]}
    fitted = {"community": fit_class(made, "community", lambda row: True, centres["community"])}
    folded = out_of_fold(made, lambda row: row.case.chip, fitted, centres)
    assert np.isfinite(folded).all()
    # A world that obeys the forms carries over to a chip that was left out.
    assert np.median(np.abs(folded)) < 0.12
