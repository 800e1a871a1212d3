"""OpenVINO: Attention answers zeros throughout where one key or value is NaN, even one that the mask hides."""

import numpy as np
import one_node
import openvino as ov

generator = np.random.default_rng(0)
q, k, v = (generator.standard_normal((1, 2, 8, 16)).astype(np.float32) for _ in range(3))
mask = np.ones((1, 1, 8, 8), bool)
mask[..., 4] = False
v[:, :, 4] = np.nan
given = {"q": q, "k": k, "v": v, "mask": mask}
y = one_node.openvino(one_node.model("Attention", given, {"y": np.float32}, opset=23), given)[0]
one_node.told(
    bool((y == 0).all()),
    f"openvino {ov.__version__}",
    f"{int((y == 0).sum())} zeros of {y.size}",
    "NaN, or the attention of the keys that are not masked",
)
