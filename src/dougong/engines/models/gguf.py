"""Reads the head of a GGUF file: what the model says of itself, with every length bounded."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from dougong.errors import InputError

_MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEYS = 1 << 16
_MOST_KEY_BYTES = 1 << 16
_MOST_TEXT_BYTES = 1 << 24
_MOST_ITEMS = 1 << 24
_KEPT = ("general.", "split.", "tokenizer.chat_template", "tokenizer.ggml.model")


def read_gguf(path: Path) -> Mapping[str, object]:
    """Return what the head of a GGUF file says; arrays, such as the vocabulary, are passed over.

    Raises
    ------
    InputError
        It is no GGUF file, or its head is cut off or beyond any model's.

    References
    ----------
    The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise InputError(f"{path}: the head of this GGUF file is cut off or damaged") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except _Damaged as fault:
        raise InputError(f"{path}: {fault}") from None


def summary(head: Mapping[str, object]) -> dict[str, object]:
    """Return what a launch needs of a head: architecture, context [token], chat template, parts."""
    architecture = str(head.get("general.architecture", ""))
    found = {
        "architecture": architecture,
        "context": head.get(f"{architecture}.context_length"),
        "chat_template": head.get("tokenizer.chat_template"),
        "title": head.get("general.name"),
        "parts": head.get("split.count"),
    }
    return {key: value for key, value in found.items() if value}


class _Damaged(Exception):
    pass


def _read(file: BinaryIO) -> dict[str, object]:
    if file.read(4) != _MAGIC:
        raise _Damaged("this is no GGUF file")
    (version,) = struct.unpack("<I", file.read(4))
    if version not in (2, 3):
        raise _Damaged(f"GGUF version {version} is not read; versions 2 and 3 are")
    _, keys = struct.unpack("<QQ", file.read(16))
    if keys > _MOST_KEYS:
        raise _Damaged(f"{keys:,} keys are more than any model has")
    found: dict[str, object] = {}
    for _ in range(keys):
        key = _text(file, _MOST_KEY_BYTES)
        (kind,) = struct.unpack("<I", file.read(4))
        value = _value(file, kind)
        if value is not None and (key.startswith(_KEPT) or key.endswith(".context_length")):
            found[key] = value
    return found


def _value(file: BinaryIO, kind: int) -> object:
    if kind == _STRING:
        return _text(file, _MOST_TEXT_BYTES)
    if kind == _ARRAY:
        _pass_array(file)
        return None
    if kind not in _SCALARS:
        raise _Damaged(f"a value of type {kind}, which GGUF does not have")
    form = f"<{_SCALARS[kind]}"
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return value


def _pass_array(file: BinaryIO) -> None:
    kind, items = struct.unpack("<IQ", file.read(12))
    if items > _MOST_ITEMS:
        raise _Damaged(f"an array of {items:,} items is longer than any vocabulary")
    if kind == _STRING:
        for _ in range(items):
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MOST_TEXT_BYTES:
                raise _Damaged("a text is longer than any model's")
            file.read(length)
    elif kind in _SCALARS:
        wanted = items * struct.calcsize(f"<{_SCALARS[kind]}")
        if len(file.read(wanted)) != wanted:
            raise _Damaged("an array is cut off")
    else:
        raise _Damaged(f"an array of type {kind}, which no model needs")


def _text(file: BinaryIO, most: int) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > most:
        raise _Damaged("a text is longer than any model's")
    raw = file.read(length)
    if len(raw) != length:
        raise _Damaged("a text is cut off")
    return raw.decode("utf-8", errors="replace")
