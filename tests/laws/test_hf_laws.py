"""Whatever is done to a valid configuration, the reader answers with a model or with an input error."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dougong.catalog.hf import read_config
from dougong.catalog.models import Model
from dougong.catalog.store import SHIPPED
from dougong.errors import InputError

CONFIGS: dict[str, dict[str, Any]] = {
    path.stem: raw["config"]
    for path in sorted(Path(SHIPPED, "models").rglob("*.toml"))
    if "config" in (raw := tomllib.loads(path.read_text(encoding="utf-8")))
}
ONE_OF_EACH = sorted({config["model_type"]: name for name, config in CONFIGS.items()}.values())

numbers = st.one_of(
    st.integers(-3, 300), st.sampled_from([10**6, 10**7, 10**30, -(10**30), 10**4000, 2**63]), st.booleans(),
    st.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip
odd_words = ["full_attention", "float16", "fp8", "re:(a+)+$", "$X", "\ud800"]
words = st.one_of(st.text(max_size=12), st.sampled_from(odd_words))
junk = st.recursive(
    st.one_of(st.none(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(words, inner, max_size=4)),
    max_leaves=8,
)


def places(config: Mapping[str, Any], path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a nested configuration."""
    found: list[tuple[Any, ...]] = []
    items = config.items() if isinstance(config, Mapping) else enumerate(config)
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, (Mapping, list)):
            found += places(value, (*path, key))  # type: ignore[arg-type]
    return found


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A shipped configuration with one to four changes."""
    config = copy.deepcopy(CONFIGS[draw(st.sampled_from(ONE_OF_EACH))])
    for _ in range(draw(st.integers(1, 4))):
        spots = places(config)
        if not spots:
            break
        *way, last = draw(st.sampled_from(spots))
        holder: Any = config
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(["delete", "replace", "wrap", "rename", "grow"])):
            case "delete":
                del holder[last]
            case "replace":
                holder[last] = draw(junk)
            case "wrap":
                holder[last] = {"text_config": holder[last]}
            case "rename":
                value = holder.pop(last)
                if isinstance(holder, dict):
                    holder[draw(words)] = value
            case _:
                holder[last] = [holder[last]] * draw(st.integers(0, 200))
    return config


def outcome(config: Mapping[str, Any], **more: Any) -> Model | None:
    """The model, or None for an input error; anything else is a failure of the test that asked."""
    try:
        return read_config(config, id="changed", **more)
    except InputError:
        return None


@settings(max_examples=400)
@given(config=mutated())
def test_a_changed_configuration_is_read_or_is_an_input_error(config: dict[str, Any]) -> None:
    model = outcome(config)
    if model is not None:
        assert model.parameters() > 0
        assert model.active_parameters() > 0


@given(config=junk, quant=junk)
def test_junk_is_an_input_error(config: Any, quant: Any) -> None:
    with pytest.raises(InputError):
        read_config(config, id="junk", hf_quant=quant)


@given(
    config=st.dictionaries(
        st.sampled_from(["quant_algo", "exclude_modules", "quantized_layers", "quantization"]), junk
    )
)
def test_a_junk_quantisation_file_is_read_or_is_an_input_error(config: dict[str, Any]) -> None:
    outcome(CONFIGS["qwen3-30b-a3b"], hf_quant=config)


@given(name=st.sampled_from(sorted(CONFIGS)), data=st.data())
def test_reading_is_blind_to_the_order_of_keys(name: str, data: st.DataObject) -> None:
    config = CONFIGS[name]
    shuffled = dict(data.draw(st.permutations(list(config.items()))))
    assert read_config(shuffled, id="same") == read_config(config, id="same")


@given(name=st.sampled_from(sorted(CONFIGS)))
def test_counts_are_whole_and_layers_are_all_there(name: str) -> None:
    config = CONFIGS[name]
    model = read_config(config, id="same")
    held = sorted(index for layer in model.layers for index in layer.indices)
    assert held == list(range(model.num_layers))
    assert model.num_layers == config.get("num_hidden_layers", config.get("num_layers", model.num_layers))
