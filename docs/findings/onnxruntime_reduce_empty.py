"""ONNX Runtime: ReduceSum over an axis of extent 0 keeps that axis, where zeros of the other axes are the answer."""

import numpy as np
import one_node
import onnxruntime as ort

given = {"x": np.zeros((3, 0), np.float32), "axes": np.array([-1])}
made = one_node.model("ReduceSum", given, {"y": np.float32}, constants=("axes",), keepdims=0)
shape = one_node.onnxruntime(made, given)[0].shape
one_node.told(shape != (3,), f"onnxruntime {ort.__version__}", shape, (3,))
