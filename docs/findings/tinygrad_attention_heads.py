"""tinygrad: Attention with fewer key-value heads lets query head h read head h mod g instead of h div (heads / g)."""

from importlib import metadata

import numpy as np
import one_node

generator = np.random.default_rng(0)
q = generator.normal(size=(1, 4, 3, 8)).astype(np.float32)
k, v = (generator.normal(size=(1, 2, 3, 8)).astype(np.float32) for _ in range(2))
inputs = {"q": q, "k": k, "v": v}
y = one_node.tinygrad(one_node.model("Attention", inputs, {"y": np.float32}, opset=23), inputs)[0]


def attend(heads):
    """Attention in float64, query head h on key-value head ``heads[h]``."""
    score = np.einsum("htd,hsd->hts", q[0].astype(np.float64), k[0, heads]) / np.sqrt(8)
    share = np.exp(score - score.max(-1, keepdims=True))
    return np.einsum("hts,hse->hte", share / share.sum(-1, keepdims=True), v[0, heads])


errors = [float(np.abs(y[0] - attend(heads)).max()) for heads in ([0, 0, 1, 1], [0, 1, 0, 1])]
one_node.told(
    errors[0] > 1e-3,
    f"tinygrad {metadata.version('tinygrad')}",
    f"error {errors[0]:.2g} against heads 0 0 1 1, {errors[1]:.2g} against 0 1 0 1",
    "no error against heads 0 0 1 1",
)
