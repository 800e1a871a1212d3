"""Cache and state of models, counted by hand: what one more token costs, and what a window or a state holds."""

from __future__ import annotations

import pytest

from dougong.catalog.model_store import load_model
from dougong.catalog.models import Core, Model
from dougong.catalog.store import SHIPPED


def load(record_id: str) -> Model:
    return load_model(record_id, (SHIPPED,))


def growth(core: Core, bytes_per_value: float = 2.0) -> float:
    """Bytes that one more token adds to the cache of one layer, for good [byte]."""
    if core.kind in ("linear", "none") or core.window is not None:
        return 0.0
    index = core.index_dim * core.index_bytes_per_value if core.index_heads else 0.0
    return (core.bytes_of_values(core.entry_values, bytes_per_value) + index) / core.compress


def model_growth(record_id: str, bytes_per_value: float = 2.0) -> float:
    return sum(layer.count * growth(layer.core, bytes_per_value) for layer in load(record_id).layers)


@pytest.mark.parametrize(
    ("record_id", "expected"),
    [
        ("deepseek-r1", 61 * (512 + 64) * 2),  # 70,272 B
        ("llama-3.1-8b", 32 * 8 * (128 + 128) * 2),  # 131,072 B
        ("qwen3-32b", 64 * 8 * (128 + 128) * 2),  # 262,144 B
        ("gpt-oss-120b", 18 * 8 * (64 + 64) * 2),  # the other 18 layers are windowed
        ("gemma-3-27b", 10 * 16 * (128 + 128) * 2),  # 10 of 62 layers are full
        ("gemma-4-31b", 10 * 4 * (512 + 512) * 2),
        ("kimi-k3", 24 * (512 + 64) * 2),  # 69 of 93 layers keep a state
        ("kimi-k2.5", 61 * 576 * 2),
        ("qwen3-next-80b-a3b", 12 * 2 * (256 + 256) * 2),
        ("qwen3.5-397b-a17b", 15 * 2 * (256 + 256) * 2),
        ("nemotron-3-super-120b-a12b", 8 * 2 * (128 + 128) * 2),
        ("nemotron-super-49b", 49 * 8 * (128 + 128) * 2),  # 31 blocks do without attention
        ("mimo-v2-flash", 9 * 4 * (192 + 128) * 2),
        ("step-3.7-flash", 12 * 8 * (128 + 128) * 2),
        ("llama-4-scout", 12 * 8 * (128 + 128) * 2),
        ("minimax-m1", 10 * 8 * (128 + 128) * 2),
        ("minimax-m3", 60 * 4 * (128 + 128) * 2 + 57 * 128 * 2),
        ("deepseek-v3.2", 61 * ((512 + 64) * 2 + 132)),  # an index key of 128 FP8 values and a 4-byte scale
        ("gemma-4-e2b", 3 * 1 * (512 + 512) * 2),  # four more full layers read an earlier layer's cache
    ],
)
def test_bytes_per_token(record_id: str, expected: int) -> None:
    assert model_growth(record_id) == expected


def test_bytes_per_token_of_compressed_attention() -> None:
    # V4-Flash, FP8: a row holds 448 FP8 values, 64 in BF16 and 8 bytes of scales; 21 layers of ratio 4 have an
    # index key beside it, of 128 FP8 values and a 4-byte scale; 20 layers are of ratio 128.
    row, index_key = 448 + 64 * 2 + 8, 128 + 4
    assert model_growth("deepseek-v4-flash", 1.0) == 21 * (row + index_key) / 4 + 20 * row / 128
    assert load("deepseek-v4-flash").default_kv_dtype == "fp8_e4m3"


def test_an_8_bit_row_of_sparse_latent_attention_keeps_scales_and_rotary_values_in_16_bits() -> None:
    # FlashMLA's README: 512 FP8 values, four 4-byte scales, 64 BF16 values: 656 bytes; and the index key.
    assert model_growth("deepseek-v3.2", 1.0) == 61 * (656 + 132)
    assert model_growth("deepseek-v3", 1.0) == 61 * 576, "dense latent attention stores one dtype"


def test_a_cache_that_stores_nothing_keeps_no_scales() -> None:
    core = Core(kind="full", num_kv_heads=1, qk_dim=512, shared_kv=True, extra_bytes_8_bit=72)
    assert core.bytes_of_values(core.entry_values, 1.0) == 584
    assert core.bytes_of_values(core.entry_values, 2.0) == 1024
    assert core.bytes_of_values(0, 1.0) == 0


def test_a_shared_choice_keeps_no_index_key() -> None:
    own = [layer for layer in load("glm-5.2").layers if layer.core.index_heads]
    assert sum(layer.count for layer in own) == 21
    assert model_growth("glm-5.2") == 78 * 576 * 2 + 21 * 132


@pytest.mark.parametrize(
    ("record_id", "windowed", "window"),
    [
        ("gpt-oss-20b", 12, 128),
        ("gemma-2-9b", 21, 4096),
        ("gemma-3-4b", 29, 1024),
        ("mistral-7b", 32, 4096),
        ("mimo-v2-flash", 39, 128),
        ("step-3.7-flash", 33, 512),
        ("llama-4-maverick", 36, 8192),
        ("olmo-3-7b", 24, 4096),
    ],
)
def test_windows(record_id: str, windowed: int, window: int) -> None:
    layers = [layer for layer in load(record_id).layers if layer.core.window is not None]
    assert sum(layer.count for layer in layers) == windowed
    assert {layer.core.window for layer in layers} == {window}


@pytest.mark.parametrize(
    ("record_id", "layers", "state", "conv", "flop"),
    [
        # value heads x dk x dv; (kernel - 1) x channels; 7 dk dv per value head and 2 kernel channels
        ("qwen3-next-80b-a3b", 36, 32 * 128 * 128, 3 * 8192, 7 * 32 * 128 * 128 + 8 * 8192),
        ("kimi-k3", 69, 96 * 128 * 128, 3 * 36864, 7 * 96 * 128 * 128 + 8 * 36864),
        ("minimax-m1", 70, 64 * 128 * 128, 0, 5 * 64 * 128 * 128),
        ("nemotron-3-super-120b-a12b", 40, 8192 * 128, 3 * 10240, 5 * 8192 * 128 + 8 * 10240),
    ],
)
def test_states_of_linear_layers(record_id: str, layers: int, state: int, conv: int, flop: int) -> None:
    linear = [layer for layer in load(record_id).layers if layer.core.kind == "linear"]
    assert sum(layer.count for layer in linear) == layers
    for layer in linear:
        assert (layer.core.state_values, layer.core.conv_values, layer.core.flop_per_token) == (
            state,
            conv,
            flop,
        )
        assert layer.core.entry_values == 0


def test_value_and_key_of_v4_are_one_vector() -> None:
    core = load("deepseek-v4-pro").layers[0].core
    assert core.shared_kv
    assert core.entry_values == 512
