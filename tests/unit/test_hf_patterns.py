"""Ignore lists of quantised checkpoints: what each dialect covers, and what is refused."""

from __future__ import annotations

import time

import pytest

from dougong.catalog.hf.patterns import PatternError, Patterns, canonical


def covers(pattern: str, module: str) -> bool:
    patterns: Patterns[bool] = Patterns()
    patterns.add(pattern, True)
    return patterns.find(module) is True


@pytest.mark.parametrize(
    ("pattern", "module", "covered"),
    [
        ("lm_head", "lm_head", True),
        ("language_model.lm_head", "lm_head", True),
        # a parent covers its children, and nothing that only begins like it
        ("model.layers.3.self_attn", "layers.3.self_attn.q_proj", True),
        ("model.layers.3.mlp.gate", "layers.3.mlp.gate", True),
        ("model.layers.3.mlp.gate", "layers.3.mlp.gate_proj", False),
        ("model.layers.3.mlp.gate", "layers.30.mlp.gate", False),
        # an ending covers, but a place of the main stack is no ending of an MTP module
        ("gate", "layers.7.block_sparse_moe.gate", True),
        ("gate", "layers.7.mlp.gate_proj", False),
        ("layers.0.mlp.up_proj", "mtp.layers.0.mlp.up_proj", False),
        # globs
        ("model.layers.1.*", "layers.1.mlp.up_proj", True),
        ("model.layers.1.*", "layers.10.mlp.up_proj", False),
        ("model.layers.1*", "layers.10.mlp.up_proj", True),
        ("model.language_model.layers.5.mlp.shared_expert*", "layers.5.mlp.shared_expert_gate", True),
        ("*.mlp.shared_expert.*", "layers.5.mlp.shared_expert.up_proj", True),
        ("model.layers.*.self_attn", "layers.12.self_attn.k_proj", True),
        ("model.layers.*.self_attn", "layers.12.self_attention.k_proj", False),
        ("mtp*", "mtp.layers.0.self_attn.q_proj", True),
        # the regular expressions that occur
        ("re:.*self_attn.*", "layers.2.self_attn.o_proj", True),
        (r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "layers.0.mlp.up_proj", True),
        (r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "layers.0.mlp.experts.0.gate_proj", False),
        (r"re:^model\.layers\.\d+\.mlp\.gate$", "layers.61.mlp.gate", True),
        (r"re:^model\.layers\.\d+\.mlp\.gate$", "layers.61.mlp.gate_proj", False),
        # other towers are no part of the language model
        ("vision_model.layers.3.mlp", "layers.3.mlp.up_proj", False),
        ("model.visual.blocks.0.attn", "layers.0.attn", False),
    ],
)
def test_what_a_pattern_covers(pattern: str, module: str, covered: bool) -> None:
    assert covers(pattern, module) is covered


def test_wrappers_are_stripped() -> None:
    assert canonical("language_model.model.layers.3.mlp") == "layers.3.mlp"
    assert canonical("backbone.layers.3.mixer.in_proj") == "layers.3.mixer.in_proj"
    assert canonical("model") == "model"


@pytest.mark.parametrize(
    "pattern",
    [
        "re:(a+)+$",
        "re:a{1,1000}",
        "re:(?=x)",
        "re:[a-z]+",
        "re:" + "(a|b)" * 7,
        "layers.[0-9]",
        "a?b",
        "*" + "a*" * 8,
        "x" * 501,
        "",
    ],
)
def test_other_forms_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        covers(pattern, "layers.0.mlp.gate")


def test_the_first_value_wins_and_an_empty_list_is_false() -> None:
    patterns: Patterns[str] = Patterns()
    assert not patterns
    assert patterns.find("layers.0.mlp") is None
    patterns.add("layers.0.*", "first")
    patterns.add("*mlp*", "second")
    assert patterns.find("layers.0.mlp") == "first"
    assert patterns.find("layers.1.mlp") == "second"


def test_a_long_list_is_quick() -> None:
    patterns: Patterns[bool] = Patterns()
    for layer in range(1000):
        for part in ("self_attn*", "mlp.gate", "input_layernorm"):
            patterns.add(f"model.layers.{layer}.{part}", True)
    for letter in "abcdefgh" * 500:
        patterns.add(f"*{letter}*{letter}*{letter}*x", True)
    began = time.perf_counter()
    for layer in range(1000):
        assert patterns.find(f"layers.{layer}.self_attn.q_proj")
        assert patterns.find(f"layers.{layer}.mlp.down_proj") is None
    assert time.perf_counter() - began < 2.0


def test_many_numbered_globs_are_refused() -> None:
    patterns: Patterns[bool] = Patterns()
    for number in range(256):
        patterns.add(f"*block{number}*", True)
    with pytest.raises(PatternError):
        patterns.add("*block256*", True)
