"""Reductions and scans over one axis."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.ops.definition import Definition, Operand, Special

_X = Operand(name="x", axes="a n b")
_REDUCED, _SCANNED = Operand(name="y", axes="a b"), Operand(name="y", axes="a n b")
_NAN = Special(when="a NaN is among them", then="NaN")
_NAN_IN_MAX = Special(when="a NaN is among them", then="NaN", switch="nan_in_max")
_OVERFLOW = Special(when="the result is beyond the largest number", then="infinity", switch="overflow")
_PARTIAL = Special(
    when="a partial sum alone is beyond the largest number of a 16-bit dtype", then="the finite result"
)


def _reduction(
    name: str,
    formula: str,
    *specials: Special,
    inputs: Operand = _X,
    output: Operand = _REDUCED,
    attributes: Mapping[str, object] | None = None,
) -> Definition:
    return Definition(
        name=name,
        family="reduction",
        inputs=(inputs,),
        outputs=(output,),
        formula=formula,
        attributes={"axis": -1} if attributes is None else attributes,
        specials=specials,
        priced_as="elementwise",
    )


DEFINITIONS = (
    _reduction(
        "sum", "y = sum_n x", _NAN, _OVERFLOW, _PARTIAL, Special(when="n = 0", then="0"),
        Special(when="infinities of both signs", then="NaN"),
    ),
    _reduction("mean", "y = sum_n x / n", _NAN, _OVERFLOW, _PARTIAL),
    _reduction("vector_norm", "y = (sum_n x**2) ** (1/2)", _NAN, _PARTIAL),
    _reduction("max", "y = max_n x", _NAN_IN_MAX),
    _reduction("min", "y = min_n x", _NAN_IN_MAX),
    _reduction("cumsum", "y[n] = sum_{j <= n} x[j]", _NAN, _PARTIAL, output=_SCANNED),
    _reduction(
        "sum_integers",
        "y = sum_n x, exact",
        inputs=Operand(name="x", axes="a n b", kind="int32"),
        output=Operand(name="y", axes="a b", kind="int64"),
    ),
    _reduction(
        "cumsum_integers",
        "y[n] = sum_{j <= n} x[j], exact",
        inputs=Operand(name="x", axes="a n b", kind="int32"),
        output=Operand(name="y", axes="a n b", kind="int64"),
    ),
)  # fmt: skip
