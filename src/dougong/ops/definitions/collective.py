"""Collectives: every operand has the ranks as its first axis."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.ops.definition import Definition, Operand, Special

_EVERYWHERE = Special(when="a rank holds NaN", then="NaN on every rank")


def _collective(
    name: str,
    inside: str,
    outside: str,
    formula: str,
    attributes: Mapping[str, object],
    *specials: Special,
    kind: str = "=x",
) -> Definition:
    return Definition(
        name=name,
        family="collective",
        inputs=(Operand(name="x", axes=inside),),
        outputs=(Operand(name="y", axes=outside, kind=kind),),
        formula=formula,
        attributes=attributes,
        specials=specials,
        priced_as=name if name != "broadcast" else None,
    )


def _parallel(name: str, how: str) -> Definition:
    return Definition(
        name=name,
        family="collective",
        inputs=(Operand(name="x", axes="m k"), Operand(name="weight", axes="n k")),
        outputs=(Operand(name="y", axes="ranks m n"),),
        formula=f"y[every rank] = x weight.T, {how}",
        attributes={"ranks": 2},
        references=("Shoeybi et al., Megatron-LM, arXiv:1909.08053, section 3",),
    )


DEFINITIONS = (
    _collective(
        "all_reduce", "ranks n", "ranks n", "y[every rank] = sum_r x[r], or their largest", {"reduce": "sum"},
        _EVERYWHERE, kind="float",
    ),
    _collective("all_gather", "ranks n", "ranks ranks*n", "y[every rank] = x[0], x[1], … one after another", {}),
    _collective(
        "reduce_scatter", "ranks ranks*n", "ranks n", "y[r] = the r-th part of sum_r x[r]", {}, _EVERYWHERE,
        kind="float",
    ),
    _collective("all_to_all", "ranks ranks*n", "ranks ranks*n", "y[r] = the r-th parts of x[0], x[1], …", {}),
    _collective("broadcast", "ranks n", "ranks n", "y[every rank] = x[root]", {"root": 0}),
    _parallel("row_parallel_linear", "each rank over its part of k, then an all-reduce"),
    _parallel("column_parallel_linear", "each rank its part of n, then an all-gather"),
)  # fmt: skip
