"""OpenVINO: Relu, Clip, Max and Min of NaN are numbers, ReduceLogSumExp of it is infinity, and ReduceMax loses it."""

import numpy as np
import one_node
import openvino as ov

x = np.array([[np.nan, 1.0, -2.0]], np.float32)
one, axes = np.ones((1, 3), np.float32), np.array([-1])
models = {
    "Relu": one_node.model("Relu", {"x": x}, {"y": np.float32}),
    "Max": one_node.model("Max", {"x": x, "one": one}, {"y": np.float32}),
    "Min": one_node.model("Min", {"x": x, "one": one}, {"y": np.float32}),
    "ReduceMax": one_node.model("ReduceMax", {"x": x, "axes": axes}, {"y": np.float32}, constants=("axes",)),
    "ReduceLogSumExp": one_node.model(
        "ReduceLogSumExp", {"x": x, "axes": axes}, {"y": np.float32}, constants=("axes",)
    ),
}
got = {op: one_node.openvino(made, {"x": x, "one": one})[0].ravel()[0].item() for op, made in models.items()}
one_node.told(not all(np.isnan(list(got.values()))), f"openvino {ov.__version__}", got, "NaN of each")
