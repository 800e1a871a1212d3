"""Views and copies, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.ops.definition import Definition, Operand

_X, _Y = Operand(name="x", axes="..."), Operand(name="y", axes="...", kind="=x")
_DTYPES = ("float32", "float16", "bfloat16", "float8_e4m3fn", "int8", "int32", "int64")


def _view(name: str, formula: str, attributes: Mapping[str, object], *more: Operand) -> Definition:
    return Definition(
        name=name,
        family="view",
        inputs=(_X, *more),
        outputs=(_Y,),
        formula=f"{formula}, bit for bit, NaN and their payloads too",
        attributes=attributes,
        dtypes=_DTYPES,
    )


_MASK = Operand(name="mask", axes="...", kind="bool")

DEFINITIONS = (
    _view("copy", "y = x, to the device, made contiguous, and back", {}),
    _view("transpose", "y = x with its axes in the order of the attribute", {"axes": (1, 0)}),
    _view("slice", "y = x[start:stop:step] along an axis", {"axis": 0, "start": 0, "stop": 1, "step": 1}),
    _view("reshape", "y = x in row-major order, in another shape", {"shape": (-1,)}),
    _view(
        "concat",
        "y = x, then other, along an axis",
        {"axis": 0},
        Operand(name="other", axes="...", kind="=x"),
    ),
    _view("repeat", "every slice of x along an axis, count times one after another", {"axis": 0, "count": 2}),
    _view("pad", "y = x, then zeros to an extent, along an axis", {"axis": 0, "extent": 1}),
    _view("where", "y = x where mask, else other", {}, _MASK, Operand(name="other", axes="...", kind="=x")),
    _view("flip", "y = x backwards along an axis", {"axis": 0}),
    _view("roll", "y[(n + shift) mod N] = x[n] along an axis", {"axis": 0, "shift": 1}),
    _view("staged_copy", "y[n] = x[n], each by way of one buffer that the next one overwrites", {}),
)
