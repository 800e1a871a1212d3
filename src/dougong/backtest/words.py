"""Turns the labels of publications (models, chips, precisions, engines) into our words."""

from __future__ import annotations

import re

from dougong.backtest.case import Precision

_MODEL_NAMES = {
    "deepseek-v3/r1": "deepseek-r1",
    "deepseek-r1-671b": "deepseek-r1",
    "deepseek-v3-671b": "deepseek-v3",
    "deepseek-v3.1-terminus": "deepseek-v3.1",
    "llama2-70b": "llama-2-70b",
    "llama2-7b": "llama-2-7b",
    "llama3-8b": "llama-3-8b",
    "llama3-70b": "llama-3-70b",
    "llama3.1-8b": "llama-3.1-8b",
    "llama3.1-70b": "llama-3.1-70b",
    "llama3.1-405b": "llama-3.1-405b",
}
_TAILS = re.compile(
    r"(?:-99(?:\.9)?"  # MLPerf's accuracy class
    r"|-w\d+a\d+(?:c\d+)?(?:sc)?|-c8|-quarot|-mtp|-310[a-z]*|-vllm|-tp\d+|-bf16|-fp16|-fp8|-nvfp4|-fp4|-mxfp4|-int[48]"
    r"|-instruct(?:-hf)?|-chat-hf|-hf|-v\d)+$"
)
_KEEP = ("qwen-7b-chat", "deepseek-v2", "deepseek-v3", "gpt-oss", "mixtral-8x7b-v0.1")


def model_id(label: str) -> str:
    """The catalog's short name for a published model label; quantisation and task suffixes go.

    Examples
    --------
    >>> model_id("DeepSeek-R1-0528-w8a8-mtp-QuaRot")
    'deepseek-r1-0528'
    >>> model_id("DeepSeek-R1 (labelled DeepSeek-V3 in the file)")
    'deepseek-r1'
    """
    name = re.sub(r"\s*\(.*?\)", "", label).strip().lower()
    name = re.sub(r"\s+class$", "", name)
    if name.startswith("deepseek-v3/"):
        return "deepseek-r1"
    name = name.rsplit("/", 1)[-1].replace("meta-llama-", "llama-").replace(" ", "-")
    while (shorter := _TAILS.sub("", name)) != name and not re.search(r"-v\d$", name):
        name = shorter
    return _MODEL_NAMES.get(name, name)


_DENSE = re.compile(
    r"llama-?[23]|codellama|qwen[23]?(?:\.5)?-[\d.]+b(?:-chat)?$|mistral-7b|mistral-nemo|yi-34b|chatglm|gemma|smollm|olmo|mimo-7b"
)


def looks_dense(model: str) -> bool:
    """Whether a model name is of a family without routed experts; used only where the source does not say."""
    return _DENSE.search(model) is not None


def engine_class_of(engine: str, *, kind: str = "", chip: str = "") -> str:
    """Engine class of an engine as printed.

    Regression gates are a class of their own whatever runs below them: they say what a nightly run must not
    fall under, not what was reached. A young port of an engine is told by the engine's name, or by the chip.
    Engines that a chip's vendor (or a model's owner) writes for its own use are vendor-tuned.
    """
    name = engine.lower()
    if kind in ("ci_floor", "ci_baseline"):
        return "ci-floor"
    if "llama.cpp" in name or "ktransformers" in name:
        return "llama-cpp"
    if "cpu" in name or (chip.startswith(("intel-xeon", "amd-epyc")) and "habana" not in name):
        return "cpu"
    # Optimum Habana is written for its chip and captures graphs.
    if "habana" in name or any(word in name for word in _VENDOR_TUNED):
        return "vendor-tuned"
    if any(word in name for word in ("pytorch", "transformers")):
        return "eager"
    if any(word in name for word in _EARLY) or chip.startswith(_YOUNG_CHIPS):
        return "early-port"
    return "community"


_VENDOR_TUNED = (
    "tensorrt", "trtllm", "trt-llm", "cloudmatrix", "deepseek", "xdeepserve", "mindie", "huawei",
    "modified vllm", "atom", "neuron", "maxtext", "jetstream",
)  # fmt: skip
_EARLY = ("ascend", "kunlun", "corex", "musa", "maca", "dtk", "gcu", "mlu", "npu")
_YOUNG_CHIPS = (
    "huawei", "metax", "mthreads", "biren", "enflame", "iluvatar", "cambricon", "hygon", "kunlun", "thead",
)  # fmt: skip


_ON_CHIP = re.compile(r"(\w+) \((\w+) on (\w+)\)")
_TWO_PARTS = re.compile(r"(BF16|FP8|NVFP4) attention \+ (BF16|FP8|NVFP4) MoE", re.IGNORECASE)
_PART = {"bf16": "bf16", "fp8": "fp8_e4m3", "nvfp4": "nvfp4"}


def precision_of(
    printed: str, *, model: str, engine: str, chip: str = ""
) -> tuple[Precision, tuple[str, ...]]:
    """Data types behind a printed precision, and what had to be assumed.

    Parameters
    ----------
    printed
        For example ``FP8``, ``W4A8``, ``MXFP4 weights, BF16 KV``.
    model
        Catalog id: ``fp4`` on gpt-oss is its own MXFP4, on DeepSeek the NVFP4 checkpoint.
    engine
        As printed; TensorRT-LLM runs the quantised checkpoints with an FP8 cache.
    chip
        Settles ``fp8 (fp4 on B200)``.
    """
    if (found := _ON_CHIP.fullmatch(printed.strip())) is not None:
        printed = found[2] if found[3].lower() in chip else found[1]
    if (found := _TWO_PARTS.fullmatch(printed.strip())) is not None:
        attention, experts = (_PART[found[index].lower()] for index in (1, 2))
        return Precision(weights=attention, experts=experts, activations=experts), ()
    word, assumed = printed.lower(), list[str]()
    kv = _kv(word)
    low_bits = re.search(r"\b(?:nv|mx|ue?)?fp4\b", word) is not None
    if not word or any(hint in word for hint in ("see page", "unstated", "native")):
        return Precision(kv=kv), ()
    if "mxfp4" in word or (low_bits and model.startswith("gpt-oss")):
        activations = "fp8_e4m3" if re.search(r"mxfp4\s*/\s*fp8", word) else None
        precision = Precision(weights=None, experts=None, activations=activations, kv=kv)
    elif low_bits and model.startswith(("deepseek", "kimi", "glm", "minimax", "qwen3.5")):
        assumed.append(
            "the NVFP4 checkpoint keeps attention weights in 16 bits; shared experts are counted with them"
        )
        precision = Precision(weights="bf16", experts="nvfp4", activations="nvfp4", kv=kv)
    elif low_bits:
        precision = Precision(weights="nvfp4", experts="nvfp4", activations="nvfp4", kv=kv)
    elif "w4a8" in word:
        precision = Precision(weights="int8", experts="int4", activations="int8", kv=kv)
    elif "q4_k" in word or "uint4" in word:
        assumed.append(
            f"{printed} is read as 4 bits in groups of 32 (4.5 bits per weight; Q4_K_M averages 4.9)"
        )
        precision = Precision(weights="int4_g32", experts="int4_g32", activations="bf16", kv=kv)
    elif re.search(r"\bint4\b|w4a16", word):
        native = model.startswith("kimi")  # K2-Thinking and later ship INT4 experts
        precision = (
            Precision(kv=kv)
            if native
            else Precision(weights="int4_g128", experts="int4_g128", activations="bf16", kv=kv)
        )
    elif "w8a16" in word:
        precision = Precision(weights="int8", experts="int8", activations="bf16", kv=kv)
    elif re.search(r"int8|w8a8|\bq8\b", word):
        precision = Precision(weights="int8", experts="int8", activations="int8", kv=kv)
    elif re.search(r"\bfp16\b|\bf16\b|half", word) and "fp8" not in word.split(",")[0]:
        precision = Precision(weights="fp16", experts="fp16", activations="fp16", kv=kv)
    elif "fp8" in word and not word.startswith("bf16 weights"):
        precision = Precision(weights="fp8_e4m3", experts="fp8_e4m3", activations="fp8_e4m3", kv=kv)
    elif "bf16" in word:
        precision = Precision(weights="bf16", experts="bf16", activations="bf16", kv=kv)
    else:
        return Precision(kv=kv), (
            f"the precision {printed!r} is not one we read; the checkpoint's own is taken",
        )
    quantised = precision.activations in ("fp8_e4m3", "nvfp4")
    if kv is None and quantised and re.search(r"tensorrt|trtllm|trt-llm", engine.lower()):
        assumed.append("the FP8 cache of the vendor's quantised checkpoints is taken")
        precision = Precision(
            weights=precision.weights,
            experts=precision.experts,
            activations=precision.activations,
            kv="fp8_e4m3",
        )
    return precision, tuple(assumed)


def _kv(word: str) -> str | None:
    if re.search(r"fp8 kv|c8\b", word):
        return "int8" if "a8c8" in word else "fp8_e4m3"
    if re.search(r"bf16 (?:kv|mla)", word):
        return "bf16"
    return None
