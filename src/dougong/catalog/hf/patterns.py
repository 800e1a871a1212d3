"""Matches module names against the ignore lists of quantised checkpoints, in linear time.

Three dialects meet in these lists: plain names (a module, a parent of it, or its last components), shell
globs, and ``re:`` regular expressions. A regular expression from a file is never compiled: the few forms that
occur are rewritten as globs, and anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")

_ROOTS = ("model", "language_model", "backbone", "transformer", "thinker")
_OUTSIDE = re.compile(r"vision|visual|audio|mm_projector|multi_modal|image|embed_vision|embed_audio")
_INDEXED = re.compile(r"(?:^|\.)layers\.(\d{1,6})(?![\d*])")
_SAFE = re.compile(r"[\w.*:-]+")
_DIGITS = re.compile(r"\d+")
MAX_PATTERNS = 100_000
_MAX_NUMBERED = 256
_MAX_STARS = 8
_MAX_FORMS = 64


class PatternError(ValueError):
    """A pattern outside the forms we read."""


def canonical(name: str) -> str:
    """A module name without the wrappers that differ between exports of one model."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _ROOTS:
        parts.pop(0)
    return ".".join(parts)


class Patterns(Generic[Value]):
    """A list of patterns, each with a value; the first that matches a module wins."""

    def __init__(self) -> None:
        self._plain: dict[str, Value] = {}
        self._indexed: dict[str, list[tuple[tuple[str, ...], Value]]] = {}
        self._numbered: list[tuple[tuple[str, ...], Value]] = []
        self._anywhere: list[tuple[tuple[str, ...], Value]] = []
        self._seen: dict[str, Value | None] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return self._size > 0

    def add(self, pattern: str, value: Value) -> None:
        """Add one pattern of any dialect; parts outside the language model are dropped."""
        self._size += 1
        if self._size > MAX_PATTERNS or len(pattern) > 500:
            raise PatternError(pattern[:60])
        if _OUTSIDE.search(pattern):
            return
        for form in _forms(pattern):
            name = canonical(form)
            if not _SAFE.fullmatch(name) or name.count("*") > _MAX_STARS:
                raise PatternError(pattern[:60])
            if "*" not in name:
                self._plain.setdefault(name, value)
                continue
            entry = (tuple(name.split("*")), value)
            if index := _INDEXED.search(name):
                self._indexed.setdefault(index.group(1), []).append(entry)
            elif _DIGITS.search(name):
                self._numbered.append(entry)
            else:
                self._anywhere.append(entry)
        if len(self._numbered) > _MAX_NUMBERED:
            raise PatternError(pattern[:60])

    def find(self, module: str) -> Value | None:
        """The value of the first pattern that covers ``module``, a canonical name."""
        if not self._size:
            return None
        for name in _lookups(module):
            if name in self._plain:
                return self._plain[name]
        index = _INDEXED.search(module)
        for pieces, value in (*(self._indexed.get(index.group(1), ()) if index else ()), *self._numbered):
            if _covers(pieces, module):
                return value
        # A pattern without digits answers alike for every layer
        kind = _DIGITS.sub("0", module)
        if kind not in self._seen:
            self._seen[kind] = next(
                (value for pieces, value in self._anywhere if _covers(pieces, kind)), None
            )
        return self._seen[kind]


def _lookups(module: str) -> Iterator[str]:
    # The module itself, its parents, and its last components ("gate" means "...mlp.gate").
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        yield ".".join(parts[:end])
    for start in range(1, len(parts)):
        if parts[start] != "layers":  # "layers.3..." is a place of the main stack, not an ending
            yield ".".join(parts[start:])


def _covers(pieces: tuple[str, ...], module: str) -> bool:
    # A glob matches the module or one of its parents; with only stars, leftmost finds decide in one pass.
    position = len(pieces[0])
    if not module.startswith(pieces[0]):
        return False
    for piece in pieces[1:-1]:
        found = module.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    last = pieces[-1]
    if not last or (module.endswith(last) and len(module) - len(last) >= position):
        return True
    return module.find(last + ".", position) >= 0


def _forms(pattern: str) -> list[str]:
    """The globs that a pattern stands for: itself, or the rewriting of a regular expression."""
    if not pattern.startswith("re:"):
        return [pattern]
    text = pattern[3:].removeprefix("^")
    # re.match anchors the start only
    text = text[:-1] if text.endswith("$") else text + ".*"
    forms = [""]
    for token in _tokens(text, pattern):
        choices = token if isinstance(token, tuple) else (token,)
        forms = [form + choice for form in forms for choice in choices]
        if len(forms) > _MAX_FORMS:
            raise PatternError(pattern[:60])
    return [re.sub(r"\*+", "*", form) for form in forms]


_TOKEN = re.compile(r"\.\*|\\d\+|\[0-9\]\+|\\\.|\((?:\?:)?([\w|]+)\)|[\w.-]")


def _tokens(text: str, pattern: str) -> Iterator[str | tuple[str, ...]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise PatternError(pattern[:60])
        token = match.group()
        if match.group(1) is not None:
            yield tuple(match.group(1).split("|"))
        elif token in (".*", r"\d+", "[0-9]+"):
            yield "*"
        else:
            yield "." if token == r"\." else token
        position = match.end()
