"""Our own records of published cases: TOML, one file per document, every condition spelled out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from dougong.backtest.case import AnyCase, Case, CaseFile, CaseSource, OperatorCase, PhaseLayout, Precision
from dougong.backtest.rows import Faults, Row, as_number, read_text
from dougong.errors import InputError

_COUNTS = (
    "prompt_tokens",
    "output_tokens",
    "context_tokens",
    "concurrency",
    "requests",
    "prefill_batch_tokens",
)
_NUMBERS = ("rate_requests_per_s", "batch_per_device", "prefix_hit_frac", "acceptance", "tolerance")
_TEXTS = ("engine", "kind", "note", "known_miss", "use", "engine_class")
_TABLES = ("limits", "measured", "printed")
_LAYOUT_KEYS = ("tp", "pp", "cp", "attn_dp", "ep", "replicas")
_CASE_KEYS = frozenset(field.name for field in fields(Case)) - {"source"} | {"at"}
_OPERATOR_KEYS = frozenset(field.name for field in fields(OperatorCase)) - {"source"} | {"at"}


def from_records(path: Path | str) -> CaseFile:
    """Read records of published cases from a TOML file, or from every ``*.toml`` of a folder.

    Raises
    ------
    InputError
        If a file cannot be read or is no TOML.
    """
    path = Path(path)
    if path.is_dir():
        files = [from_records(file) for file in sorted(path.glob("*.toml"))]
        return CaseFile(
            path=str(path), kind="records", cases=tuple(case for file in files for case in file.cases),
            faults=tuple(f"{Path(file.path).name}: {fault}" for file in files for fault in file.faults),
        )  # fmt: skip
    try:
        raw = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not TOML ({str(error)[:120]})") from error
    faults = Faults()
    head = Row(raw, "the file", faults)
    if raw.get("schema") != 1:
        head.fault(f"schema must be 1, is {raw.get('schema')!r}")
    for key in sorted(set(raw) - {"schema", "source", "case", "operator", "left_out"}):
        head.fault(f"unknown key {key!r}")
    shared = head.table("source")
    source = {name: str(shared.get(name) or "") for name in ("document", "commit", "publisher")}
    cases: list[AnyCase] = []
    seen: set[str] = set()
    for table, reader in (("case", _case), ("operator", _operator)):
        for index, entry in enumerate(_entries(raw.get(table), table, faults)):
            place = f"[[{table}]] {entry.get('id', index + 1)}"
            case = reader(Row(entry, place, faults), source)
            if case is None:
                continue
            if case.id in seen:
                faults.add(place, "the id stands twice")
                continue
            seen.add(case.id)
            for fault in case.faults():
                faults.add(place, fault)
            cases.append(case)
    for index, entry in enumerate(_entries(raw.get("left_out"), "left_out", faults)):
        _left_out(Row(entry, f"[[left_out]] {index + 1}", faults))
    return CaseFile(path=str(path), kind="records", cases=tuple(cases), faults=faults.report())


def _left_out(row: Row) -> None:
    """Rows of a source that are counted and not carried over: a reason, and their ids."""
    row.text("reason", required=True)
    ids = row.raw.get("ids")
    count = len(cast("list[object]", ids)) if isinstance(ids, list) else 0
    if row.count("count", required=True) != count:
        row.fault(f"count says {row.raw.get('count')!r} and ids has {count}")


def _entries(raw: object, table: str, faults: Faults) -> list[dict[str, Any]]:
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(entry, dict) for entry in cast("list[object]", raw)):
        faults.add(f"[[{table}]]", "must be an array of tables")
        return []
    return cast("list[dict[str, Any]]", raw)


def _layouts(row: Row) -> dict[str, PhaseLayout]:
    found: dict[str, PhaseLayout] = {}
    for phase, cut in row.table("layouts").items():
        if not isinstance(cut, dict):
            row.fault(f"layouts.{phase} must be a table")
            continue
        inner = Row(cast("dict[str, Any]", cut), f"{row.place} layouts.{phase}", row.faults)
        for key in sorted(set(inner.raw) - set(_LAYOUT_KEYS)):
            inner.fault(f"unknown degree {key!r}; legal: {', '.join(_LAYOUT_KEYS)}")
        degrees = {key: inner.count(key, high=1_000_000) or 1 for key in _LAYOUT_KEYS if key in inner.raw}
        row.ok = row.ok and inner.ok
        found[phase] = PhaseLayout.of(**degrees)
    return found


def _source(row: Row, shared: Mapping[str, str]) -> CaseSource:
    return CaseSource(section=row.text("at"), **shared)


def _assumed(row: Row) -> tuple[str, ...]:
    raw = row.raw.get("assumed", [])
    notes = cast("list[object]", raw) if isinstance(raw, list) else [None]
    if not all(isinstance(note, str) for note in notes):
        row.fault("assumed must be a list of texts")
    return tuple(note for note in notes if isinstance(note, str))


def _case(row: Row, shared: Mapping[str, str]) -> Case | None:
    for key in sorted(set(row.raw) - _CASE_KEYS):
        row.fault(f"unknown key {key!r}")
    precision = row.table("precision")
    words = {name: str(word) for name, word in precision.items()}
    for name in sorted(set(words) - {"weights", "experts", "activations", "kv"}):
        row.fault(f"unknown precision {name!r}")
    case = {
        **{name: row.count(name) for name in _COUNTS},
        **{name: row.number(name, high=1e9) for name in _NUMBERS},
        **{name: row.text(name) for name in _TEXTS if name in row.raw},
        **{name: row.numbers(name) for name in _TABLES},
        "id": row.text("id", required=True),
        "model": row.text("model", required=True),
        "system": row.text("system", required=True),
        "chip": row.text("chip", required=True),
        "devices_per_chip": row.count("devices_per_chip", high=64) or 1,
        "draft_tokens": row.count("draft_tokens", low=0, high=64) or 0,
        "saturated": row.flag("saturated") is True,
        "balanced_experts": row.flag("balanced_experts"),
        "micro_batches": row.flag("micro_batches") is True,
        "layouts": _layouts(row),
        "chips": {
            name: number
            for name, value in row.table("chips").items()
            if (number := as_number(value)) is not None
        },
        "assumed": _assumed(row),
        "refused": row.text("refused") or None,
        "source": _source(row, shared),
    }
    if not row.ok:
        return None
    return Case(precision=Precision(**words), **cast("dict[str, Any]", case))


def _operator(row: Row, shared: Mapping[str, str]) -> OperatorCase | None:
    for key in sorted(set(row.raw) - _OPERATOR_KEYS):
        row.fault(f"unknown key {key!r}")
    case = {
        **{name: row.text(name) for name in ("library", "kind", "note", "known_miss") if name in row.raw},
        "id": row.text("id", required=True),
        "op": row.text("op", required=True),
        "chip": row.text("chip", required=True),
        "shape": row.numbers("shape"),
        "words": {name: str(word) for name, word in row.table("words").items()},
        "measured": row.numbers("measured"),
        "printed": row.numbers("printed"),
        "tolerance": row.number("tolerance", high=1e3),
        "refused": row.text("refused") or None,
        "source": _source(row, shared),
    }
    return OperatorCase(**cast("dict[str, Any]", case)) if row.ok else None
