"""What a stranger may hand in for a model or a folder: pipes, homes of nobody, empty folders, long words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dougong.catalog import Catalog
from dougong.catalog.index import said_like
from dougong.catalog.model_store import load_model
from dougong.catalog.store import SHIPPED
from dougong.errors import CatalogError, InputError, UnknownId

TINY = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 256,
}  # fmt: skip

pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pipes
def test_an_idle_pipe_is_an_empty_file_and_not_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InputError, match="not JSON"):
        load_model(str(tmp_path / "config.json"), [SHIPPED])


@pipes
def test_a_configuration_comes_through_a_pipe() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, json.dumps(TINY).encode())
        os.close(writer)
        assert Catalog.open().model(f"/dev/fd/{reader}").hidden_size == 64
    finally:
        os.close(reader)


def test_a_byte_order_mark_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(TINY).encode())
    assert load_model(str(tmp_path), [SHIPPED]).hidden_size == 64


def test_the_home_of_nobody_is_no_model() -> None:
    with pytest.raises(UnknownId, match="no file or folder"):
        Catalog.open().model("~nobody-lives-here/config.json")


def test_a_record_goes_before_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        catalog = Catalog.open()
        assert catalog.model("qwen3-8b").num_layers == 36
        return catalog.content_hash()

    before = digest()
    (tmp_path / "qwen3-8b").write_text("anything at all")
    monkeypatch.chdir(tmp_path)
    assert digest() == before


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no records"):
        Catalog.open([tmp_path])
    (tmp_path / "chips").mkdir()
    Catalog.open([tmp_path])


@pytest.mark.parametrize(
    ("shipped", "absurd"),
    [
        ('"1.6 TB/s"', '"1.6e12 TB/s"'),
        ('"64 GiB"', '"64e12 GiB"'),
        ('"1504 TOPS"', '"1504e-12 OPS"'),
        ('"2.1 us"', '"2.1e9 years"'),
    ],
)
def test_a_figure_like_nothing_ever_built_is_a_fault(tmp_path: Path, shipped: str, absurd: str) -> None:
    text = next((SHIPPED / "chips").rglob("huawei-910c.toml")).read_text(encoding="utf-8")
    assert shipped in text
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "huawei-910c.toml").write_text(text.replace(shipped, absurd), encoding="utf-8")
    with pytest.raises(CatalogError, match="like nothing ever built"):
        Catalog.open([tmp_path])


def test_near_names_go_on_where_the_word_stops() -> None:
    known = ["deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "deepseek-v4-pro", "qwen3-8b"]
    assert UnknownId("model", "DeepSeek-V4", known).near[:2] == ["deepseek-v4-flash", "deepseek-v4-pro"]
    assert UnknownId("model", "deepseek-v33", known).near[0] == "deepseek-v3"
    assert UnknownId("model", "", known).near == []


def test_a_word_without_end_is_said_short() -> None:
    assert len(str(UnknownId("model", "a" * 100_000, ["aa", "b"]))) < 200


def test_a_fault_is_told_once() -> None:
    assert CatalogError(["a: x", "a: x", "b: y"]).message.splitlines() == [
        "2 faults in catalog files:", "  a: x", "  b: y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "kind", "meant"),
    [
        ("CloudMatrix 384", "system", "cloudmatrix384"),
        ("Atlas 800T A3", "system", "atlas-800t-a3"),
        ("gb200_nvl72", "system", "gb200-nvl72"),
        ("DeepSeek R1", "model", "deepseek-r1"),
        ("Qwen3 Next", "model", "qwen3-next-80b-a3b"),
        ("qwen3-next", "model", "qwen3-next-80b-a3b"),
        ("Qwen2.5 72B", "model", "qwen2.5-72b"),
    ],
)
def test_a_name_is_read_as_it_is_said(said: str, kind: str, meant: str) -> None:
    assert getattr(Catalog.open(), kind)(said).id == meant


def test_a_chip_of_many_names_is_found() -> None:
    assert Catalog.open().system("huawei-310p").chip.id == "huawei-310p3"


@pytest.mark.parametrize(
    ("family", "kind", "members"),
    [
        ("deepseek-v4", "model", {"deepseek-v4-flash", "deepseek-v4-pro"}),
        ("gemma", "model", {"gemma-2-27b", "gemma-3-27b", "gemma-4-31b"}),
        ("atlas-800", "system", {"atlas-800-a2", "atlas-800i-a2", "atlas-800i-a3", "atlas-800t-a3"}),
        ("atlas-900", "system", {"atlas-900-a2", "atlas-900-a3"}),
    ],
)
def test_the_name_of_a_family_tells_its_members(family: str, kind: str, members: set[str]) -> None:
    with pytest.raises(UnknownId) as caught:
        getattr(Catalog.open(), kind)(family)
    assert members <= set(caught.value.near)


def test_what_is_said_like_two_names_is_neither() -> None:
    assert said_like("ab c", {"a-bc": "one", "ab_c": "two"}) is None
    assert said_like("ab c", {"a-bc": "one", "abc": "one"}) == "one"
    assert said_like(" ", {"": "one"}) is None
