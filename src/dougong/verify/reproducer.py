"""A shrunk failure as one short script that needs the stack and numpy, and nothing of ours."""

from __future__ import annotations

import base64
import importlib.util
import zlib
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from dougong.backends import Array, Call, Unsupported
from dougong.backends.dtypes import output_dtypes
from dougong.backends.reference import FORMULAS
from dougong.ops.definitions import DEFINITIONS
from dougong.verify.case import Case
from dougong.verify.shrink import Shrunk
from dougong.verify.sources import torch_source

_FEW = 64  # numbers that are written out

_HEAD = '''"""{title}

{detail}
Stack: {stack}
Needs: {needs}. The expected values are the formula in float64:
    {formula}
"""

from __future__ import annotations

'''

_IMPORTS = "from __future__ import annotations\n\nimport base64\nimport zlib\n\nimport numpy as np\n"

_DECODE = '''

def array(dtype, shape, text):
    """Bytes in base64 as an array; bfloat16 and float8 come from ml_dtypes."""
    raw = zlib.decompress(base64.b64decode(text))
    if not hasattr(np, dtype):
        import ml_dtypes

        dtype = getattr(ml_dtypes, dtype)
    return np.frombuffer(raw, dtype).reshape(shape).copy()

'''

_TORCH_HEAD = """

class Call:
    def __init__(self, op, inputs, attributes):
        self.op, self.inputs, self.attributes = op, inputs, attributes

    def get(self, name, default=None):
        return self.attributes.get(name, default)


class Unsupported(Exception):
    pass


"""

_TORCH_MAIN = """

def tensor(values):
    if values.dtype.type.__module__ == "ml_dtypes":
        bits = torch.as_tensor(values.view(np.uint8 if values.dtype.itemsize == 1 else np.uint16))
        return bits.view(getattr(torch, values.dtype.name)).to(DEVICE)
    return torch.as_tensor(values).to(DEVICE)


torch.set_num_threads(1)
call = Call(OP, INPUTS, ATTRIBUTES)
outputs = run(call, {name: tensor(values) for name, values in INPUTS.items()})
for name, want in EXPECTED.items():
    got = outputs[name].detach().cpu()
    got = (got.float() if got.is_floating_point() else got).numpy().astype(np.float64)
    print(name, "got     ", got.ravel()[:8])
    print(name, "expected", np.asarray(want, np.float64).ravel()[:8])
    print(name, "largest difference", np.nanmax(np.abs(got - want)) if got.size else 0.0)
"""

_ONNX_MAIN = """

model = zlib.decompress(base64.b64decode(MODEL))
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
outputs = session.run(None, INPUTS)
for output, got in zip(session.get_outputs(), outputs):
    want = EXPECTED[output.name.removeprefix("out_")]
    got = np.asarray(got, np.float64)
    print(output.name, "got     ", got.ravel()[:8])
    print(output.name, "expected", np.asarray(want, np.float64).ravel()[:8])
    print(output.name, "largest difference", np.nanmax(np.abs(got - want)) if got.size else 0.0)
"""

_DATA_MAIN = """

# Feed INPUTS to {op} on the stack above; EXPECTED is what should come out, GOT what came.
for name, want in EXPECTED.items():
    print(name, "expected", np.asarray(want, np.float64).ravel()[:8])
print("got", GOT)
"""


def script(case: Case, shrunk: Shrunk, backend: str, stack: Mapping[str, str]) -> str:
    """Return the script of a failure: for torch its own calls, else the ONNX graph, else the data."""
    call = shrunk.call
    definition = DEFINITIONS[call.op]
    with np.errstate(all="ignore"):
        try:
            exact = FORMULAS[call.op](call)
        except Exception:  # where raising is right there is nothing to expect
            exact = {}
    body, needs, main = _way(case, call, backend)
    names = output_dtypes(definition, call, case.dtype)
    head = _HEAD.format(
        title=f"{case.id} on {backend}: {shrunk.result.verdict} ({shrunk.result.check})",
        detail=shrunk.result.detail or case.edge,
        stack=", ".join(f"{name} {value}" for name, value in stack.items()),
        needs=needs,
        formula=definition.formula.replace("\\", "/"),
    )
    imports = f"{_IMPORTS}{_import_of(needs)}"
    data = [
        f"OP = {call.op!r}",
        f"ATTRIBUTES = {dict(call.attributes)!r}",
        f"INPUTS = {{\n{_entries(call.inputs)}}}",
        f"EXPECTED = {{  # {', '.join(f'{name}: {each[0]}' for name, each in names.items())}\n{_entries(exact)}}}",
        f"DEVICE = {stack.get('device', 'cpu')!r}",
        f"GOT = {shrunk.result.got!r}",
    ]
    return head + imports + _DECODE + "\n".join(data) + "\n" + body + main


def _way(case: Case, call: Call, backend: str) -> tuple[str, str, str]:
    if backend.startswith("torch") and importlib.util.find_spec("torch"):
        with suppress(LookupError):
            return _TORCH_HEAD + torch_source(call.op), "torch", _TORCH_MAIN
    try:
        from dougong.backends.onnx import to_onnx

        model = to_onnx(call, case.dtype)
        return f"MODEL = (\n{_lines(model)})\n", "onnxruntime", _ONNX_MAIN
    except (Unsupported, ImportError):
        return "", "numpy", _DATA_MAIN.format(op=call.op)


def _import_of(needs: str) -> str:
    return f"import {needs}\n" if needs != "numpy" else ""


def _entries(arrays: Mapping[str, Array]) -> str:
    return "".join(f"    {name!r}: {_literal(np.asarray(array))},\n" for name, array in arrays.items())


def _literal(array: Array) -> str:
    plain = array.dtype.kind in "biuf" and array.dtype.type.__module__ == "numpy"
    if plain and array.size <= _FEW and (array.dtype.kind != "f" or bool(np.isfinite(array).all())):
        return f"np.array({array.tolist()!r}, {array.dtype.name!r}).reshape({array.shape!r})"
    return f"array({array.dtype.name!r}, {array.shape!r}, (\n{_lines(array.tobytes())}    ))"


def _lines(raw: bytes) -> str:
    text = base64.b64encode(zlib.compress(raw, 9)).decode()
    return "".join(f"        {text[at : at + 100]!r}\n" for at in range(0, len(text), 100)) or "        ''\n"
