"""Bounds of latent and sparse attention: those of attention, and of what either route rounds on the way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.latent_attention import mla_problem, scores, sparse_problem
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats, Rule
from dougong.verify.bounds.attention import attended, joined
from dougong.verify.bounds.recurrence import BOUNDS as RECURRENCES


def mla(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Keys and values, or queries and answers in the latent, are sums of their own, rounded to the dtype once."""
    del exact
    dtype = call.inputs["q_nope"].dtype.name
    problem = mla_problem(call)
    q_nope, latent, w_uk, w_uv = (
        np.abs(call.inputs[name].astype(np.float64)) for name in ("q_nope", "latent", "w_uk", "w_uv")
    )
    rank, nope = latent.shape[1], q_nope.shape[-1]
    narrow = UNIT_ROUNDOFF[dtype] if dtype != "float32" else 0.0
    float32 = UNIT_ROUNDOFF["float32"]
    # Terms of q . w_uk . latent: the norms are the same in either order; each of two sums may round.
    squares = (q_nope**2).swapaxes(0, 1)
    l2 = np.sqrt(squares @ (w_uk**2) @ (latent**2).T)
    l1 = q_nope.swapaxes(0, 1) @ w_uk @ latent.T
    q, k = problem.q[0, ..., :nope], problem.k[0, ..., :nope]
    taken = (q @ call.inputs["w_uk"].astype(np.float64)), latent
    rms = problem.scale * (
        narrow * (np.sqrt(q**2 @ (k**2).swapaxes(-1, -2)) + np.sqrt(taken[0] ** 2 @ (latent**2).T))
        + float32 * np.sqrt(rank + nope) * l2
    )
    worst = problem.scale * (
        narrow * (np.abs(q) @ np.abs(k).swapaxes(-1, -2) + np.abs(taken[0]) @ taken[1].T)
        + float32 * (rank + nope) * l1
    )
    fields = attended(problem, dtype, logit=(rms[None], worst[None]), value=narrow)
    return {"y": _with_values(joined([fields]), problem.v[0], latent, w_uv, narrow, float32)}


def _with_values(
    bound: Bound, v: Floats, latent: Floats, w_uv: Floats, narrow: float, float32: float
) -> Bound:
    """Add the sums that make values, or that take an answer out of the latent: at most those of the largest value."""
    most = np.max(latent @ w_uv.swapaxes(1, 2), axis=1)  # [h, e]
    typical = np.sqrt(np.max((latent**2) @ (w_uv**2).swapaxes(1, 2), axis=1))
    rank = latent.shape[1]
    del v
    # A latent answer may be rounded to the dtype before w_uv: one rounding per latent value.
    extra_rms = (narrow + float32 * np.sqrt(rank)) * typical
    extra = (narrow + float32 * rank) * most
    return Bound(
        accumulate_rms=bound.accumulate_rms,
        accumulate_worst=bound.accumulate_worst,
        product_rms=bound.product_rms,
        product_worst=bound.product_worst,
        floor=bound.floor + extra,
        floor_rms=(bound.floor if bound.floor_rms is None else bound.floor_rms) + extra_rms,
    )


def sparse_attention(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """As attention over the chosen keys."""
    del exact
    return {"y": joined([attended(sparse_problem(call), call.inputs["q"].dtype.name)])}


def index_select(call: Call, exact: Mapping[str, Array]) -> dict[str, Rule]:
    """Any set whose least score is, but for rounding, that of the reference; every index once."""
    found = scores(call)
    value, terms = found.value, call.inputs["q"].shape[1] * call.inputs["q"].shape[2]
    error = UNIT_ROUNDOFF["float32"] * terms * np.where(np.isfinite(value), found.l1, 0.0)
    want = exact["index"]
    enough = np.sum(want >= 0, axis=1)
    last = np.take_along_axis(value, np.maximum(want, 0), axis=1)
    least = np.min(np.where(want >= 0, last, np.inf), axis=1) - 2 * np.max(error, axis=1)

    def holds(outputs: Mapping[str, Array]) -> Array:
        index = outputs["index"].astype(np.int64)
        inside = (index >= 0) & (index < value.shape[1])
        got = np.take_along_axis(value, np.clip(index, 0, value.shape[1] - 1), axis=1)
        once = np.array(
            [len(np.unique(row[row >= 0])) == count for row, count in zip(index, enough, strict=True)]
        )
        right = np.where(index == -1, True, inside & np.isfinite(got) & (got >= least[:, None]))
        return right & once[:, None]

    return {"index": Rule(holds=holds, says="a key chosen before one of a higher score, twice or unseen")}


BOUNDS = {"mla": mla, "sparse_attention": sparse_attention, "index_select": index_select, **RECURRENCES}
