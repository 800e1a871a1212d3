"""From a case, its call and an answer to a result: dtype, shape, special values, then value against the bound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Answer, Array, Call
from dougong.backends.reference import FORMULAS
from dougong.verify.bound import Bound, Floats, Precision, classes
from dougong.verify.bounds import BOUNDS
from dougong.verify.case import Case
from dougong.verify.verdict import Result, Verdict


def judge(case: Case, call: Call, answer: Answer) -> Result:
    """Hold one answer against the float64 reference.

    Notes
    -----
    Elements that are not finite in the reference, rounded to the output's dtype, must be the same infinity or NaN;
    the others are held against the bound. See :mod:`dougong.verify.bound`.
    """
    exact = FORMULAS[case.op](call)
    for name, value in exact.items():
        got = answer.outputs[name]
        if got.shape != value.shape:
            return _no(case, Verdict.WRONG, "shape", f"{name}: {got.shape} instead of {value.shape}")
    bounds = BOUNDS[case.op](call, exact)
    return _value(case, exact, answer, bounds)


def _value(case: Case, exact: Mapping[str, Array], answer: Answer, bounds: Mapping[str, Bound]) -> Result:
    results = [
        _output(case, name, exact[name], answer.outputs[name].astype(np.float64), bound)
        for name, bound in bounds.items()
    ]
    return max(results, key=lambda result: result.error or 0.0)


def _output(case: Case, name: str, exact: Floats, got: Floats, bound: Bound) -> Result:
    scores = [(each.name, *score(exact, got, case.dtype, bound, each)) for each in classes(case.dtype)]
    held = next((precision for precision, error, _ in scores if error <= 1.0), None)
    native, error, at = scores[0]
    if held == native:
        return Result(case=case.id, verdict=Verdict.PASS, check="value", error=error, precision=held)
    return Result(
        case=case.id,
        verdict=Verdict.DEVIATES if held else Verdict.WRONG,
        check="value",
        detail=f"{name}: error {error:.3g} times the bound",
        error=error,
        precision=held,
        at=at,
        got=repr(float(got[at])),
        expected=repr(float(exact[at])),
    )


def score(
    value: Floats, got: Floats, dtype: str, bound: Bound, precision: Precision
) -> tuple[float, tuple[int, ...]]:
    """Return the larger of both gates' errors over their bounds, and the index of the worst element."""
    rms, worst = bound.allowed(value, dtype, precision)
    error = np.abs(got - value)
    over = error / worst
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(over)), over.shape))
    return max(float(np.sqrt(np.mean((error / rms) ** 2))), float(over[at])), at


def _no(case: Case, verdict: Verdict, check: str, detail: str) -> Result:
    return Result(case=case.id, verdict=verdict, check=check, detail=detail)
