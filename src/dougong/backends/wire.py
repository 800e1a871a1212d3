"""Frames between the suite and a stack in a process of its own: one line of JSON and raw buffers, never a pickle.

::

    u32 length of the header · header (JSON) · the bytes of each array, in the header's order

An array travels as the memory that it spans, with its strides, its offset and its place within a line of 16 bytes, so
that a strided, expanded or unaligned input arrives as one. The receiver lays guard zones around each.
"""

from __future__ import annotations

import ctypes
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from dougong.backends.dtypes import dtype_of
from dougong.backends.port import Array

MOST_HEADER_BYTES = 1 << 24
MOST_ARRAY_BYTES = 1 << 33
GUARD_BYTES = 4096
LINE_BYTES = 16
"""What vector loads are aligned to: an array beside such a line stays beside it."""
_GUARD = 0xA5
_LENGTH = struct.Struct("<I")
_DIMENSIONS = 16

Reader = Callable[[memoryview], None]
"""Fills a buffer, or raises."""
Writer = Callable[[memoryview], None]
"""Writes a whole buffer, or raises."""


class BadFrame(Exception):
    """What came is no frame: too long, of an unknown dtype, or out of its own bounds."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """An array that came in, with the memory around it and what all of it held."""

    array: Array
    memory: Array
    before: bytes

    def changed(self) -> str | None:
        """Say what was written to: the array, or memory beside it; ``None`` where nothing was."""
        now = self.memory.tobytes()
        if now == self.before:
            return None
        inner = slice(GUARD_BYTES, len(now) - GUARD_BYTES)
        return "the input itself" if now[inner] != self.before[inner] else "memory beside the input"


def send(write: Writer, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write one frame."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    spans = {name: span(array) for name, array in arrays.items()}
    described = [
        {
            "name": name,
            "dtype": array.dtype.name,
            "shape": array.shape,
            "strides": array.strides,
            "offset": spans[name][1],
            "beside": beside(array),
            "bytes": len(spans[name][0]),
        }
        for name, array in arrays.items()
    ]
    text = json.dumps({**header, "arrays": described}).encode()
    write(memoryview(_LENGTH.pack(len(text)) + text))
    for memory, _ in spans.values():
        write(memory)


def receive(read: Reader) -> tuple[dict[str, Any], dict[str, Guarded]]:
    """Read one frame.

    Raises
    ------
    BadFrame
        Where it is none.
    """
    length = bytearray(_LENGTH.size)
    read(memoryview(length))
    (size,) = _LENGTH.unpack(length)
    if size > MOST_HEADER_BYTES:
        raise BadFrame(f"a header of {size:,} bytes")
    text = bytearray(size)
    read(memoryview(text))
    try:
        header = cast("dict[str, Any]", json.loads(text))
        described = cast("list[dict[str, Any]]", header.pop("arrays"))
        arrays = {str(each["name"]): _arrive(each, read) for each in described}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFrame(f"{type(error).__name__}: {error}") from error
    return header, arrays


def span(array: Array) -> tuple[memoryview, int]:
    """Return the memory from the lowest to the highest byte of an array, and where its first element lies in it."""
    if not array.size:
        return memoryview(b""), 0
    low, high = _ends(array)
    count = high - low + array.itemsize
    memory = (ctypes.c_char * count).from_address(array.ctypes.data + low)
    return memoryview(memory).cast("B"), -low


def beside(array: Array) -> int:
    """Return how many bytes the memory of an array begins beside a line of :data:`LINE_BYTES`."""
    return (array.ctypes.data + _ends(array)[0]) % LINE_BYTES if array.size else 0


def _ends(array: Array) -> tuple[int, int]:
    """Where the first bytes of the lowest and of the highest element lie, from the first element on [byte]."""
    steps = [stride * (extent - 1) for stride, extent in zip(array.strides, array.shape, strict=True)]
    return sum(min(step, 0) for step in steps), sum(max(step, 0) for step in steps)


def _arrive(described: Mapping[str, Any], read: Reader) -> Guarded:
    dtype = dtype_of(str(described["dtype"]))
    if dtype.hasobject:
        raise BadFrame(f"an array of {dtype.name}")
    shape = tuple(int(extent) for extent in described["shape"])
    strides = tuple(int(stride) for stride in described["strides"])
    size, offset, off_line = int(described["bytes"]), int(described["offset"]), int(described["beside"])
    if not 0 <= size <= MOST_ARRAY_BYTES or len(shape) > _DIMENSIONS or min(shape, default=0) < 0:
        raise BadFrame(f"an array of {size:,} bytes and shape {shape}")
    if not 0 <= off_line < LINE_BYTES:
        raise BadFrame(f"an array {off_line} bytes beside a line of {LINE_BYTES}")
    memory = room(size + 2 * GUARD_BYTES, off_line)
    memory[:GUARD_BYTES] = memory[GUARD_BYTES + size :] = _GUARD
    read(memoryview(memory[GUARD_BYTES : GUARD_BYTES + size]))  # type: ignore[arg-type]
    if not size:
        return Guarded(np.empty(shape, dtype), memory, memory.tobytes())
    # numpy refuses what would reach beyond the buffer, so strides and offset need no check of ours.
    inner = memory[GUARD_BYTES : GUARD_BYTES + size]
    array = np.ndarray(shape, dtype, inner.data, offset, strides)
    return Guarded(array, memory, memory.tobytes())


def room(size: int, off_line: int) -> Array:
    """Return memory of ``size`` bytes that begins ``off_line`` bytes beside a line."""
    raw = np.empty(size + 64 + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % 64 + off_line
    return raw[start : start + size]
