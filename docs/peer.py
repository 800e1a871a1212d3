"""Predictions of aiconfigurator for a seeded sample of rows, kept in docs/data/peer-aiconfigurator.csv."""

import csv
import json
import math
import random
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from dougong.backtest.case import Case

HERE = Path(__file__).parent
KEPT = HERE / "data" / "peer-aiconfigurator.csv"
COLUMNS = ("id", "version", "ttft_ms", "tpot_ms", "modes", "error")
SAMPLE, SEED = 200, "aiconfigurator 0.12.0"
NAMES = {  # a label of the rows -> the name that the peer ships a configuration of
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Meta-Llama-3.1-8B",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-R1",
    "nvidia/Qwen3-32B-NVFP4": "Qwen/Qwen3-32B",
    "zhipuai/GLM-5": "zai-org/GLM-5-FP8",
}
OSS_MODES = (("bfloat16", "w4a16_mxfp4"), ("bfloat16", "w4a8_mxfp4_mxfp8"))  # of gpt-oss; its rows name none


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a CSV as they stand, by id."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def sample(cases: list[Case], kept: Collection[str]) -> list[Case]:
    """The rows that are asked: one pool for prefill and decode, a layout that can be.

    Rows of an earlier draw stay in it: a row that a reader refuses today must not change all others.
    """
    fit = sorted((case for case in cases if set(case.layouts) == {"all"}), key=lambda case: case.id)
    drawn = [case for case in fit if case.id in kept]
    others = [case for case in fit if case.id not in kept]
    return drawn + random.Random(SEED).sample(others, min(max(SAMPLE - len(drawn), 0), len(others)))


def tries(case: Case, row: dict[str, str]) -> list[dict[str, object]]:
    """Arguments for the peer: our reading of layout, lengths and load; the row's data types, else the peer's own."""
    placed = case.layouts["all"]
    cut = placed.layout
    base: dict[str, object] = {
        "model_path": NAMES.get(row["model_path"], row["model_path"]), "system_name": row["system"],
        "backend_name": row["backend"], "isl": case.prompt_tokens, "osl": case.output_tokens,
        "batch_size": math.ceil((case.concurrency or 1) / (cut.attn_dp * placed.replicas)), "tp_size": cut.tp,
        "pp_size": cut.pp, "attention_dp_size": cut.attn_dp,
    }  # fmt: skip
    if cut.ep > 1 or row["moe_tp_size"] or row["moe_ep_size"]:
        base |= {"moe_tp_size": cut.expert_tp, "moe_ep_size": cut.ep}
    stated = (row["gemm_quant_mode"], row["moe_quant_mode"])
    modes = [stated] if any(stated) else []
    modes += [("", ""), *(OSS_MODES if "gpt-oss" in row["model_path"] else ())]
    named = [{"gemm_quant_mode": gemm, "moe_quant_mode": moe} for gemm, moe in modes]
    return [{**base, **{key: word for key, word in pair.items() if word}} for pair in named]


def ask(environment: Path, cases: list[Case], rows: dict[str, dict[str, str]]) -> None:
    """Ask for the rows of the sample that are not kept yet, and keep the answers."""
    kept = {row["id"]: row for row in read()}
    wanted = [case for case in sample(cases, kept) if case.id not in kept]
    asked = [{"id": case.id, "tries": tries(case, rows[case.id])} for case in wanted]
    python = environment / "bin" / "python"
    worker = subprocess.Popen(
        [str(python), str(HERE / "peer_rows.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker:
        worker.stdin.write(json.dumps(asked))
        worker.stdin.close()
        for count, line in enumerate(worker.stdout, 1):
            found = json.loads(line)
            kept[found["id"]] = {name: "" if found[name] is None else found[name] for name in COLUMNS}
            print(f"\rpeer: {count} of {len(asked)} rows", end="", file=sys.stderr)
    print(file=sys.stderr)
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in sorted(kept):
            row = kept[name]
            for time in ("ttft_ms", "tpot_ms"):
                row[time] = f"{float(row[time]):.5g}" if row[time] not in ("", None) else ""
            writer.writerow(row)


def read() -> list[dict[str, str]]:
    """The answers that are kept."""
    return list(rows_of(KEPT).values()) if KEPT.exists() else []
