"""One door for files of published measurements, told apart by what they hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, cast

from dougong.backtest.case import CaseFile
from dougong.backtest.inferencex import from_inferencex
from dougong.backtest.operators import from_operator_truth
from dougong.backtest.records import from_records
from dougong.backtest.rows import numbered_lines, read_text
from dougong.backtest.serving import from_serving_truth
from dougong.errors import InputError

_FORMATS = "JSON lines of serving or operator results, an InferenceX CSV, or TOML records"


def read_cases(path: Path | str) -> CaseFile:
    """Read published measurements from a file in any format we know, or from a folder of TOML records.

    Raises
    ------
    InputError
        If the file cannot be read, is too large, or holds none of the formats.
    """
    path = Path(path)
    if path.is_dir():
        return from_records(path)
    if path.suffix == ".toml":
        return from_records(path)
    text = read_text(path)
    first = next((line for _, line in numbered_lines(text)), "")
    if not first:
        raise InputError(f"{path}: the file is empty", hint=f"legal: {_FORMATS}")
    if first.lstrip().startswith("{"):
        return from_operator_truth(path) if _is_operator(text) else from_serving_truth(path)
    if {"backend", "ttft_ms", "tpot_ms"} <= _columns(first):
        return from_inferencex(path)
    if "[[case]]" in text or "[[operator]]" in text:
        return from_records(path)
    raise InputError(f"{path}: no format we read", hint=f"legal: {_FORMATS}")


def _columns(line: str) -> set[str]:
    try:
        return set(next(csv.reader([line]), list[str]()))
    except csv.Error:
        return set()


def _is_operator(text: str) -> bool:
    """Whether the first object that parses has an operator and no model under measurement."""
    for number, line in numbered_lines(text):
        if number > 50:
            break
        try:
            raw = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(raw, dict):
            return "op" in raw and "parallel" not in cast("dict[str, Any]", raw)
    return False
