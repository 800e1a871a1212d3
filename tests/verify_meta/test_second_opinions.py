"""The reference against another way to the same numbers: other loops, other algebra, exact fractions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from dougong.backends import Array, Call
from dougong.backends.dtypes import dtype_of, rounded
from dougong.backends.reference import FORMULAS
from dougong.backends.reference.attention import Problem, attended, problem_of
from dougong.backends.reference.latent_attention import mla_problem
from dougong.backends.reference.quantised_gemm import DEQUANTISED
from dougong.backends.reference.rope import angles, attention_factor
from dougong.verify.families import cases

CASES = {case.id: case for case in cases()}
SEEDS = range(3)


def close(found: Array, wanted: Array) -> None:
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    assert np.max(np.abs(found - wanted), initial=0.0) <= 1e-12 * scale


def online(problem: Problem, tile: int = 17) -> Array:
    """Attention by tiles of keys from the last to the first, with a running maximum and sum."""
    q, k, v = problem.q, problem.k, problem.v
    keys = k.shape[-2]
    shape = (*q.shape[:-1], keys)
    visible, bias = (np.broadcast_to(each, shape) for each in (problem.visible, problem.bias))
    highest = np.full((*q.shape[:-1], 1), -np.inf)
    total, y = np.zeros_like(highest), np.zeros((*q.shape[:-1], v.shape[-1]))
    for end in range(keys, 0, -tile):
        span = slice(max(end - tile, 0), end)
        logit = np.einsum("bhtd,bhsd->bhts", q, k[:, :, span]) * problem.scale
        if problem.softcap:
            logit = problem.softcap * np.tanh(logit / problem.softcap)
        logit = np.where(visible[..., span], logit + bias[..., span], -np.inf)
        new = np.maximum(highest, logit.max(-1, keepdims=True))
        safe = np.where(np.isinf(new), 0.0, new)
        kept, raised = np.exp(highest - safe), np.exp(logit - safe)
        total = total * kept + raised.sum(-1, keepdims=True)
        y = y * kept + np.einsum("bhts,bhse->bhte", raised, v[:, :, span])
        highest = new
    if problem.sinks is not None:
        sinks = problem.sinks[:, None, None]
        safe = np.maximum(highest, sinks)
        y, total = y * np.exp(highest - safe), total * np.exp(highest - safe) + np.exp(sinks - safe)
    return y / np.where(total == 0, 1.0, total)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "what",
    [
        "qwen3-32b-t16-s529", "mask-bool-s600", "mask-infinity-s600", "mask-bool-of-b11s", "blind-row-bool",
        "window128-s300", "sinks", "sinks-window", "alibi", "softcap", "sharp", "token-major-t40-cut",
    ],
)  # fmt: skip
def test_attention_by_an_online_softmax(what: str, seed: int) -> None:
    call = CASES[f"attention/{what}-float32"].call(seed)
    problem = problem_of(call)
    close(online(problem), attended(call, problem))


def paged_by_hand(call: Call) -> Array:
    """One slot at a time, by division and remainder."""
    q, lengths, table = (call.inputs[name] for name in ("q", "lengths", "block_table"))
    page, groups = call.inputs["key_cache"].shape[1:3]
    y = np.zeros((*q.shape[:3], call.inputs["value_cache"].shape[-1]))
    for b, t, h in np.ndindex(*q.shape[:3]):
        last = int(lengths[b]) - q.shape[1] + t
        slots = [(table[b, s // page], s % page, h * groups // q.shape[2]) for s in range(last + 1)]
        k, v = (
            np.array([call.inputs[f"{name}_cache"][slot].astype(np.float64) for slot in slots])
            * call.inputs.get(f"{name[0]}_scale", np.ones(())).astype(np.float64)
            for name in ("key", "value")
        )
        weight = np.exp(k @ q[b, t, h].astype(np.float64) / np.sqrt(q.shape[-1]))
        y[b, t, h] = weight @ v / weight.sum()
    return y


@pytest.mark.parametrize("what", ["tokens4", "cache-int8-page16", "page16", "unused-zero"])
def test_paged_attention_by_slots(what: str) -> None:
    call = CASES[f"paged_attention/{what}-float32"].call(1)
    close(paged_by_hand(call), FORMULAS[call.op](call)["y"])


@pytest.mark.parametrize("seed", SEEDS)
def test_merged_parts_are_the_whole(seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, v = generator.standard_normal((3, 2, 40)) * 9, generator.standard_normal((40, 16))
    cuts = np.split(np.arange(40), [3, 20])
    sums = np.stack([np.log(np.exp(logits[..., cut]).sum(-1)) for cut in cuts])
    parts = np.stack(
        [np.exp(logits[..., cut]) @ v[cut] / np.exp(logits[..., cut]).sum(-1)[..., None] for cut in cuts]
    )
    whole = np.exp(logits) @ v / np.exp(logits).sum(-1)[..., None]
    merged = FORMULAS["merge_attention"](
        Call(op="merge_attention", inputs={"parts": parts, "log_sums": sums})
    )
    close(merged["y"], whole)
    close(merged["log_sum"], np.log(np.exp(logits).sum(-1)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "what",
    ["rope-qwen3-32b-4k", "rope-glm-4-9b-128k", "rope-gpt-oss-120b-0", "rope-glm-4.5-128k", "mrope-qwen3.5"],
)
def test_rope_by_complex_numbers(what: str, seed: int) -> None:
    call = CASES[f"rope/{what}-float32"].call(seed)
    x, at = call.inputs["x"].astype(np.float64), angles(call, call.inputs["positions"])
    dim = 2 * at.shape[-1]
    first, second = (
        (x[..., 0:dim:2], x[..., 1:dim:2])
        if call.get("style") == "interleaved"
        else (x[..., : dim // 2], x[..., dim // 2 : dim])
    )
    turned = (first + 1j * second) * np.exp(1j * at)[:, None] * attention_factor(call)
    y = x.copy()
    if call.get("style") == "interleaved":
        y[..., 0:dim:2], y[..., 1:dim:2] = turned.real, turned.imag
    else:
        y[..., : dim // 2], y[..., dim // 2 : dim] = turned.real, turned.imag
    close(FORMULAS[call.op](call)["y"], y)


def test_frequencies_of_llama_as_its_authors_wrote_them() -> None:
    call = CASES["rope/rope-angles-llama-3.1-8b-0-float32"].call()
    got = angles(replace(call, inputs={}), np.array([1]))[0]
    for i, frequency in enumerate(got):
        plain = 500_000.0 ** (-2 * i / 128)
        length = 2 * np.pi / plain
        if length < 8192 / 4:
            wanted = plain
        elif length > 8192 / 1:
            wanted = plain / 8
        else:
            smooth = (8192 / length - 1) / (4 - 1)
            wanted = (1 - smooth) * plain / 8 + smooth * plain
        assert frequency == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["deepseek-r1", "kimi-linear-48b-a3b"])
def test_latent_attention_absorbed(name: str, seed: int) -> None:
    call = CASES[f"latent_attention/mla-{name}-absorbed-t4-s530-float32"].call(seed)
    q_nope, q_rope, latent, k_rope, w_uk, w_uv = (
        call.inputs[each].astype(np.float64)
        for each in ("q_nope", "q_rope", "latent", "k_rope", "w_uk", "w_uv")
    )
    taken = np.einsum("thn,hnc->htc", q_nope, w_uk)
    score = taken @ latent.T + np.einsum("thr,sr->hts", q_rope, k_rope)
    score = np.where(np.tri(4, 530, 526, dtype=bool), score * mla_problem(call).scale, -np.inf)
    weight = np.exp(score - score.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    close(FORMULAS["mla"](call)["y"], np.einsum("htc,hec->the", weight @ latent, w_uv))


@pytest.mark.parametrize("seed", SEEDS)
def test_delta_rule_in_one_chunk(seed: int) -> None:
    """The triangular system of all tokens at once."""
    call = CASES["latent_attention/gated-delta-rule-chunk1-t63-float32"].call(seed)
    q, k, v, g, beta, state = (
        call.inputs[name].astype(np.float64) for name in ("q", "k", "v", "g", "beta", "state")
    )
    y = np.empty(v.shape)
    for h in range(q.shape[1]):
        since = np.cumsum(g[:, h])
        between = np.tril(np.exp(np.minimum(since[:, None] - since, 0)))
        system = np.eye(len(q)) + np.tril(beta[:, h, None] * (k[:, h] @ k[:, h].T) * between, -1)
        recalled = np.exp(since)[:, None] * (k[:, h] @ state[h])
        new = np.linalg.solve(system, beta[:, h, None] * (v[:, h] - recalled))
        y[:, h] = np.exp(since)[:, None] * (q[:, h] @ state[h]) + ((q[:, h] @ k[:, h].T) * between) @ new
    close(FORMULAS["gated_delta_rule"](call)["y"], y)


@pytest.mark.parametrize("op", sorted(DEQUANTISED))
def test_quantised_products_term_by_term(op: str) -> None:
    """Exact fractions of a few elements: what the bits stand for, read bit by bit."""
    case = next(case for case in CASES.values() if case.op == op and "one-hot" not in case.id)
    call = case.call(2)
    inputs, y = call.inputs, FORMULAS[op](call)["y"]
    k = inputs["x"].shape[1]
    for m, n in ((0, 0), (y.shape[0] - 1, y.shape[1] - 1)):
        total = Fraction(0)
        for j in range(k):
            total += Fraction(float(inputs["x"][m, j])) * scale_of(call, "x", m, j) * weight_of(call, n, j)
        assert float(total) == pytest.approx(y[m, n], rel=1e-11, abs=1e-11 * float(np.abs(y).max()))


def weight_of(call: Call, n: int, j: int) -> Fraction:
    stored = call.inputs["weight"]
    if stored.dtype != np.uint8:
        return Fraction(float(stored[n, j])) * scale_of(call, "weight", n, j)
    code = (int(stored[n, j // 2]) >> (4 * (j % 2))) & 15
    if call.op == "linear_w4a16":
        zero = 8
        if "weight_zero_point" in call.inputs:
            zero = int(call.inputs["weight_zero_point"][n, j // call.attributes["group"]])
        return (code - zero) * scale_of(call, "weight", n, j)
    exponent, mantissa = (code >> 1) & 3, code & 1
    size = Fraction(mantissa, 2) if exponent == 0 else (1 + Fraction(mantissa, 2)) * 2 ** (exponent - 1)
    return (-size if code & 8 else size) * scale_of(call, "weight", n, j)


def scale_of(call: Call, name: str, row: int, j: int) -> Fraction:
    scale = call.inputs.get(f"{name}_scale")
    if scale is None:
        return Fraction(1)
    if scale.ndim == 1:
        return Fraction(float(scale[row]))
    size = {"linear_mxfp8": 32, "linear_mxfp4": 32, "linear_nvfp4": 16}.get(call.op) or int(
        call.get("group") or call.get("block")
    )
    at = row // size if call.op == "linear_fp8_block" and name == "weight" else row
    value = scale[at, j // size]
    if scale.dtype == np.uint8:
        return Fraction(2) ** (int(value) - 127)
    return Fraction(float(value)) * Fraction(float(call.inputs.get("weight_scale_2", np.ones(()))))


@pytest.mark.parametrize("to", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_rounding_by_search(to: str) -> None:
    """The nearest of all finite numbers of the dtype, by bisection; of two equally near, the one with an even code."""
    codes = np.arange(2 ** (8 * dtype_of(to).itemsize), dtype=np.uint32)
    every = codes.astype(f"u{dtype_of(to).itemsize}").view(dtype_of(to))
    with np.errstate(invalid="ignore"):
        values = every.astype(np.float64)
    kept = np.isfinite(values) & (codes < len(codes) // 2)
    values, order = values[kept], codes[kept]
    generator = np.random.default_rng(5)
    x = np.concatenate(
        (generator.uniform(0, float(values[-1]), 300), values[:200], (values[1:] + values[:-1])[:300] / 2)
    )
    right = np.clip(np.searchsorted(values, x), 1, len(values) - 1)
    low, high = values[right - 1], values[right]
    up = (high - x < x - low) | ((high - x == x - low) & (order[right] % 2 == 0))
    assert np.array_equal(rounded(x, to).astype(np.float64), np.where(up, high, low))
