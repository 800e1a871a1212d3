"""OpenVINO: a float32 model is computed in bfloat16 unless float32 is asked for, on CPUs that have it."""

import numpy as np
import one_node
import openvino

generator = np.random.default_rng(0)
inputs = {"a": generator.normal(size=(32, 512)).astype(np.float32)}
inputs["b"] = generator.normal(size=(512, 32)).astype(np.float32)
made = one_node.model("MatMul", inputs, {"y": np.float32})
right = inputs["a"].astype(np.float64) @ inputs["b"].astype(np.float64)
errors = [
    np.sqrt(np.mean((one_node.openvino(made, inputs, hint)[0] - right) ** 2) / np.mean(right**2))
    for hint in ("", "f32")
]
one_node.told(
    errors[0] > 1e-4,
    f"openvino {openvino.__version__}",
    f"relative error {errors[0]:.1e}",
    f"{errors[1]:.1e}, as with INFERENCE_PRECISION_HINT=f32",
)
