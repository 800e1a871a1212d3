"""Measured operators as columns: ``data/operator-facts.csv``, re-typed from published documents."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dougong.calibration.parameters import data_file
from dougong.errors import CatalogError

_WORDS = (
    "id op chip library kernel compute_dtype weight_dtype kv_dtype plane document place commit assumed "
    "unused_because"
)
_NUMBERS = (
    "ranks m n k groups experts tokens_per_rank topk hidden batch context heads kv_heads head_dim "
    "message_bytes near_ranks bytes_per_value quantised latency_s flop_per_s bytes_per_s "
    "peak_flop_per_s bandwidth_bytes_per_s link_bytes_per_s"
)
WORDS = tuple(_WORDS.split())
NUMBERS = tuple(_NUMBERS.split())
"""Numeric columns, in base units; an empty cell is NaN. Peaks and links are nominal, per device, one-way."""

Words = NDArray[np.str_]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows of measured operators, by column."""

    words: Mapping[str, Words]
    numbers: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.words["id"])

    def __getitem__(self, name: str) -> Floats:
        return self.numbers[name]

    def where(self, mask: Mask) -> Facts:
        """The rows under ``mask``."""
        return Facts(
            {name: column[mask] for name, column in self.words.items()},
            {name: column[mask] for name, column in self.numbers.items()},
        )

    def of(self, *ops: str) -> Facts:
        """The rows of these operators."""
        return self.where(np.isin(self.words["op"], ops))

    def used(self) -> Facts:
        """The rows the fit may use; the others say why not in ``unused_because``."""
        return self.where(self.words["unused_because"] == "")


def load_facts(path: Path | None = None) -> Facts:
    """Read the shipped facts, or those of ``path``.

    Raises
    ------
    CatalogError
        Every fault of the file at once, with its line.
    """
    text = data_file("operator-facts.csv") if path is None else path.read_text(encoding="utf-8")
    name = "operator-facts.csv" if path is None else str(path)
    reader = csv.DictReader(io.StringIO(text), restval="")
    lacking = sorted({*WORDS, *NUMBERS} - set(reader.fieldnames or ()))
    if lacking:
        raise CatalogError([f"{name}: line 1: no column {column}" for column in lacking])
    rows = list(reader)
    faults: list[str] = []
    numbers: dict[str, list[float]] = {column: [] for column in NUMBERS}
    for line, row in enumerate(rows, start=2):
        for column in NUMBERS:
            numbers[column].append(_number(row[column], f"{name}: line {line}: {column}", faults))
        if not row["unused_because"] and not any(
            row[rate] for rate in ("latency_s", "flop_per_s", "bytes_per_s")
        ):
            faults.append(f"{name}: line {line}: neither a time nor a rate")
        if not row["document"]:
            faults.append(f"{name}: line {line}: no document")
    if faults:
        raise CatalogError(faults)
    return Facts(
        {column: np.array([row[column] for row in rows], dtype=np.str_) for column in WORDS},
        {column: np.array(values, dtype=np.float64) for column, values in numbers.items()},
    )


def _number(text: str, place: str, faults: list[str]) -> float:
    if text == "":
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        faults.append(f"{place}: {text!r} is not a number")
        return float("nan")
    if not 0 < value < float("inf"):
        faults.append(f"{place}: {text!r} is not positive and finite")
    return value
