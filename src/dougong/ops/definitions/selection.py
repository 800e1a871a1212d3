"""Top-k, sort and argmax over the last axis."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_X = Operand(name="x", axes="m n")
_TIES = Special(when="values are equal", then="the lowest index first", switch="tie_order")
_NAN = Special(when="a NaN is among them", then="NaN stands above +inf", switch="nan_in_order")

DEFINITIONS = (
    Definition(
        name="argmax",
        family="selection",
        inputs=(_X,),
        outputs=(Operand(name="index", axes="m", kind="index"),),
        formula="index[m] = the least n of those with x[m, n] = max_j x[m, j]",
        specials=(
            _TIES,
            Special(when="a NaN is among them", then="the first NaN", switch="nan_in_argmax"),
            Special(when="-0 and +0", then="equal"),
        ),
    ),
    Definition(
        name="top_k",
        family="selection",
        inputs=(_X,),
        outputs=(Operand(name="values", axes="m k"), Operand(name="indices", axes="m k", kind="index")),
        formula="the k largest of x[m, :], from the largest down, and where they stand",
        attributes={"k": 1},
        specials=(_TIES, _NAN),
    ),
    Definition(
        name="sort",
        family="selection",
        inputs=(_X,),
        outputs=(Operand(name="values", axes="m n"), Operand(name="indices", axes="m n", kind="index")),
        formula="x[m, :] in order, equal values in the order of their indices",
        attributes={"descending": True},
        specials=(Special(when="a NaN is among them", then="NaN stands above +inf", switch="nan_in_order"),),
    ),
)
