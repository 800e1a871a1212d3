"""Further calls: what each of them finds, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dougong.backends import Answer, Array, Call
from dougong.backends.reference.backend import ReferenceBackend
from dougong.backends.wire import LINE_BYTES, beside
from dougong.ops.definitions import DEFINITIONS
from dougong.verify.case import Case
from dougong.verify.inside import ask_inside
from dougong.verify.judge import Outcome, judge
from dougong.verify.mutants.faults import as_if_packed
from dougong.verify.relations import related
from dougong.verify.verdict import Result, Verdict

REFERENCE = ReferenceBackend()
Run = Callable[[Call], Answer]


def linear(generator: np.random.Generator) -> Call:
    x, weight = (generator.standard_normal((n, 40)).astype(np.float32) for n in (70, 9))
    return Call(op="linear", inputs={"x": x, "weight": weight})


def judged(*relations: str, run: Run, patience_s: float = 60.0) -> Result:
    made = Case(
        id="gemm/test-float32", family="gemm", op="linear", dtype="float32", edge="a test", make=linear,
        relations=relations,
    )  # fmt: skip

    class Backend:
        name = "test"

        def describe(self) -> dict[str, str]:
            return {"device": "cpu"}

        def run(self, call: Call) -> Answer:
            return run(call)

    def ask(call: Call) -> Outcome:
        return ask_inside(Backend(), call)

    return judge(made, made.call(), ask(made.call()), device="cpu", ask=ask, patience_s=patience_s)


def with_last_row_off(answer: Answer) -> Answer:
    y = answer.outputs["y"].copy()
    y[-1:] *= np.float32(1.02)
    return replace(answer, outputs={"y": y})


def test_the_reference_agrees_with_itself() -> None:
    result = judged("cuts:m", "cuts:k", "layouts", "again", run=REFERENCE.run)
    assert result.verdict is Verdict.PASS, result
    assert result.facts["layouts"] == result.facts["again"] == "same bits"


@pytest.mark.parametrize(("axis", "extent"), [("m", 48), ("n", 7), ("k", 15)])
def test_one_extent_that_is_wrong_is_found_and_named(axis: str, extent: int) -> None:
    def run(call: Call) -> Answer:
        m, k = call.inputs["x"].shape
        hit = {"m": m, "n": len(call.inputs["weight"]), "k": k}[axis] == extent
        return with_last_row_off(REFERENCE.run(call)) if hit else REFERENCE.run(call)

    result = judged(f"cuts:{axis}", run=run)
    assert result.verdict in (Verdict.WRONG, Verdict.DEVIATES)
    assert f"{axis} = {extent}:" in result.detail


def test_an_input_read_as_if_it_were_packed_is_found_and_named() -> None:
    def run(call: Call) -> Answer:
        return REFERENCE.run(
            replace(call, inputs={**call.inputs, "weight": as_if_packed(call.inputs["weight"])})
        )

    result = judged("layouts", run=run)
    assert (result.verdict, result.check) == (Verdict.WRONG, "value")
    assert "layouts: weight" in result.detail


def test_an_input_beside_a_line_of_memory_stays_beside_it() -> None:
    def run(call: Call) -> Answer:
        off = beside(call.inputs["x"]) % LINE_BYTES
        return with_last_row_off(REFERENCE.run(call)) if off else REFERENCE.run(call)

    result = judged("layouts", run=run)
    assert result.verdict is Verdict.WRONG
    assert "x one element into its memory" in result.detail


def test_a_call_that_is_seldom_wrong_is_found() -> None:
    calls = iter(range(1000))

    def run(call: Call) -> Answer:
        return with_last_row_off(REFERENCE.run(call)) if next(calls) % 20 == 19 else REFERENCE.run(call)

    result = judged("again", run=run)
    assert (result.verdict, result.check) == (Verdict.WRONG, "determinism")


def test_what_takes_too_long_is_not_asked_to_the_end_and_the_fact_says_so() -> None:
    result = judged("cuts:m", run=REFERENCE.run, patience_s=0.0)
    assert result.verdict is Verdict.PASS
    assert "the rest would have taken too long" in result.facts["cuts:m"]


def test_a_seed_that_is_not_read_is_found() -> None:
    call = Call(op="random_uniform", inputs={"seed": np.array(3)}, attributes={"n": 70_000})
    made = Case(
        id="sampler/test-float32", family="sampler", op="random_uniform", dtype="float32", edge="a test",
        make=lambda generator: call, relations=("next_seed",),
    )  # fmt: skip
    same = Outcome(answer=REFERENCE.run(call))
    assert judge(made, call, same, ask=lambda other: same).verdict is Verdict.WRONG
    other = judge(made, call, same, ask=lambda other: Outcome(answer=REFERENCE.run(other)))
    assert other.verdict is Verdict.PASS


def test_cuts_keep_pairs_whole_and_ask_for_no_more_than_there_is() -> None:
    halves = Call(op="swiglu", inputs={"x": np.zeros((2, 40), np.float32)})
    extents = [each.call.inputs["x"].shape[1] for each in related("cuts:2f", DEFINITIONS["swiglu"], halves)]
    assert extents
    assert all(extent % 2 == 0 for extent in extents)
    top: Array = np.zeros((2, 40), np.float32)
    few = Call(op="top_k", inputs={"x": top}, attributes={"k": 8})
    assert min(each.call.inputs["x"].shape[1] for each in related("cuts:n", DEFINITIONS["top_k"], few)) == 8
