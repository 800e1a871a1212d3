"""Quantisation of activations at run time."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_SPECIALS = (
    Special(when="every value of a group is 0", then="zeros, with any finite scale", switch="zero_scale"),
    Special(when="a group holds NaN or infinity", then="anything in that group, nothing in the others"),
)

DEFINITIONS = (
    Definition(
        name="dynamic_quant",
        family="dynamic_quant",
        inputs=(Operand(name="x", axes="m k"),),
        outputs=(
            Operand(name="q", axes="m k", kind="@to"),
            Operand(name="scale", axes="m k/group", kind="float32"),
        ),
        formula=(
            "scale = max |x| / largest over each group of a row; q = x / scale rounded to nearest; largest = 127 for "
            "int8, 448 for float8_e4m3fn; group 0 is the whole row"
        ),
        attributes={"to": "int8", "group": 0},
        specials=_SPECIALS,
    ),
    Definition(
        name="dynamic_quant_asymmetric",
        family="dynamic_quant",
        inputs=(Operand(name="x", axes="m k"),),
        outputs=(
            Operand(name="q", axes="m k", kind="uint8"),
            Operand(name="scale", axes="m", kind="float32"),
            Operand(name="zero_point", axes="m", kind="int32"),
        ),
        formula=(
            "low = min(x, 0), high = max(x, 0) over a row; scale = (high - low) / 255; zero_point = -low / scale "
            "rounded; q = x / scale rounded + zero_point, from 0 to 255"
        ),
        specials=_SPECIALS,
    ),
    Definition(
        name="static_quant",
        family="dynamic_quant",
        inputs=(Operand(name="x", axes="m k"), Operand(name="scale", axes="", kind="float32")),
        outputs=(Operand(name="q", axes="m k", kind="@to"),),
        formula="q = x / scale rounded to nearest, saturating at the ends of the dtype `to`",
        attributes={"to": "int8"},
        specials=(
            Special(when="x / scale is halfway between two integers", then="even", switch="integer_tie"),
        ),
    ),
)
