"""Quantisation recipes: stored dtypes, activations and the cache, as configurations state them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dougong.catalog.hf import read_config
from dougong.catalog.models import Model
from dougong.errors import CatalogError, UnsupportedModel

DENSE = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 256,
}  # fmt: skip
MIXTURE = {
    "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 256,
    "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "max_position_embeddings": 2048,
}  # fmt: skip


def quantised(quant: Mapping[str, object], base: Mapping[str, object] = MIXTURE, **more: object) -> Model:
    return read_config({**base, "quantization_config": quant, **more}, id="tiny")


def dtypes(model: Model) -> dict[str, str]:
    found = {linear.name: linear.dtype for _, linear in model.each_linear()}
    bank = model.layers[-1].experts
    return {**found, "lm_head": model.head.dtype, **({"experts": bank.dtype} if bank else {})}


def group(
    weights: Mapping[str, object], inputs: Mapping[str, object] | None = None, **more: object
) -> dict[str, object]:
    parts = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": parts}, **more}


def test_plain_checkpoints_keep_their_float() -> None:
    for word, dtype in (
        ("bfloat16", "bf16"),
        ("float16", "fp16"),
        ("torch.float32", "fp32"),
        ("auto", "bf16"),
    ):
        model = read_config({**DENSE, "torch_dtype": word}, id="tiny")
        assert set(dtypes(model).values()) == {dtype}
        assert model.activation_dtype == dtype
        assert model.embedding_dtype == dtype
    assert read_config({**DENSE, "torch_dtype": "float32"}, id="tiny").default_kv_dtype == "bf16"


def test_fp8_leaves_router_and_head_alone() -> None:
    model = quantised({"quant_method": "fp8", "weight_block_size": [128, 128]})
    found = dtypes(model)
    assert found.pop("gate") == found.pop("lm_head") == "bf16"
    assert set(found.values()) == {"fp8_e4m3"}
    assert model.activation_dtype == "fp8_e4m3"


def test_an_ignore_list_is_obeyed() -> None:
    model = quantised(
        {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.self_attn", "o_proj"]}
    )
    assert [linear.dtype for linear in model.layers[0].linears if linear.name == "q_proj"] == ["bf16"]
    assert [linear.dtype for linear in model.layers[1].linears if linear.name == "q_proj"] == ["fp8_e4m3"]
    assert {linear.dtype for _, linear in model.each_linear() if linear.name == "o_proj"} == {"bf16"}


@pytest.mark.parametrize(
    ("quant", "weight", "activation"),
    [
        (group({"num_bits": 8, "type": "float"}, {"num_bits": 8, "type": "float"}), "fp8_e4m3", "fp8_e4m3"),
        (group({"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "int"}), "int8", "int8"),
        (group({"num_bits": 4, "type": "int", "group_size": 32}), "int4_g32", "bf16"),
        (group({"num_bits": 4, "type": "int", "group_size": 128}), "int4_g128", "bf16"),
        (
            group({"num_bits": 4, "type": "float", "group_size": 32}, format="mxfp4-pack-quantized"),
            "mxfp4",
            "bf16",
        ),
        (group({"num_bits": 4, "type": "float"}, {"num_bits": 4, "type": "float"}), "nvfp4", "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4"}, "nvfp4", "bf16"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4_g128", "bf16"),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "int8", "bf16"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["self_attn"]}, "mxfp4", "bf16"),
    ],
)
def test_recipes(quant: Mapping[str, object], weight: str, activation: str) -> None:
    model = quantised(quant)
    assert dtypes(model)["experts"] == weight
    assert model.activation_dtype == activation


def test_a_mixed_recipe_names_each_module() -> None:
    layers = {
        "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
        "model.layers.0.mlp.experts": {"quant_algo": "W4A16_NVFP4"},
        "lm_head": {"quant_algo": "W4A16_NVFP4"},
    }
    model = quantised(
        {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    )
    first, second = model.layers
    assert [linear.dtype for linear in first.linears][:2] == ["fp8_e4m3", "bf16"]
    assert first.experts is not None
    assert first.experts.dtype == "nvfp4"
    assert second.experts is not None
    assert second.experts.dtype == "bf16"
    assert model.head.dtype == "nvfp4"
    assert model.activation_dtype == "bf16"  # experts carry most of the quantised work


def test_modelopts_own_file_beside_a_plain_configuration() -> None:
    beside = {
        "quantization": {
            "quant_algo": "NVFP4",
            "kv_cache_quant_algo": "FP8",
            "exclude_modules": ["*self_attn*"],
        }
    }
    model = read_config(MIXTURE, id="tiny", hf_quant=beside)
    assert dtypes(model)["q_proj"] == "bf16"
    assert dtypes(model)["experts"] == "nvfp4"
    assert model.default_kv_dtype == "fp8_e4m3"


@pytest.mark.parametrize(
    ("scheme", "dtype"),
    [
        ({"num_bits": 8, "type": "float"}, "fp8_e4m3"),
        ({"num_bits": 8, "type": "int"}, "int8"),
        ("FP8", "fp8_e4m3"),
        (None, "bf16"),
    ],
)
def test_the_cache_dtype(scheme: object, dtype: str) -> None:
    assert (
        quantised(
            {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": scheme}
        ).default_kv_dtype
        == dtype
    )


def test_an_empty_object_says_not_quantised() -> None:
    assert set(dtypes(quantised({})).values()) == {"bf16"}


@pytest.mark.parametrize(
    ("quant", "part"),
    [
        ({"quant_method": "bitsandbytes"}, "quant_method 'bitsandbytes'"),
        ({"quant_method": "modelopt", "quant_algo": "FP3"}, "quant_algo 'FP3'"),
        (group({"num_bits": 3, "type": "int"}), "integer weights of 3 bits"),
        (group({"num_bits": 6, "type": "float"}), "float weights of 6 bits"),
        (group({"num_bits": 8, "type": "int"}, {"num_bits": 4, "type": "int"}), "int activations of 4 bits"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["re:(a+)+"]}, "the module pattern"),
        (
            {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": "FP2"},
            "a key-value cache of 'FP2'",
        ),
    ],
)
def test_what_is_not_read_is_refused_by_name(quant: Mapping[str, object], part: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        quantised(quant)
    assert part in caught.value.part


@pytest.mark.parametrize(
    "quant",
    [
        7,
        "fp8",
        [1],
        {"quant_method": 8},
        {"quant_method": "fp8", "modules_to_not_convert": "lm_head"},
        {"quant_method": "fp8", "modules_to_not_convert": [1, None]},
        {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": [1]},
        group({"num_bits": "8", "type": "int"}),
        group({"num_bits": True, "type": "int"}),
    ],
)
def test_wrong_types_are_faults(quant: object) -> None:
    with pytest.raises(CatalogError):
        read_config({**DENSE, "quantization_config": quant}, id="tiny")
