"""A dozen ways to cut a model, as plans have them: given to the recorded flags and to the engines' own parsers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dougong.engines.port import LaunchRequest, Model, Parallel

MOE = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 4,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 129280,
}
"""DeepSeek-V3's shape, as its configuration has it; no weights are read."""

DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "one device": {},
    "TP": {"parallel": Parallel(tp=8)},
    "TP and PP": {"parallel": Parallel(tp=8, pp=2), "node_devices": 8},
    "DP and EP": {"parallel": Parallel(attn_dp=8, ep=8), "max_sequences": 100, "chunk_tokens": 2048},
    "TP, DP and EP": {"parallel": Parallel(tp=4, attn_dp=4, ep=16), "max_sequences": 513},
    "DP and EP over nodes": {"parallel": Parallel(attn_dp=32, ep=32), "node_devices": 8},
    "TP, DP and EP over nodes": {"parallel": Parallel(tp=2, attn_dp=12, ep=24), "node_devices": 16},
    "context": {"parallel": Parallel(tp=4, cp=2), "context_tokens": 131_072},
    "quantised": {"parallel": Parallel(tp=8), "quantization": "fp8", "kv_dtype": "fp8_e4m3", "dtype": "bf16"},
    "speculation": {"parallel": Parallel(tp=8), "draft_tokens": 1, "max_sequences": 64},
    "chunked prefill": {"parallel": Parallel(tp=8), "chunk_tokens": 1000, "context_tokens": 8192},
    "memory": {"parallel": Parallel(tp=8), "memory_frac": 0.85},
    "prefill": {
        "parallel": Parallel(tp=8),
        "role": "prefill",
        "peer": Parallel(tp=4, attn_dp=4, ep=16),
        "draft_tokens": 1,
        "chunk_tokens": 8192,
    },
    "decode": {
        "parallel": Parallel(tp=4, attn_dp=4, ep=16),
        "role": "decode",
        "peer": Parallel(tp=8),
        "draft_tokens": 1,
        "max_sequences": 1024,
        "node_devices": 8,
    },
}
"""By name: what is said of a replica, beyond its model and port."""


def request_of(name: str, platform: str = "cuda", location: str = "deepseek-ai/DeepSeek-V3") -> LaunchRequest:
    """Return one of them as a launch request."""
    model = Model(location=location, format="safetensors", name="v3", config={"model_type": "deepseek_v3"})
    words = {"model": model, "served_name": "v3", "port": 8001, "platform": platform, "api_key": "dg-k"}
    return LaunchRequest(**{**words, **DEPLOYMENTS[name]})


def write_model(folder: Path) -> str:
    """Write the configuration without weights; return where it is."""
    (folder / "config.json").write_text(json.dumps(MOE), encoding="utf-8")
    return str(folder)
