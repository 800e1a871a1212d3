"""Conditions that a document states once for many rows: load, batch, cache type, layouts.

Each function below belongs to one document and cites where it says so. Nothing here depends on a measured
value, except the load of a run whose source prints rate and latency (Little's law, said in ``assumed``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from dougong.backtest.case import Case, PhaseLayout

TRTLLM_REQUESTS = {
    (128, 128): 30_000, (128, 2048): 3_000, (128, 4096): 1_500, (500, 2000): 3_000, (1000, 1000): 3_000,
    (1000, 2000): 1_500, (1024, 1024): 3_000, (1024, 8192): 1_500, (1024, 32768): 1_000, (2048, 128): 3_000,
    (2048, 2048): 1_500, (5000, 500): 1_500, (8192, 1024): 1_500, (20000, 2000): 1_000, (32768, 1024): 1_000,
}  # fmt: skip
"""Requests of a run by (input, output) length: TensorRT-LLM perf-overview.md, "Preparing a Dataset"."""

INFERENCEX_MEAN_FRAC = 0.9
"""InferenceX draws lengths uniformly from 80 to 100 % of the nominal (its ``random_range_ratio`` is 0.8)."""


def conditions_of(case: Case, workload: str) -> Case:
    """The case with what its document says elsewhere."""
    for words, rule in _RULES:
        if words in case.source.document or words in f"{case.source.document} {case.source.section}":
            case = rule(case, workload)
    return case


def little(case: Case) -> Case:
    """Requests in flight from the printed rate and latency, where the load itself is not stated.

    Notes
    -----
    Little's law: requests in flight = request rate * (TTFT + TPOT * (output tokens - 1)).
    """
    unsaid = case.concurrency is None and case.batch_per_device is None and case.requests is None
    tpot, output = case.measured.get("tpot_s"), case.output_tokens
    rate = case.measured.get("output_tokens_per_s_per_chip")
    if rate is None and output is not None and case.prompt_tokens is not None:
        total = case.measured.get("total_tokens_per_s_per_chip")
        rate = None if total is None else total * output / (output + case.prompt_tokens)
    chips = sum(case.chips.values())
    if not (unsaid and tpot and rate and output and chips):
        return case
    seconds = case.measured.get("ttft_s", 0.0) + tpot * (output - 1)
    users = max(1, round(rate * chips / output * seconds))
    note = f"the load is not stated; {users} requests in flight follow from rate and latency (Little's law)"
    return replace(case, concurrency=users, assumed=(*case.assumed, note))


def inferencex(case: Case) -> Case:
    """What the InferenceX launch scripts say: ten times as many requests as in flight, offered at once.

    References
    ----------
    SemiAnalysisAI/InferenceX, benchmarks/*.sh at 1fc5d73: ``--num-prompts $((CONC * 10))``, cache types and
    token budgets per engine, model and chip.
    """
    notes = list(case.assumed)
    family, engine = case.family, case.engine.lower()
    blackwell = any(word in case.chip for word in ("b200", "b300"))
    precision, budget = case.precision, case.prefill_batch_tokens
    kv = precision.kv
    if "vllm" in engine:
        budget = budget or 8192
        if (family == "gpt-oss" and blackwell) or (family == "llama" and precision.weights == "fp8_e4m3"):
            kv = "fp8_e4m3"
        if family == "gpt-oss":
            precision = replace(precision, activations="mxfp8" if blackwell else "bf16")
    elif "sglang" in engine and family == "deepseek":
        budget = budget or (16384 if blackwell else 32768)
        kv = "fp8_e4m3" if blackwell else kv
    elif "trtllm" in engine or "tensorrt" in engine:
        prompt, users = case.prompt_tokens or 0, case.concurrency or 0
        budget = budget or (
            20_000 if family == "gpt-oss" else max(8192, -(-(users + prompt + 64) // 64) * 64)
        )
        kv = "fp8_e4m3" if family in ("deepseek", "gpt-oss") else kv
    if kv != precision.kv or budget != case.prefill_batch_tokens:
        notes.append("cache type and token budget are those of the InferenceX launch scripts")
    requests = case.requests or (10 * case.concurrency if case.concurrency else None)
    return replace(
        case,
        precision=replace(precision, kv=kv),
        prefill_batch_tokens=budget,
        requests=requests,
        assumed=tuple(notes),
    )


def drawn_lengths(case: Case) -> Case:
    """Mean lengths of an InferenceX run, whose nominal lengths are upper ends."""
    if case.prompt_tokens is None or case.output_tokens is None:
        return case
    note = "lengths are drawn from 80 to 100 % of the nominal; the mean is taken"
    return replace(
        case,
        prompt_tokens=round(case.prompt_tokens * INFERENCEX_MEAN_FRAC),
        output_tokens=round(case.output_tokens * INFERENCEX_MEAN_FRAC),
        printed={**case.printed, "isl": case.prompt_tokens, "osl": case.output_tokens},
        assumed=(*case.assumed, note),
    )


def _trtllm_overview(case: Case, workload: str) -> Case:
    """perf-overview.md: every request queued at once; FP8 cache but for gpt-oss on Hopper.

    There the experts meet 16-bit activations, whatever the column is called: examples/models/core/gpt_oss/README.md,
    "MoE Support Matrix".
    """
    prompt, output = case.prompt_tokens or 0, case.output_tokens or 0
    hopper_oss = case.family == "gpt-oss" and any(word in case.chip for word in ("h100", "h200"))
    precision = replace(case.precision, kv="fp8_e4m3")
    if hopper_oss:
        precision = replace(case.precision, activations=None, kv=None)
    assumed = tuple(note for note in case.assumed if "FP8 cache" not in note)
    requests = TRTLLM_REQUESTS.get((prompt, output))
    return replace(case, saturated=True, requests=requests, precision=precision, assumed=assumed)


def _inferencex_rows(case: Case, workload: str) -> Case:
    if "gap-analysis" in workload:
        return case
    return drawn_lengths(inferencex(case))


def _cloudmatrix(case: Case, workload: str) -> Case:
    """Table 2 of arXiv 2506.12708: 16,384 tokens per accelerator for every row but the production average.

    Its own system runs micro-batches in prefill and decode (sections 4.2.3 and 4.3.2), as the quoted ones do.
    """
    case = replace(case, micro_batches=True)
    quoted = case.chip.startswith("nvidia") and set(case.layouts) == {"prefill"} and "blog" not in case.engine
    return replace(case, prefill_batch_tokens=16_384) if quoted else case


def _large_scale_ep(case: Case, workload: str) -> Case:
    """Tables under "Overall Throughput": 16,384 tokens per device; cached length is the input length.

    Two batches overlap in prefill and decode ("Two-batch Overlap").
    """
    case = replace(case, micro_batches=True)
    if set(case.layouts) == {"prefill"}:
        return replace(case, prefill_batch_tokens=case.prefill_batch_tokens or 16_384)
    acceptance = 0.6 if case.kind == "measured_with_simulated_acceptance" else case.acceptance
    return replace(case, context_tokens=case.context_tokens or case.prompt_tokens, acceptance=acceptance)


def _gb200_part_1(case: Case, workload: str) -> Case:
    """Decode nodes are kept saturated; the batch is what memory holds, and is not printed."""
    note = "decode nodes are kept saturated; the batch is read as the largest that fits"
    return replace(
        case,
        saturated=True,
        context_tokens=case.context_tokens or case.prompt_tokens,
        assumed=(*case.assumed, note),
    )


def _deepseek_profile(case: Case, workload: str) -> Case:
    """profile-data README: 16K tokens per GPU in prefill, routing forced even, two micro-batches overlap."""
    tokens = 16_384 if set(case.layouts) == {"prefill"} else None
    case = replace(case, balanced_experts=True, micro_batches=True)
    return replace(case, prefill_batch_tokens=case.prefill_batch_tokens or tokens)


def _deepseek_production(case: Case, workload: str) -> Case:
    """open-infra-index day 6: users see 20 to 22 tokens/s, so a decode rate tells the sequences in flight.

    Two micro-batches overlap in both phases ("Computation-Communication Overlapping").
    """
    case = replace(case, micro_batches=True)
    rate = case.measured.get("decode_tokens_per_s_per_chip")
    if rate is None or case.batch_per_device is not None:
        return replace(case, prefill_batch_tokens=case.prefill_batch_tokens or 16_384)
    note = (
        "sequences in flight follow from the printed decode rate at 20 to 22 tokens/s per user (Little's law)"
    )
    return replace(case, batch_per_device=round(rate / 21, 1), assumed=(*case.assumed, note))


def _one_batch(case: Case, workload: str) -> Case:
    """Static batches: all requests start together, and none comes after (Optimum Habana's text-generation example)."""
    return replace(case, requests=case.requests or case.concurrency)


def _vllm_posts(case: Case, workload: str) -> Case:
    if "2025-11-11" in case.source.section:
        # As many prompts as the column says, at --request-rate inf: its "vllm bench serve" command.
        return replace(case, requests=case.requests or case.concurrency)
    if "2026-02-03" in case.source.section:
        # DP and EP everywhere; the batch fills memory; FP4 experts and output projection, FP8 in MLA.
        note = "the decode batch fills GPU memory, as the post says of its other workloads"
        precision = replace(case.precision, weights="fp8_e4m3", kv=case.precision.kv)
        return replace(case, saturated=True, precision=precision, assumed=(*case.assumed, note))
    if "2026-02-13" in case.source.section:
        budget = (
            20_480 if "v3.2" in case.model else 32_768
        )  # --max-num-batched-tokens, "Optimized Configurations"
        changed = replace(case, prefill_batch_tokens=case.prefill_batch_tokens or budget)
        if case.concurrency is None:
            note = "the highest point of a sweep over concurrency; the load is read as saturation"
            changed = replace(changed, saturated=True, assumed=(*case.assumed, note))
        total = changed.measured.get("total_tokens_per_s_per_chip")
        if total is not None and case.output_tokens != 1:
            measured = {k: v for k, v in changed.measured.items() if not k.startswith("total")}
            note = "the post calls this figure output throughput, per GPU"
            changed = replace(
                changed,
                measured={**measured, "output_tokens_per_s_per_chip": total},
                assumed=(*changed.assumed, note),
            )
        return changed
    return case


def _infersim(case: Case, workload: str) -> Case:
    """InferSim example scripts at f2293da: prefill on one GPU, 16,384 tokens; decode batch, world size."""
    if case.family != "qwen":
        return case
    decode = case.layouts.get("decode") or case.layouts.get("all")
    found = re.search(r"^(\d+)x ", case.system)
    size = int(found[1]) if found else 1
    if decode is None:
        decode = PhaseLayout.of(attn_dp=size, ep=size)
    layouts = {"prefill": PhaseLayout(), "decode": decode}
    note = "layouts and batch are those of the example scripts: prefill on one GPU, decode on all"
    return replace(
        case, layouts=layouts, chips={"prefill": 1.0, "decode": float(size)}, prefill_batch_tokens=16_384,
        batch_per_device=case.batch_per_device or 64.0, assumed=(note,), refused=None,
    )  # fmt: skip


def _rate_limited(case: Case, workload: str) -> Case:
    """Nightly configurations print an offered rate; 0 and None mean as fast as possible."""
    found = re.search(r"request rate (\d+(?:\.\d+)?)", case.note)
    rate = float(found[1]) if found else 0.0
    return replace(case, rate_requests_per_s=rate) if rate > 0 else case


_SGLANG_ASCEND_DEPTHS = {
    "R1 W4A8 8 cards": 3, "V4-Flash": 2, "GLM-5.1": 3, "Kimi-K2.6 EAGLE3": 4, "Qwen3-235B EAGLE3": 3, "Qwen3-8B": 3,
    "Qwen3-14B": 3, "Qwen3-32B A2": 3, "MiniMax-M2.5": 3,
}  # fmt: skip


_SGLANG_ASCEND_ACCEPTANCE = {
    "deepseek-r1": 0.78, "qwen3-235b-a22b": 0.8, "qwen3-30b-a3b": 0.85, "qwen3-32b": 0.52,
}  # fmt: skip


def _sglang_ascend(case: Case, workload: str) -> Case:
    """Launch arguments of the tests: every one drafts, ``--speculative-num-steps`` tokens a step.

    Files of test/registered/ascend/performance at 124afaf, Qwen3-14B at 04c928a, V4-Flash at 9bc129a, Qwen3-32B on A2
    at bb67879, with the load, lengths and limits of these rows. Qwen3-14B runs two replicas, ``--dp-size 2``.

    Acceptance is that of the same launches in docs/platforms/ascend_npu_best_practice.md, which prints accepted lengths
    of 2.82 to 2.87, 2.83 to 3.20 and 3.17 at three drafted tokens, and 1.69 to 2.15 at three and four.
    """
    depth = next(
        (n for name, n in _SGLANG_ASCEND_DEPTHS.items() if case.source.section.startswith(name)), None
    )
    if depth is not None:
        said = tuple(note for note in case.assumed if "depth that is not stated" not in note)
        case = replace(case, draft_tokens=depth, assumed=said)
    if case.draft_tokens and case.acceptance is None:
        case = replace(case, acceptance=_SGLANG_ASCEND_ACCEPTANCE.get(case.model))
    rate, placed = case.measured.get("output_tokens_per_s_per_chip"), case.layouts.get("all")
    if case.source.section != "Qwen3-14B" or rate is None or placed is None or placed.replicas > 1:
        return case
    chips = {"all": 2.0 * case.chips["all"]}
    measured = {**case.measured, "output_tokens_per_s_per_chip": rate / 2.0}
    return replace(case, layouts={"all": replace(placed, replicas=2)}, chips=chips, measured=measured)


def _gpustack(case: Case, workload: str) -> Case:
    """performance-lab pages: where script and hardware line disagree, the script ran.

    The 910B page of Qwen3-30B-A3B says one card and starts two: 61 GB of weights leave no cache on one of 64 GiB.
    """
    found, placed = re.search(r"script shows TP(\d)", case.note), case.layouts.get("all")
    if found is None or placed is None or placed.devices != 1:
        return case
    width = int(found[1])
    rates = {name: value / width for name, value in case.measured.items() if name.endswith("per_chip")}
    note = f"TP{width}, as the script of the page starts it; its hardware line says one device"
    return replace(
        case, layouts={"all": PhaseLayout.of(tp=width)}, chips={"all": float(width)},
        system=f"{width}x {case.chip}", measured={**case.measured, **rates}, assumed=(*case.assumed, note),
    )  # fmt: skip


_Rule = Callable[[Case, str], Case]
_RULES: tuple[tuple[str, _Rule], ...] = (
    ("NVIDIA/TensorRT-LLM docs", _trtllm_overview),
    ("aiconfigurator silicon_sample", _inferencex_rows),
    ("arXiv 2506.12708", _cloudmatrix),
    ("2025-05-05-large-scale-ep", _large_scale_ep),
    ("2025-06-16-gb200-part-1", _gb200_part_1),
    ("deepseek-ai/profile-data", _deepseek_profile),
    ("deepseek-ai/open-infra-index", _deepseek_production),
    ("vllm-project.github.io _posts", _vllm_posts),
    ("alibaba/InferSim", _infersim),
    ("Gaudi 3 model-performance", _one_batch),
    ("vllm-project/vllm-ascend", _rate_limited),
    ("sglang test/ Ascend CI", _sglang_ascend),
    ("gpustack/gpustack docs/performance-lab", _gpustack),
)
