"""Honest ways to compute that must raise no alarm: other orders, splits and tiles, roundings that a class allows."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from dougong.backends import Answer, Array, Call
from dougong.backends.dtypes import dtype_of
from dougong.backends.reference.attention import logits, problem_of
from dougong.backends.reference.quantised_gemm import DEQUANTISED
from dougong.verify.case import Case
from dougong.verify.families import cases
from dougong.verify.judge import Outcome, judge
from dougong.verify.verdict import Verdict

CASES = {case.id: case for case in cases()}
SEEDS = range(10)
Sum = Callable[[Array, Array], Array]


def term_by_term(x: Array, weight: Array) -> Array:
    total = np.zeros((x.shape[0], weight.shape[0]), np.float32)
    for k in range(x.shape[1]):
        total += np.outer(x[:, k], weight[:, k])
    return total


def backwards(x: Array, weight: Array) -> Array:
    return term_by_term(x[:, ::-1], weight[:, ::-1])


def split(x: Array, weight: Array) -> Array:
    parts = zip(np.array_split(x, 7, axis=1), np.array_split(weight, 7, axis=1), strict=True)
    return sum((a @ b.T for a, b in parts), np.zeros((x.shape[0], weight.shape[0]), np.float32))


def pairwise(x: Array, weight: Array) -> Array:
    return np.add.reduce(x[:, None] * weight, axis=-1, dtype=np.float32)


def blas(x: Array, weight: Array) -> Array:
    return x @ weight.T


def verdict(case: Case, seed: int, outputs: Callable[[Call], dict[str, Array]]) -> str:
    call = case.call(seed)
    result = judge(case, call, Outcome(answer=Answer(outputs=outputs(call), device="cpu")))
    return f"{result.verdict} {result.detail}" if result.verdict is not Verdict.PASS else "PASS"


@pytest.mark.parametrize("total", [term_by_term, backwards, split, pairwise, blas])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "what",
    [
        "linear-m17-n71-k130",
        "linear-positive-k1024",
        "linear-m3-n5-k7",
        "linear-ones-k8192",
        "linear-staircase",
    ],
)
def test_orders_of_a_sum(what: str, dtype: str, total: Sum) -> None:
    case = CASES[f"gemm/{what}-{dtype}"]

    def outputs(call: Call) -> dict[str, Array]:
        x, weight = (call.inputs[name].astype(np.float32) for name in ("x", "weight"))
        return {"y": total(x, weight).astype(dtype_of(dtype))}

    assert {verdict(case, seed, outputs) for seed in SEEDS} == {"PASS"}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_bias_added_after_the_product_is_rounded(dtype: str) -> None:
    case = CASES[f"gemm/linear-bias-m17-n300-k128-{dtype}"]

    def outputs(call: Call) -> dict[str, Array]:
        x, weight = (call.inputs[name].astype(np.float32) for name in ("x", "weight"))
        return {"y": (x @ weight.T).astype(dtype_of(dtype)) + call.inputs["bias"]}

    assert {verdict(case, seed, outputs) for seed in SEEDS} == {"PASS"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "what",
    [
        "linear-w4a16-g128-zeros-m17",
        "linear-w8a16-k8192-m17",
        "linear-mxfp4-k2880-m9",
        "linear-nvfp4-k1536-m9",
    ],
)
def test_weights_widened_to_the_dtype_of_the_activations(what: str, dtype: str) -> None:
    case = CASES[f"quantised_gemm/{what}-{dtype}"]

    def outputs(call: Call) -> dict[str, Array]:
        x, weight = DEQUANTISED[call.op](call)
        y = x.astype(np.float32) @ weight.astype(dtype_of(dtype)).astype(np.float32).T
        return {"y": y.astype(dtype_of(dtype))}

    assert {verdict(case, seed, outputs) for seed in range(2)} == {"PASS"}


def flash(call: Call, tile: int, narrow: bool) -> dict[str, Array]:
    """Tiles of keys in float32, the weights rounded to the dtype before they meet the values."""
    problem, dtype = problem_of(call), call.inputs["q"].dtype
    score, v = logits(problem).astype(np.float32), problem.v.astype(np.float32)
    highest = np.full((*score.shape[:-1], 1), -np.inf, np.float32)
    total, y = np.zeros_like(highest), np.zeros((*score.shape[:-1], v.shape[-1]), np.float32)
    for start in range(0, score.shape[-1], tile):
        span = slice(start, start + tile)
        new = np.maximum(highest, score[..., span].max(-1, keepdims=True))
        safe = np.where(np.isinf(new), np.float32(0), new)
        kept, raised = np.exp(highest - safe), np.exp(score[..., span] - safe)
        total = total * kept + raised.sum(-1, keepdims=True)
        y = y * kept + (raised.astype(dtype).astype(np.float32) if narrow else raised) @ v[:, :, span]
        highest = new
    return {"y": (y / np.where(total == 0, np.float32(1), total)).astype(dtype)}


@pytest.mark.parametrize("tile", [16, 128])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "what", ["qwen2.5-7b-t16-s529", "mask-bool-s600", "plain", "alike-s1000", "alike-s3"]
)
def test_flash_attention_in_tiles(what: str, dtype: str, tile: int) -> None:
    case = CASES[f"attention/{what}-{dtype}"]
    assert {verdict(case, seed, lambda call: flash(call, tile, True)) for seed in range(2)} == {"PASS"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_normed_row_rounded_before_its_weight(dtype: str) -> None:
    """As the code of Llama has it."""

    def outputs(call: Call) -> dict[str, Array]:
        x = call.inputs["x"].astype(np.float32)
        root = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-6))
        return {"y": (x * root).astype(dtype_of(dtype)) * call.inputs["weight"]}

    for what in (
        "d5120",
        "outlier",
    ):  # beside an outlier the others are subnormal in float16 before their weight
        case = CASES[f"norm/rms-norm-{what}-{dtype}"]
        assert {verdict(case, seed, outputs) for seed in SEEDS} == {"PASS"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_rotation_in_the_dtype(dtype: str) -> None:
    """As the code of Transformers has it: tables and products rounded."""

    def outputs(call: Call) -> dict[str, Array]:
        x, positions = call.inputs["x"], call.inputs["positions"].astype(np.float32)
        width = x.shape[-1]
        frequency = np.float32(1e6) ** (-np.arange(0, width, 2, dtype=np.float32) / np.float32(width))
        angle = positions[:, None] * frequency
        cos, sin = (table.astype(x.dtype)[:, None] for table in (np.cos(angle), np.sin(angle)))
        first, second = x[..., : width // 2], x[..., width // 2 :]
        return {"y": np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)}

    case = CASES[f"rope/rope-qwen3-32b-4k-{dtype}"]
    assert {verdict(case, seed, outputs) for seed in SEEDS} == {"PASS"}


@pytest.mark.parametrize("chunk", [1, 64])
def test_a_delta_rule_step_by_step_in_float32(chunk: int) -> None:
    def outputs(call: Call) -> dict[str, Array]:
        q, k, v, g, beta, state = (
            call.inputs[name].astype(np.float32) for name in ("q", "k", "v", "g", "beta", "state")
        )
        y = np.empty(v.shape, np.float32)
        for t in range(len(q)):
            state = state * np.exp(g[t])[:, None, None]
            recalled = np.einsum("hd,hde->he", k[t], state)
            state = state + k[t][:, :, None] * (beta[t][:, None] * (v[t] - recalled))[:, None]
            y[t] = np.einsum("hd,hde->he", q[t], state)
        return {"y": y.astype(ml_dtypes.bfloat16), "state_out": state}

    case = CASES[f"latent_attention/gated-delta-rule-chunk{chunk}-t129-bfloat16"]
    assert {verdict(case, seed, outputs) for seed in range(4)} == {"PASS"}
