"""One output held against its exact value: special values, then the distance over the bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array
from dougong.backends.dtypes import rounded
from dougong.verify.bound import (
    LARGEST,
    NATIVE,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Floats,
    Precision,
    Rule,
    classes,
)

_SPREAD = 0.1
_NEAR = 4.0
_SLICE = 64  # fewer errors than this have no mean square to speak of


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one output.

    Attributes
    ----------
    check
        ``value`` or ``special``: where it failed.
    precision
        The best of :func:`~dougong.verify.bound.classes` that explains it; ``exact`` where bits were asked for.
    error
        Over the bound of the native class [1]; infinite where a distance says nothing.
    """

    right: bool
    check: str = "value"
    detail: str = ""
    error: float = 0.0
    precision: str | None = None
    at: tuple[int, ...] | None = None
    got: str | None = None
    expected: str | None = None


def hold(
    name: str,
    value: Array,
    got: Array,
    bound: Bound | Rule | None,
    outputs: Mapping[str, Array],
    choice: Mapping[str, str],
    under_test: str,
    *,
    signed_zero: bool = True,
) -> Finding:
    """Hold one output against the reference: by bits, by a rule, or by distance over a bound.

    Parameters
    ----------
    value
        The reference, in float64 or integers; of the shape of ``got``.
    choice
        Answers to switches; ``overflow`` and ``subnormals`` act on the rounding to the output's dtype.
    under_test
        The dtype of the case, which says what precision classes there are.
    signed_zero
        Whether bits that are asked for hold the sign of a zero too.
    """
    if isinstance(bound, Rule):
        with np.errstate(all="ignore"):
            held = np.broadcast_to(bound.holds(outputs), got.shape)
        return _first(name, held, value, got, bound.says)
    dtype = got.dtype.name
    if bound is None:
        want = rounded(value, dtype)
        held = _same(want, got) if signed_zero else _same(want, got) | ((want == 0) & (got == 0))
        return _first(name, held, want, got, "not the same bits")
    return _by_distance(name, _as_rounded(value, dtype, choice), got, bound, classes(under_test))


def same_bits(left: Array, right: Array) -> bool:
    """Whether two arrays hold the same dtype, shape and bits; one NaN is as good as another."""
    return left.dtype == right.dtype and left.shape == right.shape and bool(np.all(_same(left, right)))


def _same(want: Array, got: Array) -> NDArray[np.bool_]:
    if not _is_float(got.dtype):
        return np.asarray(want == got)
    unsigned = f"u{got.dtype.itemsize}"
    bits = np.ascontiguousarray(want).view(unsigned) == np.ascontiguousarray(got).view(unsigned)
    with np.errstate(invalid="ignore"):  # a signalling NaN of a narrow dtype
        return bits.reshape(got.shape) | (np.isnan(want) & np.isnan(got))


def _is_float(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind == "f" or (dtype.type.__module__ == ml_dtypes.__name__ and "float" in dtype.name)


def _first(name: str, held: NDArray[np.bool_], value: Array, got: Array, says: str) -> Finding:
    if held.all():
        return Finding(right=True, precision="exact")
    at = _place(int(np.argmin(held)), held.shape)
    share = f"{int(held.size - held.sum()):,} of {held.size:,} elements"
    return Finding(
        right=False,
        detail=f"{name}: {says} ({share})",
        error=float("inf"),
        at=at,
        got=_told(got[at]),
        expected=_told(value[at]),
    )


def _as_rounded(value: Array, dtype: str, choice: Mapping[str, str]) -> Floats:
    value = value.astype(np.float64)
    if dtype not in LARGEST:
        return value
    if choice.get("overflow") == "saturates":
        value = np.where(np.isfinite(value), np.clip(value, -LARGEST[dtype], LARGEST[dtype]), value)
    if choice.get("subnormals") == "flushed":
        value = np.where(np.abs(value) < SMALLEST_NORMAL[dtype], 0.0, value)
    return value


def _by_distance(name: str, value: Floats, given: Array, bound: Bound, told: Sequence[Precision]) -> Finding:
    got, dtype = given.astype(np.float64), given.dtype.name
    if dtype not in LARGEST:  # an integer: its bound is the floor
        return _plain(name, value, got, dtype, bound, np.ones(got.shape, bool), told)
    with np.errstate(invalid="ignore", over="ignore"):
        _, worst = bound.allowed(value, dtype, NATIVE)
        special = _special(value, got, dtype, worst)
        held = _held_specially(value, got, dtype, worst)
    plain = ~special
    if plain.any():
        finding = _plain(name, value, got, dtype, bound, plain, told)
        if not finding.right:
            return finding
    else:
        finding = Finding(right=True, precision=NATIVE.name)
    if not held[special].all():
        wrong = special & ~held
        at = _place(int(np.argmax(wrong)), wrong.shape)
        return Finding(
            right=False,
            check="special",
            detail=f"{name}: {int(wrong.sum()):,} of {int(special.sum()):,} special values",
            error=float("inf"),
            at=at,
            got=_told(given[at]),
            expected=_told(rounded(value[at], dtype)),
        )
    return finding


def _before_rounding(value: Floats, dtype: str, worst: Floats) -> Floats:
    """How far a result may be off before it is rounded to its dtype."""
    return np.maximum(worst - np.maximum(np.abs(value), SMALLEST_NORMAL[dtype]) * UNIT_ROUNDOFF[dtype], 0.0)


def _special(value: Floats, got: Floats, dtype: str, worst: Floats) -> NDArray[np.bool_]:
    """Where no distance can be taken by right: the reference is not finite, or not surely so once rounded."""
    near_overflow = np.abs(value) + _before_rounding(value, dtype, worst) >= _overflows(dtype)
    return ~np.isfinite(value) | (near_overflow & ~np.isfinite(got)) | (np.abs(value) >= _overflows(dtype))


def _held_specially(value: Floats, got: Floats, dtype: str, worst: Floats) -> NDArray[np.bool_]:
    slack = _before_rounding(value, dtype, worst)
    nan = np.isnan(value) & np.isnan(got)
    infinite = np.isinf(got) & (np.sign(got) == np.sign(value)) & ~np.isnan(value)
    may = np.isinf(value) | (np.abs(value) + slack >= _overflows(dtype))
    stays = np.isfinite(value) & (np.abs(value) - slack < _overflows(dtype))
    finite = np.isfinite(got) & (np.abs(got - value) <= worst) & stays
    return nan | (infinite & may) | finite


def _plain(
    name: str,
    value: Floats,
    got: Floats,
    dtype: str,
    bound: Bound,
    plain: NDArray[np.bool_],
    told: Sequence[Precision],
) -> Finding:
    lost = plain & ~np.isfinite(got)
    if lost.any():
        at = _place(int(np.argmax(lost)), lost.shape)
        return Finding(
            right=False,
            detail=f"{name}: {int(lost.sum()):,} of {lost.size:,} elements are not finite, and should be",
            error=float("inf"),
            at=at,
            got=_told(got[at]),
            expected=_told(value[at]),
        )
    distance = np.where(plain, np.abs(got - np.where(plain, value, 0.0)), 0.0)
    safe = np.where(plain, value, 0.0)
    error, at, gate = score(distance, safe, dtype, bound, NATIVE)
    if error <= 1.0:
        return Finding(right=True, error=error, precision=NATIVE.name, at=at)
    # A narrower precision shows in many elements, or in a few just beyond the bound: logits that were rounded to
    # float16, say. One element that is far off is a fault of its own.
    rms, _ = bound.allowed(safe, dtype, NATIVE)
    spread = error <= _NEAR or float(np.mean(distance > rms)) >= _SPREAD
    within = (each.name for each in told[1:] if score(distance, safe, dtype, bound, each)[0] <= 1.0)
    return Finding(
        right=False,
        detail=f"{name}: error {error:.3g} times the bound ({gate})",
        error=error,
        precision=next(within, None) if spread else None,
        at=at,
        got=_told(got[at]),
        expected=_told(value[at]),
    )


def score(
    distance: Floats, value: Floats, dtype: str, bound: Bound, precision: Precision
) -> tuple[float, tuple[int, ...], str]:
    """Return the largest of three gates' errors over their bounds, the index of the worst element and the gate.

    The gates: the worst element, the RMS of all, and the RMS of each slice along each axis, so that one wrong row, head
    or column is not diluted. A row may share one error (a norm's scale), so a slice counts as one running sum.
    """
    rms, worst = bound.allowed(value, dtype, precision)
    over = np.divide(distance, worst, out=np.zeros_like(distance), where=distance > 0)
    place = _place(int(np.argmax(over)), over.shape) if over.size else ()
    gates = [(float(over[place]) if over.size else 0.0, place, "worst element")]
    if over.size:
        square = np.divide(distance, rms, out=np.zeros_like(distance), where=distance > 0) ** 2
        gates.append((float(np.sqrt(square.mean())), place, "RMS"))
        gates += _slices(distance, value, dtype, bound, precision)
    return max(gates, key=lambda gate: gate[0])


def _slices(
    distance: Floats, value: Floats, dtype: str, bound: Bound, precision: Precision
) -> list[tuple[float, tuple[int, ...], str]]:
    gates: list[tuple[float, tuple[int, ...], str]] = []
    axes = [axis for axis, extent in enumerate(distance.shape) if extent > 1]
    if len(axes) < 2:
        return gates
    for axis in axes:
        size = distance.size // distance.shape[axis]
        if size < _SLICE:
            continue
        rms = bound.allowed_slice(value, dtype, precision, size)
        square = np.divide(distance, rms, out=np.zeros_like(distance), where=distance > 0) ** 2
        others = tuple(each for each in range(distance.ndim) if each != axis)
        means = square.mean(axis=others)
        index = int(np.argmax(means))
        inner = np.take(square, index, axis=axis)
        place = list(_place(int(np.argmax(inner)), inner.shape))
        place.insert(axis, index)
        gates.append((float(np.sqrt(means[index])), tuple(place), f"RMS of slice {index} of axis {axis}"))
    return gates


def _overflows(dtype: str) -> float:
    """Return the least magnitude that rounds to infinity: half a step above the largest number."""
    return LARGEST[dtype] + UNIT_ROUNDOFF[dtype] * 2.0 ** (np.frexp(LARGEST[dtype])[1] - 1)


def _place(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def _told(number: Array) -> str:
    item = np.asarray(number)
    return repr(float(item)) if _is_float(item.dtype) else repr(item.item())
