"""The checks in their order, one wrong answer at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dougong.backends import Answer, Array, Call
from dougong.backends.dtypes import dtype_of, rounded
from dougong.backends.reference.backend import ReferenceBackend
from dougong.verify.case import Case
from dougong.verify.judge import Outcome, judge
from dougong.verify.verdict import Result, Verdict

REFERENCE = ReferenceBackend()


def linear(generator: np.random.Generator, dtype: str = "float32", k: int = 512) -> Call:
    x = generator.standard_normal((8, k)).astype(dtype_of(dtype))
    weight = generator.standard_normal((96, k)).astype(dtype_of(dtype))
    return Call(op="linear", inputs={"x": x, "weight": weight})


def case(dtype: str = "float32", **changes: object) -> Case:
    made = Case(
        id=f"gemm/test-{dtype}", family="gemm", op="linear", dtype=dtype, edge="a test",
        make=lambda generator: linear(generator, dtype), relations=("row_chunks", "column_chunks", "alone"),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def judged(change: Callable[[Array], Array], dtype: str = "float32", **changes: object) -> Result:
    made = case(dtype, **changes)
    call = made.call()

    def ask(other: Call) -> Outcome:
        answer = REFERENCE.run(other)
        return Outcome(answer=replace(answer, outputs={"y": change(answer.outputs["y"].copy())}))

    return judge(made, call, ask(call), device="cpu", ask=ask)


def put(y: Array, where: object, value: float) -> Array:
    y[where] = value
    return y


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_rounded_reference_passes(dtype: str) -> None:
    result = judged(lambda y: y, dtype)
    assert result.verdict is Verdict.PASS, result
    assert result.facts["row_chunks"] == "same bits"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda y: y.astype(np.float64), "dtype"),
        (lambda y: y.T, "shape"),
        (lambda y: y * np.float32(1.5), "value"),
        (lambda y: put(y, (3, 7), y[3, 7] + 0.01), "value"),
        (lambda y: put(y, (-1, -1), np.nan), "value"),
        (lambda y: put(y, (slice(None), -1), 0), "value"),
    ],
)
def test_a_wrong_answer_fails_the_check_meant_for_it(change: Callable[[Array], Array], check: str) -> None:
    result = judged(change)
    assert (result.verdict, result.check) == (Verdict.WRONG, check), result


def test_the_sign_of_a_zero_counts_where_it_is_copied_and_not_where_it_is_a_sum() -> None:
    zeros = np.array([[0.0, -0.0]], np.float32)
    same = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    for op, inputs, right in (
        ("linear", {"x": -zeros, "weight": same}, Verdict.PASS),
        ("copy", {"x": zeros}, Verdict.WRONG),
    ):
        made = Case(
            id=f"view/{op}-float32", family="view", op=op, dtype="float32", edge="a test", exact=True,
            make=lambda _, op=op, inputs=inputs: Call(op=op, inputs=inputs),
        )  # fmt: skip
        call = made.call()
        answer = REFERENCE.run(call)
        flipped = Outcome(answer=replace(answer, outputs={"y": -answer.outputs["y"]}))
        assert judge(made, call, flipped, device="cpu").verdict is right, op
        other = Outcome(answer=replace(answer, outputs={"y": answer.outputs["y"] + 1}))
        assert judge(made, call, other, device="cpu").verdict is Verdict.WRONG, op


def test_truncation_is_told_from_rounding() -> None:
    def truncated(call: Call) -> Outcome:
        y = (call.inputs["x"].astype(float) @ call.inputs["weight"].astype(float).T).astype(np.float32)
        bits = (y.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return Outcome(answer=Answer(outputs={"y": rounded(bits, "bfloat16")}, device="cpu"))

    made = case("bfloat16")
    result = judge(made, made.call(), truncated(made.call()))
    assert result.verdict is not Verdict.PASS


def test_tf32_is_a_deviation_with_its_name() -> None:
    made = case()
    call = made.call()
    narrow = {name: rounded(array.astype(float), "float16") for name, array in call.inputs.items()}
    result = judge(made, call, Outcome(answer=replace(REFERENCE.run(Call(op="linear", inputs=narrow)), outputs={
        "y": (narrow["x"].astype(float) @ narrow["weight"].astype(float).T).astype(np.float32)})))  # fmt: skip
    assert (result.verdict, result.precision) == (Verdict.DEVIATES, "tf32"), result


def test_another_device_is_a_fallback_and_a_crash_keeps_its_word() -> None:
    made = case()
    answer = REFERENCE.run(made.call())
    assert judge(made, made.call(), Outcome(answer=answer), device="npu").verdict is Verdict.FALLBACK
    told = replace(answer, fallback="aten::mm ran on the CPU")
    assert judge(made, made.call(), Outcome(answer=told), device="cpu").verdict is Verdict.FALLBACK
    died = Outcome(failed=Verdict.CRASH, detail="signal 11")
    assert judge(made, made.call(), died).verdict is Verdict.CRASH


def test_a_changed_input_and_an_unsteady_answer_are_wrong() -> None:
    made = case()
    answer = REFERENCE.run(made.call())
    assert judge(made, made.call(), Outcome(answer=answer, wrote="x")).check == "runs"
    unsteady = judge(made, made.call(), Outcome(answer=answer, unsteady="y differs in the second run"))
    assert (unsteady.verdict, unsteady.check) == (Verdict.WRONG, "determinism")


def test_a_row_that_depends_on_its_neighbours_is_found() -> None:
    made = case(relations=("row_chunks",))

    def ask(call: Call) -> Outcome:
        answer = REFERENCE.run(call)
        y = answer.outputs["y"].copy()
        if len(y) < 8:
            y[0] += 1
        return Outcome(answer=replace(answer, outputs={"y": y}))

    result = judge(made, made.call(), ask(made.call()), ask=ask)
    assert (result.verdict, result.check) == (Verdict.WRONG, "chunk_invariance")


def test_a_precision_that_cannot_be_told_is_inconclusive_where_it_is_the_question() -> None:
    made = case("bfloat16", asks_precision=True, make=lambda generator: linear(generator, "bfloat16", 16))
    result = judge(made, made.call(), Outcome(answer=REFERENCE.run(made.call())))
    assert result.verdict is Verdict.INCONCLUSIVE


def test_overflow_may_be_an_infinity_only_where_the_bound_reaches_it() -> None:
    x, weight = np.full((1, 4), 128, np.float16), np.full((1, 4), 128, np.float16)
    call = Call(
        op="linear", inputs={"x": x, "weight": weight}
    )  # 65536 rounds to infinity, 65504 is the largest
    made = case("float16", make=lambda generator: call, relations=())
    for y, verdict in ((np.inf, Verdict.PASS), (65504.0, Verdict.WRONG), (-np.inf, Verdict.WRONG)):
        answer = Answer(outputs={"y": np.full((1, 1), y, np.float16)}, device="cpu")
        assert judge(made, call, Outcome(answer=answer)).verdict is verdict
