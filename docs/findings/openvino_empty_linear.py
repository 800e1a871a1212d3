"""OpenVINO: a MatMul behind a Transpose does not compile where one extent is 0; each of the two alone does."""

import sys

import numpy as np
import openvino as ov
from onnx import TensorProto, helper

nodes = [
    helper.make_node("Transpose", ["weight"], ["turned"], perm=[1, 0]),
    helper.make_node("MatMul", ["x", "turned"], ["y"]),
]
shapes = {"x": [0, 32], "weight": [16, 32], "y": [0, 16]}
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
graph = helper.make_graph(nodes, "g", ends[:2], ends[2:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
core = ov.Core()
try:
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU")
    says = compiled([np.zeros((0, 32), np.float32), np.zeros((16, 32), np.float32)])[0].shape
except RuntimeError as error:
    says = str(error).strip().splitlines()[-1]
there = says != (0, 16)
print(f"openvino {ov.__version__}: {'DEFECT' if there else 'as expected'}: got {says}, expected (0, 16)")
sys.exit(1 if there else 0)
