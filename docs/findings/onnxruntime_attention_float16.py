"""ONNX Runtime: Attention of float16 rounds its logits to float16; large ones lose the digits that tell keys apart."""

import numpy as np
import one_node
import onnxruntime as ort

generator = np.random.default_rng(0)
q, k, v = (generator.standard_normal((1, 4, 64, 64)).astype(np.float16) for _ in range(3))
q = (q * np.float16(16)).astype(np.float16)
given = {"q": q, "k": k, "v": v}
y = one_node.onnxruntime(one_node.model("Attention", given, {"y": np.float16}, opset=23), given)[0]


def attention(rounded):
    """In float64, with the logits rounded to a dtype on the way."""
    score = (
        (q.astype(np.float64) @ k.astype(np.float64).transpose(0, 1, 3, 2) / 8)
        .astype(rounded)
        .astype(np.float64)
    )
    weight = np.exp(score - score.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True) @ v.astype(np.float64)


def rms(difference):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(difference))))


exact = attention(np.float64)
got, narrow, honest = (rms(each - exact) for each in (y, attention(np.float16), exact.astype(np.float16)))
one_node.told(
    got > 4 * honest,
    f"onnxruntime {ort.__version__}",
    f"an error of {got:.1e} (logits in float16 give {narrow:.1e})",
    f"about {honest:.1e}, one rounding",
)
