"""Finding a model: by id, by alias, by path; records of the user; faults with their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dougong.catalog import Catalog
from dougong.catalog.model_store import check_models, load_model, model_ids
from dougong.catalog.store import SHIPPED
from dougong.cost.memory import kv_bytes_per_token
from dougong.errors import CatalogError, InputError, UnknownId, UnsupportedModel
from dougong.facts import Figure, Unknown

TINY = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 256, "max_position_embeddings": 2048,
}  # fmt: skip

RECORD = """
schema = 1
id = "tiny"
name = "Tiny"
vendor = "Example"
aliases = ["example/Tiny"]
license = "MIT"
config_source = "uncited"

[published]
total_parameters = { printed = "0.1M", source = "uncited", grade = "estimate" }

[config]
model_type = "llama"
hidden_size = 64
num_hidden_layers = 2
num_attention_heads = 4
intermediate_size = 128
vocab_size = 256
"""

DERIVED = """
schema = 1
id = "tiny-int4"
name = "Tiny INT4"
vendor = "Example"
base = "tiny"
relation = "quantised"
config_source = "uncited"

[config_override]
max_position_embeddings = 8192

[config_override.quantization_config]
quant_method = "awq"
bits = 4
group_size = 128
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalog folder of the user with a model and a derivative of it."""
    (tmp_path / "models/example").mkdir(parents=True)
    (tmp_path / "models/example/tiny.toml").write_text(RECORD)
    (tmp_path / "models/tiny-int4.toml").write_text(DERIVED)
    return tmp_path


def test_id_and_alias_in_any_case_give_one_record() -> None:
    dirs = (SHIPPED,)
    assert load_model("DEEPSEEK-AI/DeepSeek-R1", dirs) is load_model("deepseek-r1", dirs)
    assert Catalog.open().model("Qwen/Qwen3-32B").id == "qwen3-32b"


def test_a_miss_names_near_ids() -> None:
    with pytest.raises(UnknownId, match=r"near names: .*deepseek-r1") as caught:
        load_model("deepsek-r1", (SHIPPED,))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("word", ["", "a\0b", "x" * 5000, "./nothing-here", "nothing.json", "..", "/"])
def test_odd_words_are_input_errors(word: str) -> None:
    with pytest.raises(InputError):
        load_model(word, (SHIPPED,))


def test_a_users_record_stands_beside_the_shipped(folder: Path) -> None:
    dirs = (folder, SHIPPED)
    assert {"tiny", "tiny-int4", "deepseek-r1"} <= set(model_ids(dirs))
    tiny = load_model("example/tiny", dirs)
    assert (tiny.name, tiny.vendor, tiny.license, tiny.sources) == ("Tiny", "Example", "MIT", ("uncited",))
    assert isinstance(tiny.published_total, Figure)
    assert isinstance(tiny.published_active, Unknown)
    assert tiny.parameters() == 115_008
    assert check_models(dirs, only=[folder]) == []


def test_a_derivative_has_its_bases_shape_and_its_own_precision(folder: Path) -> None:
    base, derived = load_model("tiny", (folder, SHIPPED)), load_model("tiny-int4", (folder, SHIPPED))
    assert derived.base == "tiny"
    assert derived.parameters() == base.parameters()
    assert derived.max_context_tokens == 8192
    assert {linear.dtype for _, linear in derived.each_linear()} == {"int4_g128"}
    assert {linear.dtype for _, linear in base.each_linear()} == {"bf16"}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("hidden_size = 64", "hidden_size = -1", "hidden_size: a whole number"),
        ('model_type = "llama"', 'model_type = "elmo"', "the architecture 'elmo' is not supported"),
        ('id = "tiny"', 'id = "small"', "is not the name of the file"),
        ('printed = "0.1M"', 'printed = "many"', "cannot read 'many'"),
        ('source = "uncited"', 'source = "nobody"', "no source is called 'nobody'"),
        ("license", "licence", "no such key here"),
        ("[config]", "[conf]", "config: is missing"),
        ('config_source = "uncited"', 'config_source = "nobody"', "no source is called 'nobody'"),
    ],
)
def test_a_fault_names_file_and_place(folder: Path, old: str, new: str, fault: str) -> None:
    path = folder / "models/example/tiny.toml"
    path.write_text(RECORD.replace(old, new))
    faults = check_models((folder, SHIPPED), only=[folder])
    assert any(str(path) in line and fault in line for line in faults), faults
    with pytest.raises(CatalogError):
        load_model("tiny", (folder, SHIPPED))


def test_bases_that_go_in_a_circle_are_a_fault(folder: Path) -> None:
    path = folder / "models/example/tiny.toml"
    path.write_text(DERIVED.replace('"tiny-int4"', '"tiny"').replace('base = "tiny"', 'base = "tiny-int4"'))
    with pytest.raises(CatalogError, match="goes in a circle"):
        load_model("tiny", (folder, SHIPPED))


def test_a_name_of_two_records_is_a_fault(folder: Path) -> None:
    path = folder / "models/tiny-int4.toml"
    path.write_text(DERIVED.replace('vendor = "Example"', 'vendor = "Example"\naliases = ["Example/Tiny"]'))
    assert any("also names" in line for line in check_models((folder, SHIPPED), only=[folder]))


def test_a_path_of_a_configuration_is_read(tmp_path: Path) -> None:
    home = tmp_path / "my-model"
    home.mkdir()
    (home / "config.json").write_text(json.dumps(TINY))
    (home / "hf_quant_config.json").write_text(
        json.dumps(
            {
                "quantization": {
                    "quant_algo": "FP8",
                    "kv_cache_quant_algo": "FP8",
                    "exclude_modules": ["lm_head"],
                }
            }
        )
    )
    by_folder, by_file = load_model(str(home), (SHIPPED,)), load_model(str(home / "config.json"), (SHIPPED,))
    assert by_folder == by_file
    assert by_folder.id == "my-model"
    assert by_folder.default_kv_dtype == "fp8_e4m3"
    assert {linear.dtype for _, linear in by_folder.each_linear()} == {"fp8_e4m3"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not JSON"),
        (b"[1, 2]", "a JSON object is wanted"),
        (b"{" * 100_000, "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b" " * 1_100_000, "larger than"),
    ],
)
def test_a_bad_file_is_an_input_error(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=fault):
        load_model(str(path), (SHIPPED,))


def test_an_architecture_of_the_users_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**TINY, "model_type": "t5"}))
    with pytest.raises(UnsupportedModel, match="the architecture 't5' is not supported"):
        load_model(str(path), (SHIPPED,))


def test_the_guides_folder_is_a_catalog() -> None:
    guide = Path(__file__).parent.parent.parent / "docs" / "guides" / "add-a-model"
    dirs = (guide, SHIPPED)
    assert check_models(dirs, only=[guide]) == []
    named, awq, plain = (
        load_model(word, dirs) for word in ("qwen2.5-3b", "qwen2.5-3b-awq", str(guide / "qwen2.5-3b"))
    )
    assert named.parameters() == awq.parameters() == plain.parameters() == 3_085_938_688
    assert named.layers == plain.layers


def test_every_second_layer_of_hunyuan_large_reads_its_neighbours_cache() -> None:
    model = load_model("hunyuan-large", [SHIPPED])
    # 32 of 64 layers keep 8 heads of 80 for keys and for values, in 16 bits.
    assert kv_bytes_per_token(model) == 32 * 2 * 8 * 80 * 2
    reading = [layer for layer in model.layers if layer.core.shares_cache]
    assert sum(layer.count for layer in reading) == 32
    assert {linear.name.rsplit(".", 1)[-1] for linear in reading[0].linears} >= {"q_proj", "o_proj"}
    assert not {"k_proj", "v_proj"} & {linear.name.rsplit(".", 1)[-1] for linear in reading[0].linears}


def test_step_3_reads_its_queries_through_a_bottleneck() -> None:
    model = load_model("step-3", [SHIPPED])
    # One head of keys and values of 256 each, in 61 layers of 16 bits.
    assert kv_bytes_per_token(model) == 61 * 2 * 256 * 2
    dense, routed = model.layers
    assert (dense.count, routed.count) == (5, 56)
    queries = {
        linear.name.rsplit(".", 1)[-1]: (linear.inputs, linear.outputs)
        for linear in routed.linears
        if linear.name.endswith(("q_proj", "wq"))
    }
    assert queries == {"q_proj": (7168, 2048), "wq": (2048, 64 * 256)}
