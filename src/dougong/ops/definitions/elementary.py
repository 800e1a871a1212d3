"""Elementary functions, element by element."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_X, _Y = Operand(name="x", axes="n"), Operand(name="y", axes="n")
_SUBNORMAL = Special(when="x or y subnormal", then="kept", switch="subnormals")
_C99 = "ISO/IEC 9899:2018, annex F.10: special values"


def _function(name: str, formula: str, *specials: Special) -> Definition:
    return Definition(
        name=name,
        family="elementary",
        inputs=(_X,),
        outputs=(_Y,),
        formula=f"y[n] = {formula}",
        specials=(Special(when="x is NaN", then="NaN"), *specials, _SUBNORMAL),
        priced_as="elementwise",
        references=(_C99,),
    )


def _pair(name: str, formula: str, *specials: Special) -> Definition:
    return Definition(
        name=name,
        family="elementary",
        inputs=(_X, Operand(name="other", axes="n")),
        outputs=(_Y,),
        formula=f"y[n] = {formula}",
        specials=specials,
        priced_as="elementwise",
        references=(_C99,),
    )


_NAN_EITHER = Special(when="either is NaN", then="NaN", switch="nan_in_max")

DEFINITIONS = (
    _function("exp", "e ** x[n]", Special(when="x = -inf", then="+0"), Special(when="x = inf", then="inf")),
    _function("exp2", "2 ** x[n]", Special(when="x = -inf", then="+0"), Special(when="x = inf", then="inf")),
    _function(
        "expm1", "e ** x[n] - 1", Special(when="x = -inf", then="-1"), Special(when="x = ±0", then="±0")
    ),
    _function("log", "ln x[n]", Special(when="x = ±0", then="-inf"), Special(when="x < 0", then="NaN")),
    _function("log2", "log2 x[n]", Special(when="x = ±0", then="-inf"), Special(when="x < 0", then="NaN")),
    _function(
        "log1p", "ln(1 + x[n])", Special(when="x = -1", then="-inf"), Special(when="x = ±0", then="±0")
    ),
    _function("sin", "sin x[n]", Special(when="x = ±inf", then="NaN"), Special(when="x = ±0", then="±0")),
    _function("cos", "cos x[n]", Special(when="x = ±inf", then="NaN"), Special(when="x = ±0", then="1")),
    _function("tanh", "tanh x[n]", Special(when="x = ±inf", then="±1"), Special(when="x = ±0", then="±0")),
    _function("erf", "erf x[n]", Special(when="x = ±inf", then="±1"), Special(when="x = ±0", then="±0")),
    _function("sqrt", "x[n] ** (1/2)", Special(when="x < 0", then="NaN"), Special(when="x = -0", then="-0")),
    _function(
        "rsqrt", "x[n] ** (-1/2)", Special(when="x < 0", then="NaN"), Special(when="x = ±0", then="±inf")
    ),
    _function(
        "reciprocal", "1 / x[n]", Special(when="x = ±0", then="±inf"), Special(when="x = ±inf", then="±0")
    ),
    _function("softplus", "ln(1 + e ** x[n])", Special(when="x = -inf", then="+0")),
    _function("sigmoid", "1 / (1 + e ** -x[n])", Special(when="x = -inf", then="+0")),
    _pair("add", "x[n] + other[n]", Special(when="inf - inf", then="NaN")),
    _pair("multiply", "x[n] other[n]", Special(when="0 inf", then="NaN")),
    _pair(
        "divide", "x[n] / other[n]", Special(when="0 / 0", then="NaN"), Special(when="1 / ±0", then="±inf")
    ),
    _pair("power", "x[n] ** other[n]", Special(when="other = 0", then="1, of NaN too")),
    _pair("maximum", "max(x[n], other[n])", _NAN_EITHER),
    _pair("minimum", "min(x[n], other[n])", _NAN_EITHER),
    Definition(
        name="clamp",
        family="elementary",
        inputs=(_X,),
        outputs=(_Y,),
        formula="y[n] = min(max(x[n], low), high)",
        attributes={"low": -1.0, "high": 1.0},
        specials=(Special(when="x is NaN", then="NaN", switch="nan_in_clamp"),),
        priced_as="elementwise",
    ),
)
