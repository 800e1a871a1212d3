"""Reads serving results in the serving-truth format: JSON lines, conditions in their authors' words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from dougong.backtest.case import METRICS, Case, CaseFile, CaseSource
from dougong.backtest.documents import conditions_of, little
from dougong.backtest.layouts import Read, read_parallel
from dougong.backtest.rows import Faults, Row, numbered_lines, read_text
from dougong.backtest.words import engine_class_of, looks_dense, model_id, precision_of

_SECONDS = {"ttft_ms": "ttft_s", "tpot_ms": "tpot_s"}
_LIMITS = {"ttft_ms": "ttft_s", "tpot_ms": "tpot_s", "ttft_p99_ms": "ttft_s", "tpot_p99_ms": "tpot_s"}
_RATES = {  # printed name -> (metric, what the printed rate is divided by)
    "prefill_tok_s_per_chip": ("prefill_tokens_per_s_per_chip", "chip"),
    "prefill_tok_s_total": ("prefill_tokens_per_s_per_chip", "total"),
    "prefill_tok_s": ("prefill_tokens_per_s_per_chip", "total"),
    "decode_tok_s_per_chip": ("decode_tokens_per_s_per_chip", "chip"),
    "decode_tok_s_total": ("decode_tokens_per_s_per_chip", "total"),
    "output_tok_s_per_chip": ("output_tokens_per_s_per_chip", "chip"),
    "output_tok_s_total": ("output_tokens_per_s_per_chip", "total"),
    "output_tok_s": ("output_tokens_per_s_per_chip", "total"),
    "output_tok_s_per_die": ("output_tokens_per_s_per_chip", "die"),
    "total_tok_s_per_chip": ("total_tokens_per_s_per_chip", "chip"),
    "total_tok_s": ("total_tokens_per_s_per_chip", "total"),
}
_SATURATED = re.compile(r"max(?:imum)?[ -](?:load|throughput)|offline", re.IGNORECASE)
_BALANCED = re.compile(r"balanced|forced expert balance|perfect EPLB", re.IGNORECASE)


def from_serving_truth(path: Path | str) -> CaseFile:
    """Read a file of serving results.

    Parameters
    ----------
    path
        JSON lines with ``id``, ``model``, ``chip_id``, ``n_chips``, ``engine``, ``precision``, ``parallel``,
        lengths, ``measured`` and ``source``; unknown fields are ignored.

    Returns
    -------
    CaseFile
        Every readable row as a case (refused ones say why), every unreadable row as a fault with its line.
    """
    path, faults = Path(path), Faults()
    cases: list[Case] = []
    seen: dict[str, int] = {}
    for line, text in numbered_lines(read_text(path)):
        place = f"line {line}"
        raw = parse_object(text, place, faults)
        if raw is None:
            continue
        case = case_of(Row(raw, place, faults))
        if case is None:
            continue
        if case.id in seen:
            faults.add(place, f"id {case.id!r} stands on line {seen[case.id]} already")
            continue
        seen[case.id] = line
        cases.append(case)
    return CaseFile(path=str(path), kind="serving-truth", cases=tuple(cases), faults=faults.report())


def parse_object(text: str, place: str, faults: Faults) -> dict[str, Any] | None:
    """A JSON object from one line, or None with the fault noted."""
    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        faults.add(place, f"not JSON ({str(error)[:80]})")
        return None
    if not isinstance(raw, dict):
        faults.add(place, f"a row must be an object, is {type(raw).__name__}")
        return None
    return cast("dict[str, Any]", raw)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


def case_of(row: Row) -> Case | None:
    """One row as a case; None where a field cannot be read."""
    identity, label = row.text("id", required=True), row.text("model", required=True)
    chip, engine, kind = (
        row.text("chip_id") or row.text("chip", required=True),
        row.text("engine"),
        row.text("kind") or "measured",
    )
    num_chips = row.count("n_chips", high=1_000_000)
    devices = row.count("n_dies_or_devices", high=2_000_000)
    use = row.text("use") or "validate"
    if use not in ("validate", "sanity"):
        row.fault(f"use must be validate or sanity, is {use!r}")
    model, moe = model_id(label), row.text("model_type") != "dense"
    if row.raw.get("model_type") is None:
        moe = not looks_dense(model)
    per_chip = max(1, round(devices / num_chips)) if devices and num_chips else _devices_per_chip(chip)
    said, system = row.table("parallel"), row.text("system")
    read = read_parallel(
        said,
        devices=devices or (num_chips * per_chip if num_chips else None),
        moe=moe,
        engine=engine,
        disaggregated=row.flag("disaggregated") is True,
    )
    read, chips = _chips(read, num_chips, per_chip)
    printed = row.numbers("measured")
    precision, assumed = precision_of(row.text("precision"), model=model, engine=engine, chip=chip)
    draft, acceptance, drafting = _speculation(row, engine)
    note = row.text("notes")
    source = row.table("source")
    limits = {_LIMITS[key]: value / 1e3 for key, value in row.numbers("slo").items() if key in _LIMITS}
    workload = row.text("workload")
    batch, batch_tokens = _batch(row, note, per_chip, set(read.layouts))
    if not row.ok:
        return None
    case = Case(
        id=identity, model=model, system=system_of(chip, num_chips or 1, system), chip=chip,
        devices_per_chip=per_chip,
        engine=engine, engine_class=engine_class_of(engine, kind=kind, chip=chip), precision=precision,
        layouts=read.layouts, chips=chips,
        prompt_tokens=_whole(row.number("input_len", low=1, high=1e8)),
        output_tokens=_whole(row.number("output_len", low=1, high=1e8)),
        context_tokens=_whole(row.number("context_len", low=1, high=1e9)),
        concurrency=row.count("concurrency"), saturated=_SATURATED.search(workload) is not None,
        batch_per_device=batch, prefill_batch_tokens=batch_tokens,
        prefix_hit_frac=row.number("prefix_cache_hit", high=1.0),
        draft_tokens=draft, acceptance=acceptance, balanced_experts=_balance(note, row.text("engine")),
        limits=limits, printed=printed,
        measured=_measure(printed, num_chips, per_chip, chips, set(read.layouts)),
        use=use, kind=kind, note=note, assumed=(*read.assumed, *assumed, *drafting), refused=read.refused,
        source=CaseSource(
            document=str(source.get("document") or ""), section=str(source.get("section") or ""),
            commit=str(source.get("commit") or ""), publisher=str(source.get("publisher") or ""),
        ),
    )  # fmt: skip
    if not row.ok:
        return None
    case = little(_complete(conditions_of(case, workload)))
    return replace(case, refused=case.refused or _why_not(case, num_chips))


def _whole(value: float | None) -> int | None:
    return None if value is None else max(1, round(value))


def system_of(chip: str, num_chips: int, printed: str = "") -> str:
    """Catalog words for the machine: a named supernode, or so many chips.

    Examples
    --------
    >>> system_of("nvidia-h200-sxm", 8)
    '8x nvidia-h200-sxm'
    """
    if "cloudmatrix384" in printed.lower().replace(" ", "") and num_chips <= 384:
        return "cloudmatrix384"
    return f"{num_chips}x {chip}"


def _devices_per_chip(chip: str) -> int:
    return 2 if chip in ("huawei-910c", "google-tpu-7x") else 1


def _chips(read: Read, num_chips: int | None, per_chip: int) -> tuple[Read, dict[str, float]]:
    """Chips behind each phase. A layout that fills one die of a package uses half a chip."""
    chips = {phase: layout.devices / per_chip for phase, layout in read.layouts.items()}
    used = sum(chips.values())
    if num_chips and read.layouts and "all" in read.layouts and used > num_chips:
        return Read({}, refused=f"the layout needs {used:g} chips and the run has {num_chips}"), {}
    return read, chips


def _measure(
    printed: dict[str, float], num_chips: int | None, per_chip: int, chips: dict[str, float], phases: set[str]
) -> dict[str, float]:
    found = {metric: printed[key] / 1e3 for key, metric in _SECONDS.items() if key in printed}
    used = sum(chips.values())
    total = min(used, num_chips) if used and num_chips else used or num_chips
    for key, (metric, basis) in _RATES.items():
        if key not in printed or metric in found:
            continue
        if metric.startswith("output") and phases == {"decode"}:
            metric = "decode_tokens_per_s_per_chip"
        divisor = {"chip": 1.0, "die": 1.0 / per_chip}.get(basis)
        if basis == "total":
            phase = metric.split("_", 1)[0]
            divisor = chips.get(phase, total)
        if divisor:
            found.setdefault(metric, printed[key] / divisor)
    if "tpot_s" not in found:
        if "tok_s_per_user" in printed:
            found["tpot_s"] = 1 / printed["tok_s_per_user"]
        elif "itl_ms" in printed:
            found["tpot_s"] = printed["itl_ms"] / 1e3
    return {metric: found[metric] for metric in METRICS if metric in found}


def _speculation(row: Row, engine: str) -> tuple[int, float | None, tuple[str, ...]]:
    raw = row.table("mtp")
    if raw.get("on") is not True:
        return 0, None, ()
    speech = Row(raw, f"{row.place}: mtp", row.faults)
    draft, acceptance = speech.count("spec_tokens", high=64), speech.number("acceptance", high=1.0)
    row.ok = row.ok and speech.ok
    if draft is None:
        # SGLang's own choice for a DeepSeek module (auto_choose_speculative_params in server_args.py).
        draft, words = (
            (3, "three drafted tokens are") if "sglang" in engine.lower() else (1, "one drafted token is")
        )
        return draft, acceptance, (f"speculation is on at a depth that is not stated; {words} taken",)
    return draft, acceptance, ()


def _batch(row: Row, note: str, per_chip: int, phases: set[str]) -> tuple[float | None, int | None]:
    """Sequences per device, or prompt tokens per device and step where the batch counts tokens."""
    batch = row.number("batch_per_chip", low=1e-6, high=1e9)
    if batch is None:
        return None, None
    if phases == {"prefill"} or re.search(
        r"batch is [\d,]+ tokens", note
    ):  # data-parallel attention: group = device
        return None, max(1, round(batch / per_chip))
    return batch / per_chip, None


def _balance(note: str, engine: str) -> bool | None:
    if "real routing" in note:
        return False
    return True if _BALANCED.search(f"{note} {engine}") else None


def _complete(case: Case) -> Case:
    """Conditions that follow from others, each said in ``assumed``."""
    notes = list(case.assumed)
    prompt, batch_tokens = case.prompt_tokens, case.prefill_batch_tokens
    if prompt is None and case.context_tokens is not None:
        prompt = case.context_tokens
        notes.append("the mean cached length stands for the prompt")
    if case.concurrency == 1 and batch_tokens is None and prompt is not None:
        placed = case.layouts.get("all")
        batch_tokens = prompt if placed is not None and placed.layout.attn_dp == 1 else None
    saturated = case.saturated
    loaded = (case.concurrency, case.batch_per_device, case.requests, case.rate_requests_per_s)
    rates_only = bool(case.measured) and not {"ttft_s", "tpot_s"} & set(case.measured)
    if (
        rates_only
        and case.layouts
        and case.regime != "prefill"
        and not case.limits
        and not any(loaded)
        and not saturated
    ):
        saturated = True
        notes.append("a rate is published without its load; the largest batch that fits is read")
    return replace(
        case,
        prompt_tokens=prompt,
        prefill_batch_tokens=batch_tokens,
        saturated=saturated,
        assumed=tuple(dict.fromkeys(notes)),
    )


def _why_not(case: Case, num_chips: int | None) -> str | None:
    if num_chips is None and not case.layouts:
        return "the number of chips is not stated"
    if not case.measured:
        return "nothing measured that we predict"
    if case.prompt_tokens is None and case.context_tokens is None:
        return "the prompt length is not stated"
    if case.regime == "end-to-end" and case.output_tokens is None:
        return "the output length is not stated"
    loaded = (case.concurrency, case.batch_per_device, case.requests)
    if (
        case.regime != "prefill"
        and not case.saturated
        and all(value is None for value in loaded)
        and not case.limits
    ):
        return "neither the load nor a latency limit is stated"
    return None
