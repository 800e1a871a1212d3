"""Embedding, gather and scatter."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_IDS = (
    Special(when="an id is beyond the table", then="an error", switch="out_of_range_id"),
    Special(when="an id is negative", then="counted from the end, or an error", switch="negative_id"),
)
_X, _INDEX, _VALUES = (
    Operand(name="x", axes="n d"),
    Operand(name="index", axes="t", kind="index"),
    Operand(name="values", axes="t d"),
)

DEFINITIONS = (
    Definition(
        name="embedding",
        family="gather",
        inputs=(Operand(name="weight", axes="v h"), Operand(name="ids", axes="t", kind="index")),
        outputs=(Operand(name="y", axes="t h", kind="=weight"),),
        formula="y[t, h] = weight[ids[t], h], bit for bit",
        specials=_IDS,
        dtypes=("float32", "float16", "bfloat16", "float8_e4m3fn", "int8"),
    ),
    Definition(
        name="embedding_shard",
        family="gather",
        inputs=(Operand(name="weight", axes="v h"), Operand(name="ids", axes="t", kind="index")),
        outputs=(Operand(name="y", axes="t h", kind="=weight"),),
        formula="y[t, h] = weight[ids[t] - first, h] where first <= ids[t] < first + v, else 0",
        attributes={"first": 0},
    ),
    Definition(
        name="gather",
        family="gather",
        inputs=(Operand(name="x", axes="a n b"), Operand(name="index", axes="a k b", kind="index")),
        outputs=(Operand(name="y", axes="a k b", kind="=x"),),
        formula="y[a, k, b] = x[a, index[a, k, b], b], along the attribute axis",
        attributes={"axis": 1},
        specials=_IDS,
        dtypes=("float32", "float16", "bfloat16", "int64"),
    ),
    Definition(
        name="index_put",
        family="gather",
        inputs=(_X, _INDEX, _VALUES),
        outputs=(Operand(name="y", axes="n d", kind="=x"),),
        formula="y = x, then y[index[t], :] = values[t, :] for t in order",
        specials=(
            *_IDS,
            Special(when="an index comes twice", then="one of its rows", switch="duplicate_write"),
        ),
    ),
    Definition(
        name="index_add",
        family="gather",
        inputs=(_X, _INDEX, _VALUES),
        outputs=(Operand(name="y", axes="n d"),),
        formula="y[n, d] = x[n, d] + sum over t with index[t] = n of values[t, d]",
        specials=_IDS,
    ),
)
