"""Other calls whose answers must agree with a case's: rows cut, reordered, repeated, alone, padded, laid out otherwise.

Each relation picks indices along one axis of every input that has it; the answer must be the same picks of the whole
answer. It needs no reference, so it finds what depends on a row's neighbours. ``row_chunks`` goes along the first axis
of the first output, ``column_chunks`` along its last; ``row_chunks:b`` names the axis letter.

``cuts:d`` is another matter: each call is the first 1, 2, 3, … of an axis, which may be one that is summed over, and is
held against its own reference. One case so asks every extent at which a kernel may take another way.
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
    picks: Callable[[int], list[Picks]] = lambda extent: []


@dataclass(frozen=True, slots=True)
class Other:
    """A further call.

    Attributes
    ----------
    says
        What is other about it; empty where the relation says it all.
    pick
        From the name of an output and the whole answer to what this one must be; ``None`` where it is held against a
        reference of its own.
    differs
        It must have another answer.
    """

    says: str
    call: Call
    pick: Callable[[str, Array], Array] | None
    differs: bool = False


_CUTS = (
    *range(1, 34), 40, 48, 56, 63, 64, 65, 72, 80, 95, 96, 97, 100, 112, 120, 127, 128, 129, 144, 160, 192, 200,
    224, 250, 255, 256, 257, 320, 384, 448, 500, 511, 512, 513, 576, 640, 768, 896, 1000, 1023, 1024, 1025,
    1152, 1280, 1536, 1792, 2047, 2048, 2049, 2304, 2560, 3000, 3072, 3584, 4095, 4096, 4097, 5120, 6144, 7168,
    8191, 8192, 8193, 10_000, 12_288, 16_384, 32_000, 32_768, 50_257, 65_536, 100_000, 128_256,
)  # fmt: skip
"""Extents that are a tile, a width of a model, a vocabulary, or beside one."""

_AGAIN = 32
_STEP = 7


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
        "again": Relation("determinism", 0),
        "next_seed": Relation("value", 0),
        "layouts": Relation("value", 0),
        "cuts": Relation("value", 0),
    }
)
"""Every relation, by name."""


def related(name: str, definition: Definition, call: Call) -> Iterator[Other]:
    """Yield further calls."""
    if name == "again":
        yield from (Other("", call, lambda _, whole: whole) for _ in range(_AGAIN))
        return
    if name == "layouts":
        yield from _laid_out(call)
        return
    if name == "next_seed":
        inputs = {**call.inputs, "seed": np.asarray(call.inputs["seed"] + 1)}
        yield Other("", replace(call, inputs=inputs), lambda _, whole: whole, differs=True)
        return
    letter, relation = axis_of(name, definition), RELATIONS[name.partition(":")[0]]
    places = {each.name: _place(each.axes, letter) for each in (*definition.inputs, *definition.outputs)}
    extent = next(
        array.shape[place]
        for key, array in call.inputs.items()
        if (place := places.get(key)) is not None and array.ndim > place
    )
    cuts = name.startswith("cuts")
    for picks in _cuts(extent, letter, call) if cuts else relation.picks(extent):
        inputs = {
            key: array if places.get(key) is None else np.take(array, picks, axis=places[key])
            for key, array in call.inputs.items()
        }
        yield Other(
            f"{letter} = {len(picks)}" if cuts else "",
            replace(call, inputs=inputs),
            None
            if cuts
            else lambda key, whole, picks=picks: (
                whole if places[key] is None else np.take(whole, picks, axis=places[key])
            ),
        )


def _cuts(extent: int, letter: str, call: Call) -> Iterator[Picks]:
    # An axis of pairs stays one of pairs; of fewer than are asked for, a top-k would be another question.
    least = max(int(call.get("k", 1)), int(call.get("top_k", 1)))
    # Not in their order: a stack that is not asked them all is asked some of every size.
    for count in (each for start in range(_STEP) for each in _CUTS[start::_STEP]):
        if least <= count < extent and not (letter.startswith("2") and count % 2):
            yield np.arange(count)


def _laid_out(call: Call) -> Iterator[Other]:
    """The same numbers in memory that is not packed: of one input at a time, so that it can be named."""
    for key, array in call.inputs.items():
        if array.ndim and array.size > 1:
            for way, lay in _LAYOUTS.items():
                if lay is _loose_ones and 1 not in array.shape:
                    continue
                inputs = {**call.inputs, key: lay(array)}
                yield Other(f"{key} {way}", replace(call, inputs=inputs), lambda _, whole: whole)


def _beside(array: Array) -> Array:
    # What lies between: NaN, or what an index may be and is not.
    if array.dtype.kind in "biu":
        return np.flip(array)
    return np.full(array.shape, np.nan, np.float32).astype(array.dtype)


def _apart(array: Array) -> Array:
    both = np.stack((array, _beside(array)), axis=-1)
    return both[..., 0]


def _loose_ones(array: Array) -> Array:
    # The stride of an axis of one is anything; compilers leave 0 there.
    steps = (0 if extent == 1 else stride for extent, stride in zip(array.shape, array.strides, strict=True))
    return np.lib.stride_tricks.as_strided(array, array.shape, tuple(steps))


def _unaligned(array: Array) -> Array:
    base = np.concatenate((_beside(array).reshape(-1)[:1], array.reshape(-1)))
    return base[1:].reshape(array.shape)


_LAYOUTS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "transposed in memory": lambda array: np.asfortranarray(array),
        "every other element": _apart,
        "one element into its memory": _unaligned,
        "with strides of 0 along axes of one": _loose_ones,
    }
)


def axis_of(name: str, definition: Definition) -> str:
    """Return the letter of the axis that a relation goes along."""
    base, _, letter = name.partition(":")
    return letter or definition.outputs[0].axes.split()[RELATIONS[base].axis]


def _place(axes: str, letter: str) -> int | None:
    letters = axes.split()
    return letters.index(letter) if letter in letters else None
