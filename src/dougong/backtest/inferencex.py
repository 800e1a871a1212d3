"""Reads InferenceX rows as CSV: nominal lengths, concurrency, layout degrees, TTFT and TPOT.

Notes
-----
The columns carry traps, each undone here by a rule and said in ``assumed``:

- ``DeepSeek-V3`` means DeepSeek-R1;
- the width of an expert-parallel row is multiplied by itself (TP8 EP8 stands as ``tp 64, moe_tp 8,
  moe_ep 8``; its TTFT and TPOT equal those of the TP8 rows);
- flattened disaggregated runs stand among the aggregated ones as ``tp 36`` or ``tp 72``;
- the batch is per rank on data-parallel rows, so the concurrency is read, and its ratio to the batch tells
  the ranks where their column is empty;
- TTFT holds the queue of a burst;
- drafted tokens have no column, and a few loads were in no sweep (:mod:`dougong.backtest.sweeps`).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

from dougong.backtest.case import Case, CaseFile, CaseSource, PhaseLayout
from dougong.backtest.documents import drawn_lengths, inferencex
from dougong.backtest.rows import Faults, Row, read_text
from dougong.backtest.serving import system_of
from dougong.backtest.sweeps import swept
from dougong.backtest.words import engine_class_of, looks_dense, model_id, precision_of
from dougong.errors import InputError

CHIPS = {
    "a100_sxm": "nvidia-a100-sxm-80", "h100_sxm": "nvidia-h100-sxm", "h200_sxm": "nvidia-h200-sxm",
    "b200_sxm": "nvidia-b200-sxm", "b300_sxm": "nvidia-b300-sxm", "gb200": "nvidia-gb200",
    "gb300": "nvidia-gb300", "l40s": "nvidia-l40s", "b60": "intel-arc-pro-b60",
    "mi300x": "amd-mi300x", "mi325x": "amd-mi325x", "mi355x": "amd-mi355x",
}  # fmt: skip
REQUIRED = (
    "id",
    "backend",
    "model_path",
    "system",
    "mode",
    "isl",
    "osl",
    "concurrency",
    "ttft_ms",
    "tpot_ms",
)
MAX_ROWS = 1_000_000
_INFERENCEX_FAMILIES = ("deepseek", "gpt-oss", "minimax", "kimi", "glm", "qwen3.5", "llama-3.1-70b")
_SOURCE = CaseSource(
    document="ai-dynamo/aiconfigurator silicon_sample.csv",
    publisher="NVIDIA (InferenceX and Dynamo runs), Apache-2.0",
)
_MAX_WIDTH = 16


def from_inferencex(path: Path | str) -> CaseFile:
    """Read a CSV of InferenceX rows.

    Parameters
    ----------
    path
        Columns as in aiconfigurator's ``silicon_sample.csv``; further columns are ignored.

    Returns
    -------
    CaseFile
        One case per row; rows whose topology cannot be is refused with the reason, broken rows are faults.

    Raises
    ------
    InputError
        If the file cannot be read or a needed column is missing.
    """
    path, faults = Path(path), Faults()
    text = read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    cases: list[Case] = []
    seen: dict[str, int] = {}
    try:
        missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}: columns missing: {', '.join(missing)}")
        for raw in reader:
            place = f"line {reader.line_num}"
            if len(seen) >= MAX_ROWS:
                faults.add(place, f"more than {MAX_ROWS} rows; the rest is left out")
                break
            if None in raw or None in raw.values():
                faults.add(place, "the number of fields differs from the header's")
                continue
            case = _case(
                Row({key: value for key, value in raw.items() if isinstance(key, str)}, place, faults)
            )
            if case is None:
                continue
            if case.id in seen:
                faults.add(place, f"id {case.id!r} stands on line {seen[case.id]} already")
                continue
            seen[case.id] = reader.line_num
            cases.append(case)
    except csv.Error as error:
        faults.add(f"line {reader.line_num}", f"not CSV ({error}); the rest of the file is left out")
    return CaseFile(path=str(path), kind="inferencex", cases=tuple(cases), faults=faults.report())


def _case(row: Row) -> Case | None:
    identity, backend = row.text("id", required=True), row.text("backend", required=True)
    label, machine = row.text("model_path", required=True), row.text("system", required=True)
    mode, version = row.text("mode", required=True), row.text("backend_versions")
    chip = CHIPS.get(machine)
    if machine and chip is None:
        row.fault(f"system {machine!r} is not known; known: {', '.join(CHIPS)}")
    if mode not in ("agg", "disagg", ""):
        row.fault(f"mode must be agg or disagg, is {mode!r}")
    prompt, output = row.count("isl", required=True), row.count("osl", required=True)
    ttft = row.number("ttft_ms", low=1e-6, high=1e9, required=True)
    tpot = row.number("tpot_ms", low=1e-6, high=1e9, required=True)
    model = model_id(label)
    layouts, notes, refused = _layouts(row, mode, dense=looks_dense(model))
    users, counted = _concurrency(row, layouts)
    if not row.ok or chip is None or ttft is None or tpot is None:
        return None
    precision, assumed = precision_of(_precision_word(row), model=model, engine=backend)
    if model == "deepseek-v3":
        model, assumed = "deepseek-r1", (*assumed, "the label DeepSeek-V3 means DeepSeek-R1 in this file")
    chips = {phase: float(placed.devices) for phase, placed in layouts.items()}
    case = Case(
        id=identity,
        model=model,
        system=system_of(chip, max(1, round(sum(chips.values())))),
        chip=chip,
        engine=f"{backend} {version}".strip(),
        engine_class=engine_class_of(backend, chip=chip),
        precision=precision,
        layouts=layouts,
        chips=chips,
        prompt_tokens=prompt,
        output_tokens=output,
        concurrency=users,
        measured={"ttft_s": ttft / 1e3, "tpot_s": tpot / 1e3},
        printed={"ttft_ms": ttft, "tpot_ms": tpot},
        source=replace(_SOURCE, section=f"row {identity}"),
        assumed=tuple(dict.fromkeys([*notes, *counted, *assumed])),
        refused=refused or (None if users else "the number of requests in flight is not stated"),
    )
    if any(case.model.startswith(family) for family in _INFERENCEX_FAMILIES):
        experts = precision.experts or ("fp8_e4m3" if model.startswith("deepseek") else "")
        case = drawn_lengths(inferencex(swept(case, label, experts)))
    return case


def _precision_word(row: Row) -> str:
    words = row.text("gemm_quant_mode"), row.text("moe_quant_mode"), row.text("precision")
    if "nvfp4" in words[:2]:
        return "nvfp4"
    if "int4_wo" in words[:2]:
        return "int4"
    return "fp8" if words[2] == "fp8" else words[2] or "native"


def _concurrency(row: Row, layouts: dict[str, PhaseLayout]) -> tuple[int | None, list[str]]:
    """Requests in flight; where the column is empty, the batch of every decoding rank together."""
    users = row.count("concurrency")
    if users is not None:
        return users, []
    placed = layouts.get("decode") or layouts.get("all")
    batch = row.count("decode_batch_size" if "decode" in layouts else "batch_size")
    if placed is None or batch is None:
        return None, []
    ranks = placed.layout.attn_dp * placed.replicas
    return batch * ranks, [f"requests in flight are read as the batch of {ranks} ranks together"]


def _layouts(row: Row, mode: str, *, dense: bool) -> tuple[dict[str, PhaseLayout], list[str], str | None]:
    """Layouts by phase with notes, or none and the reason."""
    layouts: dict[str, PhaseLayout] = {}
    notes: list[str] = []
    for prefix in ("",) if mode == "agg" else ("prefill_", "decode_"):
        degrees = _Degrees.of(row, prefix)
        placed = degrees.place(notes, dense=dense)
        if isinstance(placed, str):
            return {}, [], f"{prefix.rstrip('_') or 'layout'}: {placed}"
        layouts[prefix.rstrip("_") or "all"] = placed
    return layouts, notes, None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Degrees:
    """The degrees of one phase as the file prints them; 0 is unset."""

    tp: int
    pp: int
    dp: int
    moe_tp: int
    ep: int
    workers: int  # 1 on aggregated rows
    ranks: int  # concurrency over batch: how many ranks share the load
    dp_said: bool  # whether the data-parallel column is filled

    @classmethod
    def of(cls, row: Row, prefix: str) -> _Degrees:
        def read(name: str) -> int:
            return row.count(f"{prefix}{name}", low=0, high=4096) or 0

        users, batch = row.count("concurrency") or 0, 0 if prefix else row.count("batch_size") or 0
        return cls(
            tp=read("tp_size"),
            pp=read("pp_size") or 1,
            dp=read("attention_dp_size"),
            moe_tp=read("moe_tp_size"),
            ep=read("moe_ep_size"),
            workers=read("num_workers") if prefix else 1,
            ranks=users // batch if users and batch and users % batch == 0 else 1,
            dp_said=bool(row.text(f"{prefix}attention_dp_size")),
        )

    def place(self, notes: list[str], *, dense: bool) -> PhaseLayout | str:
        """The layout, notes added; or why it cannot be."""
        tp, dp, ep, pp, workers = self.tp, max(1, self.dp), max(1, self.ep), self.pp, self.workers
        if tp == 0:
            return "no tensor-parallel degree"
        if workers == 0:
            return "the number of workers is not stated"
        if dense:
            copies = dp if dp > 1 else self.ranks
            if copies > 1:
                notes.append("data parallelism of a dense model is read as replicas")
            return PhaseLayout.of(tp=tp, pp=pp, replicas=workers * copies)
        experts = max(1, self.moe_tp) * ep
        if self.dp_said and self.moe_tp == ep > 1 and tp * dp == experts:
            notes.append(
                f"{experts} stands for {ep} devices: the file multiplies the expert degree by itself"
            )
            width = {"attn_dp": ep} if dp > 1 else {"tp": ep}
            return PhaseLayout.of(**width, ep=ep, pp=pp, replicas=workers)
        if tp == dp > 1 and self.moe_tp <= 1 and ep == tp * dp:
            notes.append(f"TP{tp} with attention DP{dp} is {dp} devices")
            return PhaseLayout.of(attn_dp=dp, ep=dp, pp=pp, replicas=workers)
        if tp > _MAX_WIDTH or tp & (tp - 1):
            return f"TP{tp} is a disaggregated run flattened into one number"
        if dp == 1 < self.ranks <= tp and tp % self.ranks == 0:
            notes.append(f"the batch is per rank: attention DP{self.ranks} within TP{tp}")
            tp, dp = tp // self.ranks, self.ranks
        elif self.dp == 0 and experts > tp and experts % tp == 0:
            dp = experts // tp
            notes.append(f"attention DP{dp} follows from {experts} expert devices")
        return self._product(tp, dp, experts, notes)

    def _product(self, tp: int, dp: int, experts: int, notes: list[str]) -> PhaseLayout | str:
        width, ep = tp * dp, max(1, self.ep)
        if experts != width:
            if experts != 1:
                return f"attention spans {width} devices and experts {experts}"
            notes.append(f"expert degrees are unset; tensor parallelism over {width} devices is taken")
        if ep == 1 and dp > 8:
            ep = width
            notes.append(f"expert parallelism over {width} devices is assumed, as wide attention DP runs it")
        return PhaseLayout.of(tp=tp, attn_dp=dp, pp=self.pp, ep=ep, replicas=self.workers)
