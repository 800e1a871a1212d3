"""Other calls whose answers must agree with a case's: rows cut, reordered, repeated, alone, padded, laid out otherwise.

Most pick indices along one axis of every input that has it; the answer must be the same picks of the whole
answer. It needs no reference, so it finds what depends on a row's neighbours. ``row_chunks`` goes along the first axis
of the first output, ``column_chunks`` along its last; ``row_chunks:b`` names the axis letter.

``cuts:d`` is another matter: each call is the first 1, 2, 3, … of an axis, which may be one that is summed over, and is
held against its own reference. One case so asks every extent at which a kernel may take another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.ops.definition import Definition

Picks = NDArray[np.intp]
Places = Mapping[str, int | None]


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


Further = Callable[[Definition, Call, str], Iterator[Other]]
"""From an operator, a call and the letter of an axis (empty where none is named) to further calls."""

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


def related(name: str, definition: Definition, call: Call) -> Iterator[Other]:
    """Yield further calls."""
    base, _, letter = name.partition(":")
    return RELATIONS[base].calls(definition, call, letter)


def _picking(picks: Callable[[int], list[Picks]], axis: int = 0) -> Further:
    """Pick along an axis: the one named, else that of the first output."""

    def calls(definition: Definition, call: Call, letter: str) -> Iterator[Other]:
        letter = letter or definition.outputs[0].axes.split()[axis]
        places, extent = _along(letter, definition, call)
        for each in picks(extent):
            yield Other("", _taken(call, places, each), partial(_take, places, each))

    return calls


def _take(places: Places, picks: Picks, key: str, array: Array) -> Array:
    place = places.get(key)
    return array if place is None else np.take(array, picks, axis=place)


def _taken(call: Call, places: Places, picks: Picks) -> Call:
    inputs = {key: _take(places, picks, key, array) for key, array in call.inputs.items()}
    return replace(call, inputs=inputs)


def _along(letter: str, definition: Definition, call: Call) -> tuple[Places, int]:
    """Where an axis stands in each input and output, and its extent."""
    places = {each.name: _place(each.axes, letter) for each in (*definition.inputs, *definition.outputs)}
    extent = next(
        array.shape[place]
        for key, array in call.inputs.items()
        if (place := places.get(key)) is not None and array.ndim > place
    )
    return places, extent


def _whole(_: str, whole: Array) -> Array:
    return whole


def _again(definition: Definition, call: Call, letter: str) -> Iterator[Other]:
    del definition, letter
    return (Other("", call, _whole) for _ in range(_AGAIN))


def _next_seed(definition: Definition, call: Call, letter: str) -> Iterator[Other]:
    del definition, letter
    inputs = {**call.inputs, "seed": np.asarray(call.inputs["seed"] + 1)}
    yield Other("", replace(call, inputs=inputs), _whole, differs=True)


def _cuts(definition: Definition, call: Call, letter: str) -> Iterator[Other]:
    places, extent = _along(letter, definition, call)
    # An axis of pairs stays one of pairs; of fewer than are asked for, a top-k would be another question.
    least = max(int(call.get("k", 1)), int(call.get("top_k", 1)))
    # Not in their order: a stack that is not asked them all is asked some of every size.
    for count in (each for start in range(_STEP) for each in _CUTS[start::_STEP]):
        if least <= count < extent and not (letter.startswith("2") and count % 2):
            yield Other(f"{letter} = {count}", _taken(call, places, np.arange(count)), None)


def _layouts(definition: Definition, call: Call, letter: str) -> Iterator[Other]:
    """The same numbers in memory that is not packed: of one input at a time, so that it can be named."""
    del definition, letter
    for key, array in call.inputs.items():
        if array.ndim and array.size > 1:
            for way, lay in _LAYOUTS.items():
                if lay is _loose_ones and 1 not in array.shape:
                    continue
                inputs = {**call.inputs, key: lay(array)}
                yield Other(f"{key} {way}", replace(call, inputs=inputs), _whole)


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


def _place(axes: str, letter: str) -> int | None:
    letters = axes.split()
    return letters.index(letter) if letter in letters else None


@dataclass(frozen=True, slots=True)
class Relation:
    """One way to make further calls, and the check of :data:`dougong.verify.case.CHECKS` that it belongs to."""

    check: str
    calls: Further


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        "row_chunks": Relation("chunk_invariance", _picking(_chunks)),
        "column_chunks": Relation("chunk_invariance", _picking(_halves, axis=-1)),
        "batch_permutation": Relation(
            "batch_invariance", _picking(lambda extent: [np.arange(extent)[::-1].copy()])
        ),
        "duplicate_row": Relation(
            "batch_invariance", _picking(lambda extent: [np.repeat(np.arange(extent), 2)[: extent + 1]])
        ),
        "alone": Relation(
            "batch_invariance", _picking(lambda extent: [np.array([at]) for at in sorted({0, extent - 1})])
        ),
        "padded": Relation(
            "batch_invariance", _picking(lambda extent: [np.minimum(np.arange(extent + 3), extent - 1)])
        ),
        "again": Relation("determinism", _again),
        "next_seed": Relation("value", _next_seed),
        "layouts": Relation("value", _layouts),
        "cuts": Relation("value", _cuts),
    }
)
"""Every relation, by name."""
