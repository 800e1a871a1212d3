r"""Bounds of mixtures of experts.

Notes
-----
An expert is two products with an activation between. The error :math:`\delta_j` of each activation (from both sums
over ``h``, the derivative of SiLU being at most 1.1, and the activation itself) reaches the result through
:math:`|W_{down}|`; independent signs add in squares. Gate, up, activation, their product and each expert's
result may be rounded to the dtype: the floor carries these five, and the rounding of the weights and of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.backends.reference.activation import silu
from dougong.backends.reference.moe import choices, combined
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats, Rule, summation
from dougong.verify.bounds.elementary import sigmoid_error
from dougong.verify.bounds.functions import ULPS, computed

_SLOPE = 1.1  # the largest derivative of SiLU, at x = 2.4


def _valid_ids(scores: Floats, wanted: Floats) -> Rule:
    """Any expert of the same score may stand in each place, none twice."""

    def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
        ids = np.asarray(outputs["ids"], np.int64)
        inside = (ids >= 0) & (ids < scores.shape[-1])
        ranked = np.sort(ids, axis=-1)
        once = np.all(ranked[:, 1:] != ranked[:, :-1], axis=-1, keepdims=True)
        got = np.take_along_axis(scores, np.where(inside, ids, 0), axis=-1)
        return inside & once & (got == wanted)

    return Rule(holds=holds, says="that expert has another score, or comes twice")


def _weights_error(call: Call, exact: Mapping[str, Array], errors: Floats) -> Bound:
    """Each weight's own relative error, and that of the sum it is divided by."""
    weights = np.abs(np.where(np.isfinite(exact["weights"]), exact["weights"], 0.0))
    if call.get("renormalise", True):
        share = weights / np.maximum(np.sum(weights, axis=-1, keepdims=True), 1e-300)
        errors = errors + np.sum(share * errors, axis=-1, keepdims=True) + weights.shape[-1]
        errors = errors + 2.0 * ULPS["divide"]
    return computed(weights * (errors + 1.0), 1e-38)


def route_softmax(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """A softmax in float32, whatever the dtype of the logits."""
    logits = call.inputs["logits"].astype(np.float64)
    picked = np.take_along_axis(logits, exact["ids"], axis=-1)
    below = np.max(logits, axis=-1, keepdims=True) - picked
    # The sum over all experts cancels where weights are renormalised; it is counted all the same.
    errors = (
        below + 2.0 * ULPS["exp"] + 2.0 * ULPS["divide"] + 2.0 * ULPS["exp"] + logits.shape[-1] ** 0.5 + 10.0
    )
    bounds: dict[str, Bound | Rule] = {"weights": _weights_error(call, exact, errors)}
    if call.answer_to("tie_order") == "any":
        bounds["ids"] = _valid_ids(logits, picked)
    return bounds


def route_sigmoid(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """A sigmoid in float32, whatever the dtype of the logits."""
    picked = np.take_along_axis(call.inputs["logits"].astype(np.float64), exact["ids"], axis=-1)
    bounds: dict[str, Bound | Rule] = {"weights": _weights_error(call, exact, sigmoid_error(picked))}
    if call.answer_to("tie_order") == "any":
        _, chosen = choices(call)
        bounds["ids"] = _valid_ids(chosen, np.take_along_axis(chosen, exact["ids"], axis=-1))
    return bounds


def moe_combine(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """A weighted sum of ``k`` rows; weights and running sums may be in the dtype of the rows."""
    weights, rows = call.inputs["weights"].astype(np.float64), combined(call)
    terms = np.abs(weights[..., None] * rows)
    l1, l2 = np.sum(terms, axis=1), np.sqrt(np.sum(terms * terms, axis=1))
    roundoff, k = UNIT_ROUNDOFF[call.inputs["rows"].dtype.name], weights.shape[1]
    floor = roundoff * (k + 1.0) * l1 if roundoff > UNIT_ROUNDOFF["float32"] else 0.0 * l1
    typical = roundoff * (2.0 * l2 + np.sqrt(k) * np.abs(exact["y"])) if np.any(floor) else floor
    return {"y": summation(k + 1, l1, l2, exact["y"], floor=floor, floor_rms=typical)}


def _products(x: Floats, weight: Array) -> tuple[Floats, Floats, Floats]:
    wide = weight.astype(np.float64)
    return x @ wide.T, np.abs(x) @ np.abs(wide).T, np.sqrt((x * x) @ (wide * wide).T)


def grouped_linear(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """As one linear layer per expert."""
    x, weight = call.inputs["x"].astype(np.float64), call.inputs["weight"]
    l1, l2, end = np.zeros(exact["y"].shape), np.zeros(exact["y"].shape), 0
    for expert, count in enumerate(call.inputs["counts"]):
        start, end = end, end + int(count)
        if count:
            _, l1[start:end], l2[start:end] = _products(x[start:end], weight[expert])
    return {"y": summation(x.shape[-1], l1, l2, exact["y"])}


def _through(
    gate_up: tuple[Floats, Floats], gate_error: Floats, up_error: Floats, own: Floats
) -> tuple[Floats, Floats]:
    """Error of ``silu(gate) up`` from those of both and its own, typical and at most."""
    gate, up = gate_up
    by_gate, by_up = _SLOPE * np.abs(up) * gate_error, np.abs(silu(gate)) * up_error
    return np.sqrt(by_gate**2 + by_up**2 + own**2), by_gate + by_up + own


def _expert(x: Floats, gate_up: Array, down: Array, roundoff: float) -> tuple[Floats, ...]:
    """Errors of one expert's result: accumulate (typical, most), product (same), floor (typical, most), and size."""
    h, (value, l1, l2) = x.shape[-1], _products(x, gate_up)
    gate, up = _halves(value)
    hidden = silu(gate) * up
    own, none = np.abs(hidden) * (sigmoid_error(gate) + 2.0), np.zeros(hidden.shape)
    accumulated, _ = _through((gate, up), *_halves(np.sqrt(h) * np.hypot(l2, value)), own)
    _, accumulated_most = _through((gate, up), *_halves(h * l1), own)
    narrowed, _ = _through((gate, up), *_halves(l2), none)
    _, narrowed_most = _through((gate, up), *_halves(l1), none)
    rounded, rounded_most = _through((gate, up), np.abs(gate), np.abs(up), 2.0 * np.abs(hidden))
    y, d1, d2 = _products(hidden, down)
    wide = np.abs(down.astype(np.float64))
    squares, f, size = wide * wide, hidden.shape[-1], np.abs(y)
    return (
        np.sqrt(accumulated**2 @ squares.T) + np.sqrt(f) * np.hypot(d2, y),
        accumulated_most @ wide.T + f * d1,
        np.sqrt(narrowed**2 @ squares.T) + d2,
        narrowed_most @ wide.T + d1,
        roundoff * (np.sqrt(rounded**2 @ squares.T) + 2.0 * size),
        roundoff * (rounded_most @ wide.T + 2.0 * size),
        size,
    )


def _halves(packed: Floats) -> tuple[Floats, Floats]:
    f = packed.shape[-1] // 2
    return packed[..., :f], packed[..., f:]


def moe(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """The experts of each token, weighted."""
    x, ids = call.inputs["x"].astype(np.float64), call.inputs["ids"]
    weights = np.abs(call.inputs["weights"].astype(np.float64))
    roundoff = UNIT_ROUNDOFF[call.inputs["x"].dtype.name]
    sums = [np.zeros(x.shape) for _ in range(7)]
    for expert in np.unique(ids[ids >= 0]):
        rows, slots = np.nonzero(ids == expert)
        parts = _expert(x[rows], call.inputs["gate_up"][expert], call.inputs["down"][expert], roundoff)
        for into, part in zip(sums, parts, strict=True):
            np.add.at(into, rows, weights[rows, slots, None] * part)
    if "shared_gate_up" in call.inputs:
        parts = _expert(x, call.inputs["shared_gate_up"], call.inputs["shared_down"], roundoff)
        sums = [into + part for into, part in zip(sums, parts, strict=True)]
    terms = ids.shape[1] + 1.0
    bound = Bound(
        accumulate_rms=sums[0] + terms * sums[6],
        accumulate_worst=sums[1] + terms * sums[6],
        product_rms=sums[2],
        product_worst=sums[3],
        floor=sums[5] + roundoff * terms * sums[6],
        floor_rms=sums[4] + roundoff * 2.0 * sums[6],
    )
    return {"y": bound}


BOUNDS = {
    "route_softmax": route_softmax,
    "route_sigmoid": route_sigmoid,
    "moe_combine": moe_combine,
    "grouped_linear": grouped_linear,
    "moe": moe,
}
