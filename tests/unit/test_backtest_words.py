import pytest

from dougong.backtest.case import Precision, family_of
from dougong.backtest.words import engine_class_of, looks_dense, model_id, precision_of


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("DeepSeek-V3/R1 class", "deepseek-r1"),
        ("DeepSeek-R1-671B", "deepseek-r1"),
        ("DeepSeek-V3.1-Terminus-w8a8-mtp-QuaRot", "deepseek-v3.1"),
        ("DeepSeek-V3.2-W8A8", "deepseek-v3.2"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
        ("nvidia/DeepSeek-R1-NVFP4", "deepseek-r1"),
        ("llama2-70b-99", "llama-2-70b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Qwen3-32B-w8a8sc-310-vllm-tp4", "qwen3-32b"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("GLM-5.1-w8a8c8", "glm-5.1"),
        ("Kimi-K2-Thinking", "kimi-k2-thinking"),
        ("Qwen-7B-Chat", "qwen-7b-chat"),
    ],
)
def test_model_names(label, expected):
    assert model_id(label) == expected


@pytest.mark.parametrize(
    ("engine", "kind", "chip", "expected"),
    [
        ("TensorRT-LLM 1.0", "measured", "nvidia-h200-sxm", "vendor-tuned"),
        ("CloudMatrix-Infer default", "measured", "huawei-910c", "vendor-tuned"),
        ("vllm 0.18.0", "measured", "nvidia-h200-sxm", "community"),
        ("vLLM/ROCm", "measured", "amd-mi300x", "community"),
        ("vLLM-Ascend", "measured", "huawei-910c", "early-port"),
        ("vLLM-Ascend", "ci_baseline", "huawei-910c", "ci-floor"),
        ("SGLang", "measured", "metax-c550", "early-port"),
        ("SGLang CPU", "measured", "intel-xeon-6980p", "cpu"),
        ("llama.cpp", "measured", "intel-xeon-6980p", "llama-cpp"),
        ("Optimum Habana / PyTorch", "measured", "intel-gaudi3", "vendor-tuned"),
        ("PyTorch", "measured", "nvidia-a100-sxm-80", "eager"),
    ],
)
def test_engine_classes(engine, kind, chip, expected):
    assert engine_class_of(engine, kind=kind, chip=chip) == expected


@pytest.mark.parametrize(
    ("printed", "model", "expected"),
    [
        ("W8A8", "qwen3-32b", Precision(weights="int8", experts="int8", activations="int8")),
        ("W4A8", "kimi-k2.6", Precision(weights="int8", experts="int4", activations="int8")),
        ("fp4", "gpt-oss-120b", Precision()),
        ("MXFP4/FP8", "gpt-oss-120b", Precision(activations="fp8_e4m3")),
        ("NVFP4", "deepseek-r1", Precision(weights="bf16", experts="nvfp4", activations="nvfp4")),
        ("NVFP4", "llama-3.3-70b", Precision(weights="nvfp4", experts="nvfp4", activations="nvfp4")),
        ("MXFP4 weights, BF16 KV", "gpt-oss-20b", Precision(kv="bf16")),
        (
            "BF16 weights, FP8 KV",
            "llama-3.1-8b",
            Precision(weights="bf16", experts="bf16", activations="bf16", kv="fp8_e4m3"),
        ),
        (
            "BF16 attention + FP8 MoE",
            "deepseek-r1",
            Precision(weights="bf16", experts="fp8_e4m3", activations="fp8_e4m3"),
        ),
        (
            "FP8 GEMM and dispatch, BF16 MLA and combine",
            "deepseek-r1",
            Precision(weights="fp8_e4m3", experts="fp8_e4m3", activations="fp8_e4m3", kv="bf16"),
        ),
        ("F16", "llama-3-8b", Precision(weights="fp16", experts="fp16", activations="fp16")),
        ("see page", "gpt-oss-120b", Precision()),
    ],
)
def test_precisions(printed, model, expected):
    found, _ = precision_of(printed, model=model, engine="vLLM")
    assert found == expected
    assert not list(found.faults())


def test_tensorrt_runs_quantised_checkpoints_with_an_fp8_cache_and_says_so():
    found, assumed = precision_of("FP8", model="llama-3.3-70b", engine="TensorRT-LLM")
    assert found.kv == "fp8_e4m3"
    assert any("FP8 cache" in note for note in assumed)


def test_a_precision_by_chip():
    on = precision_of("fp8 (fp4 on B200)", model="llama-2-70b", engine="vLLM", chip="nvidia-b200-sxm")[0]
    off = precision_of("fp8 (fp4 on B200)", model="llama-2-70b", engine="vLLM", chip="nvidia-h200-sxm")[0]
    assert (on.weights, off.weights) == ("nvfp4", "fp8_e4m3")


def test_families_and_density():
    assert family_of("deepseek-ai/DeepSeek-V3.1") == "deepseek"
    assert looks_dense("llama-3.1-70b")
    assert looks_dense("qwen3-32b")
    assert not looks_dense("qwen3-30b-a3b")
    assert not looks_dense("llama-4-maverick")
