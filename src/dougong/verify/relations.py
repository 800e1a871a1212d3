"""Other calls whose answers must agree with a case's: rows cut, reordered, repeated, alone, padded.

Each relation picks indices along one axis of every input that has it; the answer must be the same picks of the whole
answer. It needs no reference, so it finds what depends on a row's neighbours. ``row_chunks`` goes along the first axis
of the first output, ``column_chunks`` along its last; ``row_chunks:b`` names the axis letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.ops.definition import Definition

Picks = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Relation:
    """One way to pick indices.

    Attributes
    ----------
    check
        The check of :data:`dougong.verify.case.CHECKS` that it belongs to.
    axis
        Place of the axis in the first output, where none is named.
    picks
        From the extent of the axis to the indices of each further call.
    """

    check: str
    axis: int
    picks: Callable[[int], list[Picks]]


def _chunks(extent: int) -> list[Picks]:
    # A first piece of one and a seam off any tile; the whole has neither.
    cuts = sorted({1, extent // 2 + 1} & set(range(1, extent)))
    return list(np.split(np.arange(extent), cuts))


def _halves(extent: int) -> list[Picks]:
    return list(np.split(np.arange(extent), [extent // 2 + 1])) if extent > 2 else []


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        "row_chunks": Relation("chunk_invariance", 0, _chunks),
        "column_chunks": Relation("chunk_invariance", -1, _halves),
        "batch_permutation": Relation("batch_invariance", 0, lambda extent: [np.arange(extent)[::-1].copy()]),
        "duplicate_row": Relation(
            "batch_invariance", 0, lambda extent: [np.repeat(np.arange(extent), 2)[: extent + 1]]
        ),
        "alone": Relation(
            "batch_invariance", 0, lambda extent: [np.array([at]) for at in sorted({0, extent - 1})]
        ),
        "padded": Relation(
            "batch_invariance", 0, lambda extent: [np.minimum(np.arange(extent + 3), extent - 1)]
        ),
    }
)
"""Every relation, by name."""


def related(
    name: str, definition: Definition, call: Call
) -> Iterator[tuple[Call, Callable[[str, Array], Array]]]:
    """Yield further calls, each with what picks the same indices out of an output of the whole call."""
    letter, relation = axis_of(name, definition), RELATIONS[name.partition(":")[0]]
    places = {each.name: _place(each.axes, letter) for each in (*definition.inputs, *definition.outputs)}
    extent = next(
        array.shape[place]
        for key, array in call.inputs.items()
        if (place := places.get(key)) is not None and array.ndim > place
    )
    for picks in relation.picks(extent):
        inputs = {
            key: array if places.get(key) is None else np.take(array, picks, axis=places[key])
            for key, array in call.inputs.items()
        }
        yield (
            replace(call, inputs=inputs),
            lambda key, whole, picks=picks: (
                whole if places[key] is None else np.take(whole, picks, axis=places[key])
            ),
        )


def axis_of(name: str, definition: Definition) -> str:
    """Return the letter of the axis that a relation goes along."""
    base, _, letter = name.partition(":")
    return letter or definition.outputs[0].axes.split()[RELATIONS[base].axis]


def _place(axes: str, letter: str) -> int | None:
    letters = axes.split()
    return letters.index(letter) if letter in letters else None
