"""ONNX Runtime: a Cast to float8_e5m2 that does not saturate gives NaN from 61,440 to 65,535, and infinity beyond."""

import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

x = np.array([57344, 61184, 61440, 63488, 65504, 65536, 1e5], np.float32)
nodes = [
    helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.FLOAT8E5M2, saturate=0),
    helper.make_node("Cast", ["narrow"], ["y"], to=TensorProto.FLOAT),
]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(x)]) for name in ("x", "y")]
graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
y = session.run(None, {"x": x})[0]
there = bool(np.isnan(y).any())
print(
    f"onnxruntime {ort.__version__}: {'DEFECT' if there else 'as expected'}: {x.tolist()} became {y.tolist()}"
)
sys.exit(1 if there else 0)
