"""A failing call made small: fewer rows, columns and heads, plainer numbers, while the verdict stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.dtypes import dtype_of
from dougong.ops.definitions import DEFINITIONS
from dougong.verify.case import Case
from dougong.verify.judge import Ask, judge
from dougong.verify.semantics import Semantics
from dougong.verify.verdict import Result

BUDGET_S = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shrunk:
    """The smallest failing call that was found.

    Attributes
    ----------
    tried
        How many calls were asked.
    """

    call: Call
    result: Result
    tried: int


def shrink(
    case: Case,
    call: Call,
    failure: Result,
    ask: Ask,
    semantics: Semantics,
    *,
    device: str | None = None,
    budget_s: float = BUDGET_S,
) -> Shrunk:
    """Make a failing call smaller while its verdict and the check that gives it stay the same.

    Parameters
    ----------
    ask
        Runs one call on the stack.
    budget_s
        When to stop [s].
    """
    best, result, tried, end = call, failure, 0, time.monotonic() + budget_s

    def holds(candidate: Call) -> Result | None:
        try:
            found = judge(case, candidate, ask(candidate), semantics=semantics, device=device, ask=ask)
        except Exception:  # a call that the reference cannot compute is no smaller failure
            return None
        return found if (found.verdict, found.check) == (failure.verdict, failure.check) else None

    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for candidate in _smaller(best):
            if time.monotonic() > end:
                break
            tried += 1
            found = holds(candidate)
            if found is not None:
                best, result, progress = candidate, found, True
                break
    for candidate_of in _plainer(best):
        if time.monotonic() > end:
            break
        tried += 1
        candidate = candidate_of(best)
        found = holds(candidate)
        if found is not None:
            best, result = candidate, found
    return Shrunk(call=best, result=result, tried=tried)


def _smaller(call: Call) -> Iterator[Call]:
    """Yield calls with less of one axis, the boldest cut first."""
    definition = DEFINITIONS[call.op]
    axes = {each.name: each.axes.split() for each in definition.inputs if each.name in call.inputs}
    letters = {letter for names in axes.values() for letter in names if letter.isalpha() and len(letter) == 1}
    whole = {letter for letter in letters if not _in_a_product(letter, axes)}
    extents = {
        letter: call.inputs[name].shape[names.index(letter)]
        for letter in whole
        for name, names in axes.items()
        if letter in names and call.inputs[name].ndim == len(names)
    }
    for letter, extent in sorted(extents.items(), key=lambda pair: -pair[1]):
        for picks in _cuts(extent):
            yield replace(
                call,
                inputs={
                    name: np.ascontiguousarray(np.take(array, picks, axis=axes[name].index(letter)))
                    if letter in axes.get(name, ()) and array.ndim == len(axes[name])
                    else array
                    for name, array in call.inputs.items()
                },
            )


def _in_a_product(letter: str, axes: dict[str, list[str]]) -> bool:
    """Whether an extent is also a part of another one (``k/group``, ``2f``), which a cut would break."""
    return any(letter in each and each != letter for names in axes.values() for each in names)


def _cuts(extent: int) -> Iterator[Array]:
    index = np.arange(extent)
    if extent > 2:
        yield index[:1]
        yield index[-1:]
    for part in (2, 4, 8, 16, 32):
        if extent >= part:
            yield index[: -(extent // part)]
            yield index[extent // part :]
    if 1 < extent <= 8:
        yield from (np.delete(index, at) for at in range(extent))


def _plainer(call: Call) -> Iterator[Callable[[Call], Call]]:
    """Yield changes of one float input each: all ones, whole numbers, few digits."""
    for name, array in call.inputs.items():
        if array.dtype.kind in "biu" or not array.size:
            continue
        yield lambda now, name=name: _with(now, name, np.ones_like(now.inputs[name]))
        yield lambda now, name=name: _with(now, name, _rounded(now.inputs[name], 1.0))
        yield lambda now, name=name: _with(now, name, _rounded(now.inputs[name], 8.0))


def _rounded(array: Array, steps: float) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        plain = np.round(array.astype(np.float64) * steps) / steps
        return plain.astype(dtype_of(array.dtype.name))


def _with(call: Call, name: str, array: Array) -> Call:
    return replace(call, inputs={**call.inputs, name: array})
