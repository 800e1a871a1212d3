"""Second implementations, in another order and by other means, agree with the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from dougong.backends import Array, Call
from dougong.backends.reference import FORMULAS
from dougong.verify.case import Case
from dougong.verify.families import elementary, lora, moe, sampler, selection, softmax

SEEDS = (0, 1, 2)


def _calls(family: object, start: str) -> Iterator[Call]:
    found: list[Case] = [case for case in family.cases() if case.id.startswith(start)]  # type: ignore[attr-defined]
    assert found, start
    for case in found:
        for seed in SEEDS:
            yield case.call(seed)


def _close(got: Array, want: Array, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def test_experts_over_one_hot_matrices() -> None:
    for call in _calls(moe, "moe/moe-half-float32"):
        x, weights = (call.inputs[name].astype(np.float64) for name in ("x", "weights"))
        ids, experts = call.inputs["ids"], len(call.inputs["gate_up"])
        share = np.einsum("tk,tke->te", weights, ids[..., None] == np.arange(experts))
        gate, up = np.split(
            np.einsum("th,efh->tef", x, call.inputs["gate_up"].astype(np.float64)), 2, axis=-1
        )
        hidden = gate / (1 + np.exp(-gate)) * up
        y = np.einsum("tef,ehf,te->th", hidden, call.inputs["down"].astype(np.float64), share)
        _close(FORMULAS["moe"](call)["y"], y)


def test_a_router_row_by_row() -> None:
    for call in _calls(moe, "moe/route_sigmoid-deepseek-v3-bias"):
        out = FORMULAS["route_sigmoid"](call)
        groups, kept, k = (int(call.attributes[name]) for name in ("groups", "top_groups", "top_k"))
        for row, logits in enumerate(call.inputs["logits"].astype(float)):
            scores = [1 / (1 + math.exp(-value)) for value in logits]
            chosen = [score + float(bias) for score, bias in zip(scores, call.inputs["bias"], strict=True)]
            size = len(chosen) // groups
            worth = [sum(sorted(chosen[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
            allowed = sorted(range(groups), key=lambda g: (-worth[g], g))[:kept]
            places = [e for e in range(len(chosen)) if e // size in allowed]
            ids = sorted(places, key=lambda e: (-chosen[e], e))[:k]
            assert out["ids"][row].tolist() == ids
            total = math.fsum(scores[e] for e in ids)
            _close(
                out["weights"][row], np.array([scores[e] / total * call.attributes["scaling"] for e in ids])
            )


def _rank(values: Array, n: int) -> tuple[bool, float, int]:
    missing = math.isnan(values[n])
    return not missing, 0.0 if missing else -values[n], n


@pytest.mark.parametrize(
    "start", ["selection/top_k-ties-2", "selection/top_k-nan-100", "selection/top_k-ends-37"]
)
def test_top_k_by_a_whole_sort(start: str) -> None:
    for call in _calls(selection, start):
        out, k = FORMULAS["top_k"](call), int(call.attributes["k"])
        for row, values in enumerate(call.inputs["x"].astype(float)):
            assert out["indices"][row].tolist() == sorted(range(len(values)), key=partial(_rank, values))[:k]


@pytest.mark.parametrize("what", ["top-k", "top-p", "top-p-above", "min-p", "combined", "greedy"])
def test_filters_token_by_token(what: str) -> None:
    for call in _calls(sampler, f"sampler/filter-{what}-n50"):
        p = FORMULAS["filter_probabilities"](call)["p"]
        for row in range(len(p)):
            _close(p[row], np.array(_filtered(call, row)))


def _filtered(call: Call, row: int) -> list[float]:
    logits, temperature = call.inputs["logits"][row].astype(float), float(call.inputs["temperature"][row])
    n = len(logits)
    if temperature < 1e-5:
        return [float(token == int(np.argmax(logits))) for token in range(n)]
    kept = sorted(range(n), key=lambda token: (-logits[token], token))
    if "top_k" in call.inputs and 0 < call.inputs["top_k"][row] < n:
        kept = kept[: int(call.inputs["top_k"][row])]

    def shares() -> list[float]:
        weights = [math.exp((logits[token] - logits[kept[0]]) / temperature) for token in kept]
        return [weight / math.fsum(weights) for weight in weights]

    if "top_p" in call.inputs and call.inputs["top_p"][row] < 1:
        each, mass, count = shares(), 0.0, 0
        while count < len(kept) and (count == 0 or mass < float(call.inputs["top_p"][row])):
            mass, count = mass + each[count], count + 1
        kept = kept[:count]
    if "min_p" in call.inputs:
        each = shares()
        kept = [
            t
            for t, share in zip(kept, each, strict=True)
            if share >= float(call.inputs["min_p"][row]) * each[0]
        ]
    found = dict(zip(kept, shares(), strict=True))
    return [found.get(token, 0.0) for token in range(n)]


def test_a_softmax_online_in_blocks() -> None:
    for call in _calls(softmax, "softmax/softmax-edge-m3-n1025-float32"):
        x = call.inputs["x"].astype(np.float64)
        top, total = np.full(len(x), -np.inf), np.zeros(len(x))
        for block in np.array_split(x, 7, axis=-1):
            higher = np.maximum(top, block.max(axis=-1))
            total = total * np.exp(top - higher) + np.exp(block - higher[:, None]).sum(axis=-1)
            top = higher
        _close(FORMULAS["softmax"](call)["y"], np.exp(x - top[:, None]) / total[:, None])


def test_adapters_merged_and_not() -> None:
    for call in _calls(lora, "lora/linear-one-m17-float32"):
        x, weight, down, up = (call.inputs[name].astype(np.float64) for name in ("x", "weight", "down", "up"))
        a = int(call.inputs["adapter"][0])
        merged = weight + float(call.inputs["scaling"][a]) * up[a] @ down[a]
        _close(FORMULAS["lora_linear"](call)["y"], x @ merged.T)


def test_functions_by_the_library_of_the_language() -> None:
    for op in ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "sqrt"):
        for call in _calls(elementary, f"elementary/{op}-sweep-float32"):
            few = Call(op=op, inputs={"x": call.inputs["x"][::97]})
            want = [getattr(math, op)(float(value)) for value in few.inputs["x"]]
            np.testing.assert_allclose(FORMULAS[op](few)["y"], want, rtol=4e-15)


def test_sines_of_large_arguments_by_exact_fractions() -> None:
    # 2 pi to 60 digits: what is left of 1e30 has 30 of them.
    turn = 2 * Fraction("3.14159265358979323846264338327950288419716939937510582097494459")
    for value in (1e4, 2.0**24 + 1, 1e10, 3e20, 1e30):
        x = np.array([value], np.float32)
        left = float(Fraction(float(x[0])) % turn)
        got = FORMULAS["sin"](Call(op="sin", inputs={"x": x}))["y"][0]
        assert abs(got - math.sin(left)) < 1e-14
