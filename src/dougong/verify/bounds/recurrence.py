r"""Bounds of recurrences: the error of the state is carried from token to token beside the state.

Notes
-----
A delta rule maps a column of the state by :math:`I - \beta k k^T`, of norm :math:`\rho = \max(1, |1 - \beta |k|^2|)`,
so the norm of its error obeys :math:`\epsilon' = \rho e^g \epsilon + \eta`, where :math:`\eta` is what one step
rounds: in the worst case added, of independent sign added in squares. A diagonal recurrence does so element by
element. What a query reads errs by at most its norm times :math:`\epsilon`.

Running sums are kept in float32; the class that explains an error scales every rounding of a step together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.recurrence import convolved
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats

_EXP = 2 * 3 + 1
"""Roundoffs of exp (3 ULP: OpenCL C 3.0, table 65) and of the product with it; its argument adds its own size."""


def _kept(rms: Floats, worst: Floats) -> Bound:
    return Bound(
        accumulate_rms=rms,
        accumulate_worst=worst,
        product_rms=rms,
        product_worst=worst,
        floor=np.zeros(()),
    )


def _wide(call: Call, *names: str) -> tuple[Floats, ...]:
    return tuple(call.inputs[name].astype(np.float64) for name in names)


def delta(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A delta rule, or with ``beta`` left out a sum that forgets: norms of the columns of the state ``[h, e]``."""
    q, k, v, g, state = _wide(call, "q", "k", "v", "g", "state")
    corrects = "beta" in call.inputs
    beta = _wide(call, "beta")[0] if corrects else np.ones(k.shape[:2])
    g = np.broadcast_to(g, k.shape[:2])
    width, chunk = k.shape[-1], max(int(call.get("chunk", 1)), 1)
    rms, worst = np.empty(v.shape), np.empty(v.shape)
    carried = np.zeros((2, *v.shape[1:]))
    for t in range(len(q)):
        decay = np.exp(g[t])[:, None]
        length = np.linalg.norm(k[t], axis=-1)[:, None]
        before = np.linalg.norm(state, axis=1) * decay
        state = state * decay[..., None]
        recalled = (k[t][:, None] @ state)[:, 0] if corrects else np.zeros(v.shape[1:])
        most = length * before if corrects else recalled
        step = beta[t][:, None]
        new = step * (v[t] - recalled)
        state = state + k[t][:, :, None] * new[:, None]
        after = np.linalg.norm(state, axis=1)
        gain = decay * (np.maximum(1.0, np.abs(1.0 - step * length**2)) if corrects else 1.0)
        # In chunks a step's own sum goes over the chunk's tokens besides.
        sums = np.sqrt(width + chunk), width + chunk
        rounded = (
            (_EXP + np.abs(g[t])[:, None]) * before + after + length * (3 * np.abs(new) + step * np.abs(v[t]))
        )
        carried[0] = np.sqrt((gain * carried[0]) ** 2 + rounded**2 + (length * step * sums[0] * most) ** 2)
        carried[1] = gain * carried[1] + rounded + length * step * sums[1] * most
        reach = np.linalg.norm(q[t], axis=-1)[:, None]
        rms[t] = reach * np.hypot(carried[0], sums[0] * after)
        worst[t] = reach * (carried[1] + sums[1] * after)
    return {
        "y": _kept(rms, worst),
        "state_out": _kept(carried[0][:, None] + np.abs(state), carried[1][:, None] + np.abs(state)),
    }


def selective_scan(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Element by element; the sum over the state's ``n`` is one more."""
    x, steps, a, b, c, skip, state = _wide(call, "x", "delta", "a", "b", "c", "skip", "state")
    rms, worst = np.empty(x.shape), np.empty(x.shape)
    carried = np.zeros((2, *state.shape))
    count = state.shape[1]
    for t in range(len(x)):
        exponent = steps[t][:, None] * a
        decay = np.exp(exponent)
        added = (steps[t] * x[t])[:, None] * b[t]
        rounded = (_EXP + 2 * np.abs(exponent)) * np.abs(decay * state) + 2 * np.abs(added)
        state = decay * state + added
        rounded = rounded + np.abs(state)
        carried[0] = np.sqrt((decay * carried[0]) ** 2 + rounded**2)
        carried[1] = decay * carried[1] + rounded
        read, direct = np.abs(state) @ np.abs(c[t]), np.abs(skip * x[t])
        rms[t] = (
            np.sqrt(carried[0] ** 2 @ c[t] ** 2)
            + np.sqrt(count) * np.sqrt(state**2 @ c[t] ** 2)
            + read
            + 2 * direct
        )
        worst[t] = carried[1] @ np.abs(c[t]) + (count + 1) * read + 2 * direct
    return {"y": _kept(rms, worst), "state_out": _kept(carried[0], carried[1])}


def causal_conv1d(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A sum of ``w`` products, and SiLU, whose slope is at most 1.1; the sum may be rounded to the dtype before it."""
    weight = np.abs(call.inputs["weight"].astype(np.float64))
    past, total = convolved(call)
    width, tokens = weight.shape[1], len(total)
    terms = np.stack([weight[:, j] * np.abs(past[j : j + tokens]) for j in range(width)])
    bias = np.abs(call.inputs["bias"].astype(np.float64)) if "bias" in call.inputs else np.zeros(())
    l1, l2 = np.sum(terms, axis=0) + bias, np.sqrt(np.sum(terms**2, axis=0) + bias**2)
    # Past its minimum near -1.28 SiLU rises by no more than 1.1 per unit.
    narrow = (
        1.1
        * np.abs(total)
        * (UNIT_ROUNDOFF[call.inputs["x"].dtype.name] if call.inputs["x"].dtype.itemsize < 4 else 0.0)
    )
    own = UNIT_ROUNDOFF["float32"] * (2 * 3 + 4 + np.abs(total)) * np.abs(exact["y"])
    return {
        "y": Bound(
            accumulate_rms=1.1 * np.sqrt(width + 1) * np.hypot(l2, total),
            accumulate_worst=1.1 * (width + 1) * l1,
            product_rms=1.1 * l2,
            product_worst=1.1 * l1,
            floor=narrow + own,
        )
    }


BOUNDS = {
    "gated_delta_rule": delta,
    "linear_attention": delta,
    "selective_scan": selective_scan,
    "causal_conv1d": causal_conv1d,
}
