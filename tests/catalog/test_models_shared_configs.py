"""Real configurations of open models: each is read, or refused by name. Needs the optional data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dougong.catalog.hf import read_config
from dougong.catalog.hf.read import read_json
from dougong.catalog.model_store import load_model
from dougong.catalog.models import Model
from dougong.catalog.store import SHIPPED
from dougong.errors import CatalogError, InputError, UnsupportedModel
from shared_data import shared_data

REFUSED = {
    "Qwen__Qwen3-Omni-30B-A3B": (CatalogError, "hidden_size: is missing"),
    "Qwen__Qwen3.5-4B": (UnsupportedModel, "the Megatron layer spec 'slime_plugins.models.qwen3_5'"),
    "Qwen__Qwen3.5-9B": (UnsupportedModel, "the Megatron layer spec 'slime_plugins.models.qwen3_5'"),
    "moonshotai__Kimi-K2-Thinking": (UnsupportedModel, "the Megatron argument moe-layer-freq"),
    "moonshotai__Moonlight-16B-A3B": (UnsupportedModel, "moe-shared-expert-intermediate-size"),
    "zai-org__GLM-4.7-Flash-30B-A3B": (UnsupportedModel, "moe-shared-expert-intermediate-size"),
}
"""Files that state too little: what a class or a shell variable fills in is not in them."""

DIFFERENT = {
    "XiaomiMiMo__MiMo-V2-Flash": "the file leaves out the MTP modules",
    "stepfun-ai__Step-3.7-Flash": "the file leaves out that windowed layers have 96 heads",
    "stepfun-ai__Step-3.7-Flash-FP8": "as Step-3.7-Flash",
    "tencent__Hunyuan-A13B-Instruct": "the file leaves out that embeddings are tied",
    "Qwen__Qwen3-30B-A3B-Instruct-2507": "",
}
"""Files that a record departs from, and why (an empty reason: it does not)."""


def files() -> list[Path]:
    return [
        path
        for folder in ("configs", "configs-derived")
        for path in sorted(shared_data(folder).glob("*.json"))
    ]


def read(path: Path) -> Model:
    beside = path.parent / "hf_quant" / path.name
    return read_config(read_json(path), id=path.stem, hf_quant=read_json(beside) if beside.exists() else None)


def test_every_configuration_is_read_or_refused_by_name() -> None:
    seen: set[str] = set()
    for path in files():
        if path.stem in REFUSED:
            kind, words = REFUSED[path.stem]
            with pytest.raises(kind) as caught:
                read(path)
            assert words in str(caught.value)
            seen.add(path.stem)
        else:
            assert read(path).parameters() > 1e8, path.name
    assert seen == set(REFUSED)


def test_a_record_holds_what_its_configuration_says() -> None:
    compared = 0
    for path in files():
        if path.stem in REFUSED:
            continue
        own = read(path)
        try:
            record = load_model(path.stem.replace("__", "/"), (SHIPPED,))
        except InputError:
            continue
        same = (
            own.layers,
            own.mtp_layers,
            own.head,
            own.tied_embeddings,
            own.activation_dtype,
            own.default_kv_dtype,
        )
        theirs = (
            record.layers, record.mtp_layers, record.head, record.tied_embeddings, record.activation_dtype,
            record.default_kv_dtype,
        )  # fmt: skip
        assert (same == theirs) is not bool(DIFFERENT.get(path.stem)), path.name
        compared += 1
    assert compared >= 100


def test_reading_is_quick() -> None:
    import time

    slowest = 0.0
    for path in files():
        if path.stem not in REFUSED:
            began = time.perf_counter()
            read(path)
            slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.5, f"{slowest:.3f} s"
