"""Casts between dtypes."""

from __future__ import annotations

from dougong.ops.definition import FLOATS, Definition, Operand, Special

DEFINITIONS = (
    Definition(
        name="cast",
        family="cast",
        inputs=(Operand(name="x", axes="m k"),),
        outputs=(Operand(name="y", axes="m k", kind="@to"),),
        formula=(
            "y = x rounded to nearest, ties to even, in the dtype `to`; to an integer: the fraction dropped; "
            "from 8 bits up: exact"
        ),
        attributes={"to": "float32"},
        specials=(
            Special(
                when="beyond the largest float16, bfloat16 or float8_e5m2", then="infinity", switch="overflow"
            ),
            Special(
                when="beyond the largest float8_e4m3fn", then="saturates or NaN", switch="float8_overflow"
            ),
            Special(when="NaN, infinity or too large for an integer", then="anything", switch="integer_cast"),
            Special(when="x is -0.0 and `to` a float", then="-0.0"),
            Special(when="the result is subnormal", then="kept", switch="subnormals"),
        ),
        dtypes=(*FLOATS, "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int32", "int64", "bool"),
        references=("IEEE 754-2019, section 4.3.1", "OCP OFP8 v1.0, section 5.2"),
    ),
    Definition(
        name="cast_round_trip",
        family="cast",
        inputs=(Operand(name="x", axes="m k", kind="float32"),),
        outputs=(Operand(name="y", axes="m k", kind="float32"),),
        formula="y = x cast to the dtype `through` and back",
        attributes={"through": "bfloat16"},
        specials=(Special(when="always", then="rounds", switch="half_round_trip"),),
        dtypes=("float32",),
    ),
)
