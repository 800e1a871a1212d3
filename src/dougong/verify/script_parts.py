"""How a script runs a call on each stack: the pieces of :mod:`dougong.verify.reproducer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CALL = '''

class Call:
    """An operator with its inputs and attributes."""

    def __init__(self, op, inputs, attributes):
        self.op, self.inputs, self.attributes = op, inputs, attributes

    def get(self, name, default=None):
        return self.attributes.get(name, default)


class Unsupported(Exception):
    pass


'''

SHOW = """

call = Call(OP, INPUTS, ATTRIBUTES)
show(run_here(call))
"""

COMPARE = '''

def show(outputs):
    """Print what came beside what should have come."""
    if not EXPECTED:
        print("this should have been refused, and was answered:")
    for name in () if EXPECTED else outputs:
        print(name, "got     ", np.asarray(outputs[name]).ravel()[:8])
    for name, want in EXPECTED.items():
        got, want = np.asarray(outputs[name], np.float64), np.asarray(want, np.float64)
        print(name, "got     ", got.ravel()[:8])
        print(name, "expected", want.ravel()[:8])
        with np.errstate(invalid="ignore"):
            far = np.abs(got - want) if got.shape == want.shape else np.array([np.inf])
            if got.shape == want.shape:
                far = np.where(np.isnan(got) != np.isnan(want), np.inf, far)
        print(name, "largest difference", np.nanmax(far) if far.size else 0.0)


'''

TORCH = """

def tensor(values):
    if values.dtype.type.__module__ == "ml_dtypes":
        bits = torch.as_tensor(values.view(np.uint8 if values.dtype.itemsize == 1 else np.uint16))
        return bits.view(getattr(torch, values.dtype.name)).to(DEVICE)
    return torch.as_tensor(values).to(DEVICE)


def plain(found):
    found = found.detach().cpu()
    return (found.float() if found.is_floating_point() else found).numpy()


torch.set_num_threads(1)


def run_here(call):
    outputs = run(call, {name: tensor(values) for name, values in call.inputs.items()})
    return {name: plain(found) for name, found in outputs.items()}

"""

INDUCTOR = TORCH.replace(
    "    outputs = run(call, {name: tensor(values) for name, values in call.inputs.items()})\n",
    """    fixed = {name: x for name, x in call.inputs.items() if x.dtype.kind in "iu"}
    kept = Call(call.op, fixed, call.attributes)
    compiled = torch.compile(lambda given: run(kept, given), fullgraph=True, dynamic=False)
    with torch.inference_mode():
        outputs = compiled({name: tensor(values) for name, values in call.inputs.items()})
""",
)

JAX_HEAD = """
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jax import lax, nn

Arrays = dict


def wide(x):
    return x.astype(jnp.float32)


"""

JAX = """

def run_here(call):
    kept = Call(call.op, {}, call.attributes)
    return jax.jit(lambda given: run(kept, given))(call.inputs)

"""

_ONNX_END = """

def run_here(call):
    model = zlib.decompress(base64.b64decode(MODEL))
    inputs = {name: np.asarray(x, order="C") for name, x in call.inputs.items()}
    return {name.removeprefix("out_"): found for name, found in run(model, inputs).items()}

"""

_ONNXRUNTIME = """

def run(model, inputs):
    numbers = {"bfloat16": 16, "float8_e4m3fn": 17, "float8_e5m2": 19}
    kinds = {"tensor(bfloat16)": "bfloat16", "tensor(float8e4m3fn)": "float8_e4m3fn"}
    kinds["tensor(float8e5m2)"] = "float8_e5m2"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    make, given, found = onnxruntime.OrtValue, {}, {}
    for name, x in inputs.items():
        if x.dtype.name in numbers:
            bits = x.view(f"u{x.dtype.itemsize}")
            given[name] = make.ortvalue_from_numpy_with_onnx_type(bits, numbers[x.dtype.name])
        else:
            given[name] = make.ortvalue_from_numpy(x)
    names = [each.name for each in session.get_outputs()]
    for name, value in zip(names, session.run_with_ort_values(names, given)):
        if value.data_type() not in kinds:
            found[name] = value.numpy()
            continue
        dtype = np.dtype(getattr(ml_dtypes, kinds[value.data_type()]))
        size = int(np.prod(value.shape())) * dtype.itemsize
        found[name] = np.frombuffer(ctypes.string_at(value.data_ptr(), size), dtype).reshape(value.shape())
    return found
"""

_OPENVINO = """

def run(model, inputs):
    kinds = {"bf16": "bfloat16", "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2"}
    core, properties = openvino.Core(), {"INFERENCE_NUM_THREADS": 1}
    if HINT:
        properties["INFERENCE_PRECISION_HINT"] = HINT
    read = core.read_model(model)
    compiled = core.compile_model(read, "CPU", properties)
    request, found = compiled.create_infer_request(), {}
    for place in read.inputs:
        x = inputs[place.get_any_name()]
        value = openvino.Tensor(place.get_element_type(), list(x.shape))
        if x.size:
            np.atleast_1d(value.data).view(np.uint8).reshape(-1)[:] = np.atleast_1d(x).view(np.uint8).reshape(-1)
        request.set_tensor(place.get_any_name(), value)
    request.infer()
    for at, each in enumerate(compiled.outputs):
        value = request.get_output_tensor(at)
        data, kind = np.array(value.data), kinds.get(value.element_type.get_type_name())
        if kind:
            data = np.atleast_1d(data).view(getattr(ml_dtypes, kind)).reshape(data.shape)
        found[each.get_any_name()] = data
    return found
"""

_TVM = """

def run(model, inputs):
    read = onnx.load_model_from_string(model)
    built = tvm.compile(from_onnx(read, keep_params_in_input=False), target="llvm")
    main = relax.VirtualMachine(built, tvm.cpu())["main"]
    found = main(*(tvm.runtime.tensor(inputs[each.name]) for each in read.graph.input))
    several = [found] if hasattr(found, "numpy") else found
    return {place.name: each.numpy() for place, each in zip(read.graph.output, several)}
"""

_IREE = """

def run(model, inputs):
    read = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True)
    info = onnx_importer.ModelInfo(read)
    module = info.create_module(context=onnx_importer.Context()).operation
    onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
    flags = ["--iree-llvmcpu-target-cpu=host"]
    compiled = compile_str(str(module), target_backends=["llvm-cpu"], input_type="onnx", extra_args=flags)
    function = iree.runtime.load_vm_flatbuffer(compiled, driver="local-task")[read.graph.name]
    found = function(*(inputs[each.name] for each in read.graph.input))
    several, outputs = [found] if hasattr(found, "to_host") else found, {}
    for place, each in zip(read.graph.output, several):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(place.type.tensor_type.elem_type)
        outputs[place.name] = np.array(each.to_host()).view(dtype)
    return outputs
"""

_TINYGRAD = """

def run(model, inputs):
    kinds = {"bfloat16": "bfloat16", "float8_e4m3fn": "fp8e4m3", "float8_e5m2": "fp8e5m2"}

    def given(x):
        if x.dtype.name in kinds:
            bits = Tensor(x.view(f"u{x.dtype.itemsize}"))
            return bits.bitcast(getattr(dtypes, kinds[x.dtype.name]))
        return Tensor(x)

    def plain(x):
        return (x.float() if x.dtype in dtypes.floats else x).numpy()

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.onnx"
        file.write_bytes(model)
        runner = OnnxRunner(file)
    found = runner({name: given(x) for name, x in inputs.items() if name in runner.graph_inputs})
    return {name: plain(found[name]) for name in runner.graph_outputs}
"""


@dataclass(frozen=True, slots=True)
class OnnxWay:
    """How a stack that reads ONNX is run by a script.

    Attributes
    ----------
    needs
        Its distribution packages.
    opset
        The youngest that its front end reads, as its adapter is fed.
    """

    needs: str
    imports: str
    run: str
    opset: int = 23

    @property
    def body(self) -> str:
        """Return the functions of the script."""
        return self.run + _ONNX_END


ONNX_WAYS: Mapping[str, OnnxWay] = MappingProxyType(
    {
        "onnxruntime": OnnxWay(
            "onnxruntime, ml_dtypes", "import ctypes\n\nimport ml_dtypes\nimport onnxruntime\n", _ONNXRUNTIME
        ),
        "openvino": OnnxWay("openvino, ml_dtypes", "import ml_dtypes\nimport openvino\n", _OPENVINO),
        "tvm": OnnxWay(
            "apache-tvm, onnx",
            "import onnx\nimport tvm\nfrom tvm import relax\nfrom tvm.relax.frontend.onnx import from_onnx\n",
            _TVM,
            22,
        ),
        "iree": OnnxWay(
            "iree-base-compiler, iree-base-runtime, onnx",
            "import iree.runtime\nimport onnx\nfrom iree.compiler import compile_str\n"
            "from iree.compiler.extras import onnx_importer\n",
            _IREE,
            21,
        ),
        "tinygrad": OnnxWay(
            "tinygrad, and clang",
            "import os\nimport pathlib\nimport tempfile\n\nos.environ.setdefault('DEV', 'CPU')\n"
            "from tinygrad import Tensor, dtypes\nfrom tinygrad.nn.onnx import OnnxRunner\n",
            _TINYGRAD,
        ),
    }
)
"""By the name of a backend, as far as its first dash."""

DATA = """

# Feed INPUTS to {op} on the stack above; EXPECTED is what should come out, GOT what came.
for name, want in EXPECTED.items():
    print(name, "expected", np.asarray(want, np.float64).ravel()[:8])
print("got", GOT)
"""
