"""An ONNX model of one node, and how each stack runs it: all that the scripts beside this one share."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper


def model(op, inputs, outputs, *, constants=(), opset=21, **attributes):
    """Inputs by name as arrays; outputs by name as dtypes; of the inputs, ``constants`` are initialisers."""
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(op, list(inputs), list(outputs), **attributes)],
        "g",
        [
            helper.make_tensor_value_info(name, kind(x.dtype), x.shape)
            for name, x in inputs.items()
            if name not in constants
        ],
        [helper.make_tensor_value_info(name, kind(np.dtype(dtype)), None) for name, dtype in outputs.items()],
        [numpy_helper.from_array(inputs[name], name) for name in constants],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if opset > 21:
        made.ir_version = 11
    return onnx.shape_inference.infer_shapes(made)


def _fed(made, inputs):
    return {each.name: np.ascontiguousarray(inputs[each.name]) for each in made.graph.input}


def onnxruntime(made, inputs):
    """By ONNX Runtime's CPU provider."""
    import onnxruntime as ort

    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, _fed(made, inputs))


def openvino(made, inputs, hint="f32"):
    """By OpenVINO's CPU plugin; float32 is asked for unless ``hint`` is empty."""
    import openvino as ov

    core = ov.Core()
    config = {"INFERENCE_PRECISION_HINT": hint} if hint else {}
    request = core.compile_model(
        core.read_model(made.SerializeToString()), "CPU", config
    ).create_infer_request()
    for name, x in _fed(made, inputs).items():
        slot = request.get_tensor(name)
        slot.data.view(np.uint8).reshape(-1)[:] = np.atleast_1d(x).view(np.uint8).reshape(-1)
    request.infer()
    found = []
    for at, each in enumerate(made.graph.output):
        dtype = helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
        found.append(np.array(request.get_output_tensor(at).data).view(dtype))
    return found


def tvm(made, inputs):
    """By Apache TVM, compiled with LLVM."""
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    built = tvm.compile(from_onnx(made, keep_params_in_input=False), target="llvm")
    found = relax.VirtualMachine(built, tvm.cpu())["main"](
        *(tvm.runtime.tensor(x) for x in _fed(made, inputs).values())
    )
    return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]


def iree(made, inputs):
    """By IREE on ``local-task``."""
    import iree.runtime as runtime
    from iree.compiler import compile_str
    from iree.compiler.extras import onnx_importer

    info = onnx_importer.ModelInfo(made)
    module = info.create_module(context=onnx_importer.Context()).operation
    onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
    compiled = compile_str(
        str(module),
        target_backends=["llvm-cpu"],
        input_type="onnx",
        extra_args=["--iree-llvmcpu-target-cpu=host"],
    )
    function = runtime.load_vm_flatbuffer(compiled, driver="local-task")["g"]
    found = function(*_fed(made, inputs).values())
    dtypes = [helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type) for each in made.graph.output]
    several = [found] if hasattr(found, "to_host") else found
    return [np.array(each.to_host()).view(dtype) for each, dtype in zip(several, dtypes, strict=True)]


def tinygrad(made, inputs):
    """By tinygrad's ONNX runner on its CPU device, which needs clang."""
    import os

    os.environ.setdefault("DEV", "CPU")
    from tinygrad import Tensor, dtypes
    from tinygrad.nn.onnx import OnnxRunner

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(made.SerializeToString())
        runner = OnnxRunner(file)

    def given(x):
        if x.dtype == ml_dtypes.bfloat16:
            return Tensor(x.view(np.uint16)).bitcast(dtypes.bfloat16)
        return Tensor(x)

    found = runner({name: given(x) for name, x in _fed(made, inputs).items()})
    return [
        found[each.name].float().numpy()
        if found[each.name].dtype == dtypes.bfloat16
        else found[each.name].numpy()
        for each in made.graph.output
    ]


def told(there, version, got, expected):
    """Say whether the defect is there; exit 1 where it is."""
    print(f"{version}: {'DEFECT' if there else 'as expected'}: got {got}, expected {expected}")
    sys.exit(1 if there else 0)
