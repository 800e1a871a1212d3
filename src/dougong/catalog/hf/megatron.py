"""Translates the arguments of a Megatron-LM training script into the keys of a configuration.

Only what the arguments state is taken over; a shell variable or a custom layer spec is refused by name.

References
----------
Megatron-LM ``megatron/training/arguments.py``: ``--untie-embeddings-and-output-weights``,
``--group-query-attention``, ``--add-qkv-bias``, ``--qk-layernorm``, ``--multi-latent-attention``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dougong.catalog.hf.keys import Keys, say

_SPECS: Mapping[str, str] = {"slime_plugins.models.glm4": "glm4"}
"""Layer specs whose shape a family of ours has."""

_COUNTS: Mapping[str, str] = {
    "num-layers": "num_hidden_layers", "hidden-size": "hidden_size", "ffn-hidden-size": "intermediate_size",
    "num-attention-heads": "num_attention_heads", "num-query-groups": "num_key_value_heads",
    "vocab-size": "vocab_size", "kv-channels": "head_dim",
    "max-position-embeddings": "max_position_embeddings",
    "q-lora-rank": "q_lora_rank", "qk-head-dim": "qk_nope_head_dim",
    "kv-lora-rank": "kv_lora_rank",
    "qk-pos-emb-head-dim": "qk_rope_head_dim", "v-head-dim": "v_head_dim", "num-experts": "n_routed_experts",
    "moe-ffn-hidden-size": "moe_intermediate_size", "moe-router-topk": "num_experts_per_tok",
    "moe-shared-expert-intermediate-size": "shared_ffn_size",
}  # fmt: skip
_SCHEDULE = re.compile(r"\[0\]\*(\d{1,4})\+\[1\]\*(\d{1,4})")


def translate(arguments: Keys) -> dict[str, object]:
    """Keys of a configuration for ``arguments``, an object of argument names (without dashes) and values."""
    out: dict[str, object] = {}
    for name, key in _COUNTS.items():
        value = arguments.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not value.isdecimal() or len(value) > 12:
            if isinstance(value, str) and value.startswith("$"):
                raise arguments.refuse(f"the Megatron argument {name} = {say(value)}, a shell variable")
            arguments.fault(name, f"a whole number in a string is wanted, not {say(value)}")
            continue
        out[key] = int(value)
    arguments.check()
    out["tie_word_embeddings"] = not arguments.has("untie-embeddings-and-output-weights")
    out["model_type"] = _family(arguments, out)
    if "n_routed_experts" in out:
        _add_experts(arguments, out)
    if arguments.has("multi-latent-attention"):
        out.pop("head_dim", None)  # Megatron's kv-channels has no meaning beside the latent sizes
    return out


def _family(arguments: Keys, out: Mapping[str, object]) -> str:
    arguments.must_not("biases on every matrix", "add-bias-linear")
    if arguments.has("spec"):
        spec = arguments.text("spec")
        if spec not in _SPECS:
            raise arguments.refuse(f"the Megatron layer spec {say(spec)}")
        return _SPECS[spec]
    if arguments.has("multi-latent-attention"):
        return "deepseek_v3"
    if "n_routed_experts" in out:
        raise arguments.refuse("Megatron arguments of a mixture with grouped-query attention")
    if arguments.has("add-qkv-bias"):
        return "qwen2"
    return "qwen3" if arguments.has("qk-layernorm") else "llama"


def _add_experts(arguments: Keys, out: dict[str, object]) -> None:
    value = arguments.get("moe-layer-freq")
    schedule = value.replace(" ", "") if isinstance(value, str) and len(value) < 100 else ""
    match = _SCHEDULE.fullmatch(schedule)
    if match is None or int(match.group(1)) + int(match.group(2)) != out.get("num_hidden_layers"):
        raise arguments.refuse(f"the Megatron argument moe-layer-freq = {say(value)}")
    out["first_k_dense_replace"] = int(match.group(1))
    shared, size = out.pop("shared_ffn_size", 0), out.get("moe_intermediate_size", 1)
    if isinstance(shared, int) and isinstance(size, int):
        if shared % max(size, 1):
            raise arguments.refuse(f"shared experts of width {shared} beside experts of width {size}")
        out["n_shared_experts"] = shared // max(size, 1)
