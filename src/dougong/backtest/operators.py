"""Reads operator measurements in the operator-truth format: one JSON object per line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import cast

from dougong.backtest.case import OPERATOR_METRICS, CaseFile, CaseSource, OperatorCase
from dougong.backtest.rows import Faults, Row, as_number, numbered_lines, read_text
from dougong.backtest.serving import parse_object

_MEASURED = {  # printed name -> (metric, factor to base units)
    "latency_us": ("latency_s", 1e-6),
    "latency_us_512B": ("latency_s", 1e-6),
    "achieved_TFLOPS": ("flop_per_s", 1e12),
    "bandwidth_GBps": ("bandwidth_bytes_per_s", 1e9),
    "dispatch_GBps": ("dispatch_bytes_per_s", 1e9),
    "combine_GBps": ("combine_bytes_per_s", 1e9),
    "utilisation_of_peak": ("utilisation_frac", 1.0),
    "utilisation_of_dense_peak": ("utilisation_frac", 1.0),
    "throughput_gain": ("gain_frac", 1.0),
    "prefill_speedup": ("speedup_ratio", 1.0),
}
_SHAPE = (
    "m", "n", "k", "groups", "m_per_group", "experts", "ep", "topk", "tokens_per_rank", "tokens", "hidden",
    "inter", "batch", "batch_per_gpu", "context", "seq", "heads", "kv_heads", "head_dim", "message_bytes",
    "n_chips", "n_nodes", "sms_used", "reuse", "spec_tokens", "acceptance",
)  # fmt: skip
_EP = re.compile(r"EP\s*(\d{1,5})(?:\s*x\s*(\d{1,5}))?\s*([A-Za-z]*)")
_WORDS = ("dtype", "kv_dtype", "link", "scope", "direction", "model", "layout", "scenario")


def from_operator_truth(path: Path | str) -> CaseFile:
    """Read a file of operator measurements.

    Parameters
    ----------
    path
        JSON lines with ``id``, ``op``, ``chip_id``, the operator's shape, and what was measured.

    Returns
    -------
    CaseFile
        Every readable row as an :class:`OperatorCase`; theoretical rows are refused, broken rows are faults.
    """
    path, faults = Path(path), Faults()
    cases: list[OperatorCase] = []
    seen: dict[str, int] = {}
    for line, text in numbered_lines(read_text(path)):
        place = f"line {line}"
        raw = parse_object(text, place, faults)
        if raw is None:
            continue
        for case in _cases(Row(raw, place, faults)):
            if case.id in seen:
                faults.add(place, f"id {case.id!r} stands on line {seen[case.id]} already")
                continue
            seen[case.id] = line
            cases.append(case)
    return CaseFile(path=str(path), kind="operator-truth", cases=tuple(cases), faults=faults.report())


def operator_name(printed: str) -> str:
    """One spelling of an operator's name.

    Examples
    --------
    >>> operator_name("allreduce intra-server (8 cards)")
    'all_reduce_intra_server'
    """
    name = re.sub(r"\(.*?\)", "", printed).strip().lower().replace("-", "_").replace(" ", "_")
    return name.replace("allreduce", "all_reduce").replace("alltoall", "all_to_all")


def _cases(row: Row) -> list[OperatorCase]:
    row = _spelled_ep(row)
    identity, op = row.text("id", required=True), row.text("op", required=True)
    chip, kind = row.text("chip_id") or row.text("chip", required=True), row.text("kind") or "measured"
    source = row.table("source")
    words = {name: text for name in _WORDS if (text := row.text(name))}
    shape = {name: number for name in _SHAPE if (number := row.number(name, high=1e15)) is not None}
    if "per die" in row.text("chip"):
        words["per"] = "die"
    printed = {
        name: number
        for name in (*_MEASURED, "up_us", "down_us")
        if (number := row.number(name, high=1e15)) is not None
    }
    measured: dict[str, float] = {}
    for name, number in printed.items():
        if name in _MEASURED and number > 0:  # a utilisation rounded to nothing is no measurement
            metric, factor = _MEASURED[name]
            measured.setdefault(metric, number * factor)
    _ranges(row, measured, printed)
    if not row.ok:
        return []
    refused = None
    if kind != "measured":
        refused = f"{kind}, not measured"
    elif not measured and "up_us" not in printed:
        refused = "nothing measured that we predict"
    base = OperatorCase(
        id=identity, op=operator_name(op), chip=chip, library=row.text("library"), shape=shape, words=words,
        measured={metric: measured[metric] for metric in OPERATOR_METRICS if metric in measured},
        printed=printed, kind=kind,
        note=row.text("notes"), refused=refused,
        source=CaseSource(
            document=str(source.get("document") or ""), section=str(source.get("section") or ""),
            commit=str(source.get("commit") or ""),
        ),
    )  # fmt: skip
    return _halves(base) if "up_us" in printed else [base]


def _spelled_ep(row: Row) -> Row:
    """A row whose ``ep`` is spelled ``EP 8x4`` (8 per node, 4 nodes) or ``EP 8 NVLink``, now a number."""
    spelled = row.raw.get("ep")
    found = _EP.fullmatch(spelled) if isinstance(spelled, str) else None
    if found is None:
        return row
    link = {"link": found[3]} if found[3] else {}
    return Row({**link, **row.raw, "ep": int(found[1]) * int(found[2] or 1)}, row.place, row.faults)


def _ranges(row: Row, measured: dict[str, float], printed: dict[str, float]) -> None:
    gains = row.raw.get("throughput_gain_range")
    if isinstance(gains, list):
        pair = [as_number(value) for value in cast("list[object]", gains)]
        low, high = pair if len(pair) == 2 else (None, None)
        if low is None or high is None or not low <= high:
            row.fault("throughput_gain_range must be two numbers in order")
        else:
            measured["gain_low_frac"], measured["gain_high_frac"] = low, high
            printed["gain_low"], printed["gain_high"] = low, high
    usable, nominal = row.number("usable_GiB"), row.number("nominal_GiB")
    if usable and nominal:
        measured["usable_frac"] = usable / nominal


def _halves(case: OperatorCase) -> list[OperatorCase]:
    """Grouped GEMM rows print the up and the down projection of one layer: two operators."""
    return [
        replace(
            case,
            id=f"{case.id}-{half}",
            op=f"{case.op}_{half}",
            measured={"latency_s": case.printed[f"{half}_us"] * 1e-6},
        )
        for half in ("up", "down")
        if f"{half}_us" in case.printed
    ]
