"""The reader of config.json on small invented shapes: matrices, sharding, cores, faults and refusals."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dougong.catalog.hf import read_config
from dougong.catalog.models import Linear, Model
from dougong.errors import CatalogError, UnsupportedModel

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 256, "max_position_embeddings": 4096,
}  # fmt: skip
MLA = {
    "model_type": "deepseek_v3", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 256,
    "max_position_embeddings": 4096, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 8, "intermediate_size": 96, "first_k_dense_replace": 1,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 32,
    "num_nextn_predict_layers": 1,
}  # fmt: skip


INDEX = {"index_n_heads": 2, "index_head_dim": 8, "index_topk": 16}


def read(config: Mapping[str, object], **change: object) -> Model:
    merged = {key: value for key, value in {**config, **change}.items() if value is not ...}
    return read_config(merged, id="tiny", name="Tiny")


def by_name(model: Model, layer: int = 0) -> dict[str, Linear]:
    return {linear.name: linear for linear in model.layers[layer].linears}


def test_a_dense_decoder_lists_every_matrix() -> None:
    model = read(LLAMA)
    (layer,) = model.layers
    assert layer.count == 2
    assert layer.indices == (0, 1)
    shapes = {
        linear.name: (linear.inputs, linear.outputs, linear.shard, linear.ways) for linear in layer.linears
    }
    wide = 1 << 30
    assert shapes == {
        "q_proj": (64, 64, "column", 4),
        "k_proj": (64, 32, "column", 2),
        "v_proj": (64, 32, "column", 2),
        "o_proj": (64, 64, "row", 4),
        "gate_proj": (64, 128, "column", wide),
        "up_proj": (64, 128, "column", wide),
        "down_proj": (128, 64, "row", wide),
    }
    each = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 128 + 2 * 64
    assert model.parameters() == 2 * 256 * 64 + 64 + 2 * each
    assert model.active_parameters() == 256 * 64 + 64 + 2 * each
    assert (model.id, model.name, model.family, model.max_context_tokens) == ("tiny", "Tiny", "llama", 4096)
    assert layer.core.entry_values == 2 * (16 + 16)


def test_tied_embeddings_count_once() -> None:
    assert read(LLAMA).parameters() - read(LLAMA, tie_word_embeddings=True).parameters() == 256 * 64


def test_biases_and_norms_follow_the_family() -> None:
    plain = read(LLAMA).parameters()
    assert read(LLAMA, attention_bias=True).parameters() - plain == 2 * (64 + 32 + 32 + 64)
    assert read(LLAMA, mlp_bias=True).parameters() - plain == 2 * (128 + 128 + 64)
    assert read(LLAMA, model_type="qwen2").parameters() - plain == 2 * (64 + 32 + 32)
    assert read(LLAMA, model_type="qwen3").parameters() - plain == 2 * 2 * 16
    assert read(LLAMA, model_type="olmo2").parameters() - plain == 2 * (64 + 32)
    assert read(LLAMA, model_type="glm4").parameters() - plain == 2 * (64 + 32 + 32) + 2 * 2 * 64


def test_latent_attention_and_its_absorbed_matrix() -> None:
    model = read(MLA)
    dense, sparse = model.layers
    assert (dense.name, dense.count, sparse.name, sparse.count) == ("mla + dense", 1, "mla + experts", 2)
    found = by_name(model, 1)
    assert found["kv_b_proj"].absorbed
    assert (found["kv_b_proj"].inputs, found["kv_b_proj"].outputs, found["kv_b_proj"].ways) == (16, 4 * 16, 4)
    assert {found[name].shard for name in ("q_a_proj", "kv_a_proj_with_mqa", "gate")} == {"none"}
    assert found["q_b_proj"].ways == 4
    assert found["shared_experts.down_proj"].shard == "row"
    assert found["shared_experts.down_proj"].group == "shared_expert"
    assert sparse.core.entry_values == 16 + 4
    attention = 64 * 24 + 24 * 4 * 12 + 64 * 20 + 16 * 64 + 4 * 8 * 64 + 24 + 16 + 2 * 64
    routed = 9 * 3 * 64 * 32 + 64 * 8 + 8
    assert model.parameters() == 2 * 256 * 64 + 64 + 3 * attention + 3 * 64 * 96 + 2 * routed
    (module,) = model.mtp_layers
    assert model.mtp_num == 1
    assert model.parameters(mtp=True) - model.parameters() == attention + routed + 2 * 64 * 64 + 3 * 64
    assert module.linears[-1].name == "gate_proj" or any(
        linear.name == "eh_proj" for linear in module.linears
    )


def test_no_query_rank_means_one_query_matrix() -> None:
    found = by_name(read(MLA, q_lora_rank=None))
    assert (found["q_proj"].inputs, found["q_proj"].outputs) == (64, 48)
    assert "q_a_proj" not in found


def test_sparse_attention_has_an_indexer_on_every_layer_of_its_own() -> None:
    model = read(MLA, model_type="deepseek_v32", **INDEX)
    core = model.layers[0].core
    assert (core.kind, core.top_k, core.index_heads, core.index_dim) == ("mla", 16, 2, 8)
    added = 24 * 16 + 64 * 8 + 64 * 2 + 2 * 8
    assert model.parameters() - read(MLA).parameters() == 3 * added
    shared = read(MLA, model_type="glm_moe_dsa", indexer_types=["full", "shared", "full"], **INDEX)
    assert shared.parameters() - read(MLA).parameters() == 2 * added
    choosing = [layer.core.index_heads for layer in shared.layers]
    assert sorted(choosing) == [0, 2, 2]
    assert {layer.core.top_k for layer in shared.layers} == {16}


def test_windows_by_list_by_pattern_and_by_layer() -> None:
    def windows(**change: object) -> list[int | None]:
        model = read(LLAMA, num_hidden_layers=4, sliding_window=32, **change)
        limits: dict[int, int | None] = {}
        for layer in model.layers:
            limits.update(dict.fromkeys(layer.indices, layer.core.window))
        return [limits[i] for i in range(4)]

    full, sliding = "full_attention", "sliding_attention"
    assert windows(model_type="qwen3", layer_types=[sliding, full, sliding, full]) == [32, None, 32, None]
    assert windows(model_type="gemma2") == [32, None, 32, None]
    assert windows(model_type="olmo3") == [32, 32, 32, None]
    assert windows(model_type="mistral") == [32] * 4
    assert windows(model_type="qwen2", use_sliding_window=False) == [None] * 4
    assert windows(model_type="qwen2", use_sliding_window=True, max_window_layers=3) == [None, None, None, 32]


def test_towers_are_named_and_the_language_model_is_read() -> None:
    inner = {**LLAMA, "model_type": "qwen3_vl_text"}
    model = read_config(
        {
            "model_type": "qwen3_vl",
            "text_config": inner,
            "vision_config": {"depth": 2},
            "tie_word_embeddings": True,
        },
        id="tiny",
    )
    assert model.family == "qwen3"
    assert model.absent == ("vision tower",)
    assert model.tied_embeddings


def test_hyper_connections_and_grouped_output_of_v4() -> None:
    config = {
        "model_type": "deepseek_v4", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 16, "q_lora_rank": 24, "qk_rope_head_dim": 4, "o_groups": 2,
        "o_lora_rank": 8, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 16, "sliding_window": 32,
        "compress_ratios": [0, 4, 128, 0], "num_hash_layers": 1, "hc_mult": 2, "n_routed_experts": 8,
        "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 32, "vocab_size": 256,
        "max_position_embeddings": 4096, "num_nextn_predict_layers": 1, "expert_dtype": "fp4",
        "quantization_config": {"quant_method": "fp8"},
    }  # fmt: skip
    model = read(config)
    window, csa, hca = (layer.core for layer in model.layers)
    assert (window.window, window.compress, window.top_k) == (32, 1, None)
    assert (csa.compress, csa.local_window, csa.top_k, csa.index_dim) == (4, 32, 16, 8)
    assert (hca.compress, hca.local_window, hca.top_k) == (128, 32, None)
    assert all(core.shared_kv and core.entry_values == 16 for core in (window, csa, hca))
    output = by_name(model)["attn.wo_a"]
    assert (output.copies, output.inputs, output.outputs, output.ways) == (2, 32, 8, 2)
    assert model.residual_streams == 2
    banks = [layer.experts for layer in model.layers]
    assert {bank.dtype for bank in banks if bank} == {"mxfp4"}
    assert model.activation_dtype == "fp8_e4m3"
    assert [layer.core.window for layer in model.mtp_layers] == [32]
    with pytest.raises(UnsupportedModel, match="a compression ratio of 8"):
        read(config, compress_ratios=[0, 8, 128, 0])


def test_a_mamba_hybrid_is_read_from_its_pattern() -> None:
    config = {
        "model_type": "nemotron_h", "hybrid_override_pattern": "M-*E", "num_hidden_layers": 4, "hidden_size": 64,
        "vocab_size": 256, "max_position_embeddings": 4096, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 4, "n_groups": 2,
        "conv_kernel": 4, "intermediate_size": 128, "n_routed_experts": 8, "num_experts_per_tok": 2,
        "n_shared_experts": 1, "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 48,
        "moe_latent_size": 24,
    }  # fmt: skip
    model = read(config)
    mamba, mlp, attention, moe = model.layers
    assert [layer.core.kind for layer in model.layers] == ["linear", "none", "full", "none"]
    channels = 128 + 2 * 2 * 4
    assert mamba.linears[0].outputs == 128 + channels + 8
    assert mamba.other_parameters == 64 + channels * 5 + 3 * 8 + 128
    assert [linear.name for linear in mlp.linears] == ["mixer.up_proj", "mixer.down_proj"]
    assert attention.linears[0].name == "mixer.q_proj"
    assert moe.experts is not None
    assert (moe.experts.inputs, moe.experts.matrices, moe.experts.parameters_per_expert) == (
        24,
        2,
        2 * 24 * 32,
    )
    assert {"mixer.fc1_latent_proj", "mixer.fc2_latent_proj"} <= {linear.name for linear in moe.linears}


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(CatalogError) as caught:
        read(LLAMA, hidden_size="64", vocab_size=True, intermediate_size=-3, num_hidden_layers=...)
    text = str(caught.value)
    assert "hidden_size: a whole number from 1 to 1000000 is wanted, not '64'" in text
    assert "vocab_size: a whole number from 1 to 10000000 is wanted, not true" in text
    assert "intermediate_size: a whole number from 1 to 1000000 is wanted, not -3" in text
    assert "num_hidden_layers: is missing" in text
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 10**6 + 1}, "not 1000001"),
        ({"num_hidden_layers": 10**5}, "not 100000"),
        ({"vocab_size": 10**400}, "a whole number of 1329 bits"),
        ({"vocab_size": 10**5000}, "a whole number of 16610 bits"),
        ({"num_attention_heads": 4.0}, "not 4.0"),
        ({"hidden_size": float("nan")}, "not nan"),
        ({"hidden_size": float("inf")}, "not inf"),
        ({"num_key_value_heads": 3}, "3 does not divide the 4 attention heads"),
        ({"attention_bias": 1}, "true or false is wanted, not 1"),
        ({"torch_dtype": "float7"}, "one of bfloat16"),
        ({"model_type": ...}, "model_type: is missing"),
        ({"model_type": 3}, "a text is wanted, not 3"),
    ],
)
def test_a_fault_shows_key_and_value(change: Mapping[str, object], words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read(LLAMA, **change)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({**LLAMA, "is_encoder_decoder": True}, "an encoder-decoder"),
        ({**LLAMA, "pruned_heads": {"1": [2]}}, "pruned heads"),
        ({**LLAMA, "model_type": "t5"}, "the architecture 't5'"),
        ({**LLAMA, "model_type": "qwen3", "layer_types": ["sliding_attention"] * 2}, "without a sliding_window"),
        (
            {**MLA, "model_type": "glm_moe_dsa", "index_topk_freq": 2, **INDEX},
            "index_topk_freq without indexer_types",
        ),
    ],
)  # fmt: skip
def test_what_changes_the_arithmetic_is_refused_by_name(config: Mapping[str, object], part: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        read(config)
    assert part in caught.value.part
    assert caught.value.exit_code == 2


def test_a_key_that_sizes_something_and_is_not_read_is_noted() -> None:
    assert read(LLAMA).notes == ()
    (note,) = read(LLAMA, num_memory_heads=3, rope_theta=1e6, id2label={"0": "x"}).notes
    assert note == "keys of the configuration that were not read: num_memory_heads"


def test_megatron_arguments_are_translated() -> None:
    arguments = {
        "num-layers": "2", "hidden-size": "64", "ffn-hidden-size": "128", "num-attention-heads": "4",
        "num-query-groups": "2", "vocab-size": "256", "max-position-embeddings": "4096", "swiglu": True,
        "untie-embeddings-and-output-weights": True,
    }  # fmt: skip

    def translated(**change: object) -> Model:
        merged = {**arguments, **{key.replace("_", "-"): value for key, value in change.items()}}
        return read_config({"_megatron_arguments": merged}, id="tiny")

    assert translated().layers == read(LLAMA).layers
    assert translated(add_qkv_bias=True).family == "qwen2"
    assert translated(qk_layernorm=True).family == "qwen3"
    with pytest.raises(UnsupportedModel, match=r"num-layers = '\$LAYERS', a shell variable"):
        translated(num_layers="$LAYERS")
    with pytest.raises(UnsupportedModel, match=r"layer spec 'my\.spec'"):
        translated(spec="my.spec")
    with pytest.raises(CatalogError, match=r"a whole number in a string is wanted, not '2\.5'"):
        translated(num_layers="2.5")


def test_a_class_names_the_architecture_where_model_type_is_missing() -> None:
    assert read(LLAMA, model_type=..., config_class="Qwen2Config").family == "qwen2"
    assert read(LLAMA, model_type=..., architectures=["Qwen3ForCausalLM"]).family == "qwen3"


def test_deep_and_large_configurations_are_refused_before_they_are_walked() -> None:
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(CatalogError, match="nested deeper than 24 levels"):
        read(LLAMA, extra=deep)
    with pytest.raises(CatalogError, match="more than 200000 values"):
        read(LLAMA, extra=[[0] * 1000] * 1000)
    loop: dict[str, object] = {}
    loop["again"] = [loop, loop]
    with pytest.raises(CatalogError):
        read(LLAMA, extra=loop)
