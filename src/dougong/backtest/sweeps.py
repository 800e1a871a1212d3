"""What the sweeps of InferenceX say of a row and no column does: drafted tokens, and loads that were never run.

Notes
-----
InferenceX runs DeepSeek-R1 twice, without and with its own draft module, and keeps each sweep in a file of its own:
lengths, widths and loads per container image. The sample holds rows of two dumps under two labels. Those labelled
``DeepSeek-V3`` are runs without drafting only. In those labelled ``DeepSeek-R1`` a run with drafting took the place of
one of equal layout and load, so there a row is drafted where the sweep with drafting of its image has its point.

gpt-oss-120b on H100 under vLLM was swept from 4 to 64 requests at every image. The sample has rows of 512 requests,
whose TPOT is a third of that at 64: what ran there is not known.

References
----------
SemiAnalysisAI/InferenceX, ``.github/configs/nvidia-master.yaml``: entries ``dsr1-*-trt-mtp`` at bf34567, 5d51707 and
0aae52d, ``dsr1-fp8-b200-sglang-mtp`` at e62c6ac and 12ba0ae, ``gptoss-fp4-h100-vllm`` from 7103d66 to 626932a;
depths in ``benchmarks/dsr1_*_mtp*.sh`` at the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

from dougong.backtest.case import Case

_TRT_DEPTH, _TRT_DEPTH_DP, _SGLANG_DEPTH = 3, 1, 2
"""Drafted tokens per step: TensorRT-LLM without and with data-parallel attention, SGLang."""

# (chip, experts, image) -> "in/out: devices[e experts][d]*lowest-highest load ..."; d is data-parallel attention.
_SWEEPS = {
    ("nvidia-h200-sxm", "fp8_e4m3", "trtllm 1.1.0rc2.post2"): """
        1024/1024: 8e8*4-64 8e8d*128-256
        1024/8192: 8e8*4-128 8e8d*256-256
        8192/1024: 8e8*4-32 8e8d*64-256""",
    ("nvidia-b200-sxm", "fp8_e4m3", "trtllm 1.1.0rc2.post2"): """
        1024/1024: 8e8*4-32 8e8d*64-256
        1024/8192: 8e8*4-64 8e8d*128-256
        8192/1024: 8e8*4-32 8e8d*64-256""",
    ("nvidia-b200-sxm", "nvfp4", "trtllm 1.1.0rc2.post2"): """
        1024/1024: 4*4-8 4e4*16-64 4e4d*128-256 8*4-8 8e8*16-32 8e8d*64-256
        1024/8192: 4*4-16 4e4*32-64 4e4d*128-256 8*4-4 8e8*8-64 8e8d*128-256
        8192/1024: 4*4-16 4e4d*32-256 8*4-16 8e8d*32-256""",
    ("nvidia-b200-sxm", "fp8_e4m3", "trtllm 1.2.0rc6.post3"): """
        1024/1024: 8*4-128 8e8d*256-256
        1024/8192: 8*4-64 8e8d*128-256
        8192/1024: 8*4-256""",
    ("nvidia-b200-sxm", "nvfp4", "trtllm 1.2.0rc6.post3"): """
        1024/1024: 4*4-8 4e4d*256-256 8*4-4 8*128-128 8e8*32-128 8e8d*32-64
        1024/8192: 4*16-16 4e4*8-8 4e4d*256-256 8*4-8 8e8*32-64 8e8d*128-256
        8192/1024: 4*4-16 4e4*32-32 4e4d*256-256 8*4-4 8e8d*64-256""",
    ("nvidia-b200-sxm", "fp8_e4m3", "sglang 0.5.8"): """
        1024/1024: 8*4-512
        1024/8192: 8*4-512
        8192/1024: 8*4-512""",
}
_SWEEPS["nvidia-b200-sxm", "fp8_e4m3", "sglang 0.5.9"] = _SWEEPS[
    "nvidia-b200-sxm", "fp8_e4m3", "sglang 0.5.8"
]


_MOST_USERS = {("gpt-oss-120b", "nvidia-h100-sxm", "vllm"): 64}


def swept(case: Case, label: str, experts: str) -> Case:
    """The case as the sweeps of its source ran it; refused where none did. Parameters as in :func:`drafted`."""
    most = _MOST_USERS.get((case.model, case.chip, case.engine.split(" ")[0]), math.inf)
    if case.refused is None and (case.concurrency or 0) > most:
        why = (
            f"load: {case.concurrency} requests in flight are in no sweep of the source, which ends at {most}"
        )
        return replace(case, refused=why)
    return drafted(case, label, experts)


def drafted(case: Case, label: str, experts: str) -> Case:
    """The case with the drafting of its run.

    Parameters
    ----------
    case
        A row read with its nominal lengths.
    label
        The model as the file prints it.
    experts
        Stored dtype of the routed experts, a word of ``DTYPE_BITS``.
    """
    placed = case.layouts.get("all")
    if not label.endswith("DeepSeek-R1") or placed is None or placed.replicas > 1:
        return case
    cut, engine = placed.layout, case.engine.split(" ")[0]
    for image in case.engine.removeprefix(engine).strip().split("/"):
        sweep = _SWEEPS.get((case.chip, experts, f"{engine} {image}"), "")
        widths = f"{cut.devices}{f'e{cut.ep}' if cut.ep > 1 else ''}{'d' if cut.attn_dp > 1 else ''}"
        if _has(sweep, f"{case.prompt_tokens}/{case.output_tokens}", widths, case.concurrency or 0):
            depth = _SGLANG_DEPTH if engine == "sglang" else _TRT_DEPTH_DP if cut.attn_dp > 1 else _TRT_DEPTH
            note = f"its point stands in the InferenceX sweep with drafted tokens: {depth} per step"
            return replace(case, draft_tokens=depth, assumed=(*case.assumed, note))
    return case


def _has(sweep: str, lengths: str, widths: str, users: int) -> bool:
    for line in sweep.split("\n"):
        head, _, points = line.strip().partition(": ")
        for point in points.split() if head == lengths else ():
            named, _, loads = point.partition("*")
            low, _, high = loads.partition("-")
            if named == widths and int(low) <= users <= int(high):
                return True
    return False
