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
from dougong.verify import script_parts as parts
from dougong.verify.case import Case
from dougong.verify.shrink import Shrunk
from dougong.verify.sources import jax_source, torch_source

_FEW = 64  # numbers that are written out

_HEAD = '''"""{title}

{detail}
Stack: {stack}
Needs: {needs}. The expected values are the formula in float64:
    {formula}
"""

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


def script(case: Case, shrunk: Shrunk, backend: str, stack: Mapping[str, str]) -> str:
    """Return the script of a failure: the calls of PyTorch or JAX, the ONNX graph on its stack, else the data."""
    call = shrunk.call
    definition = DEFINITIONS[call.op]
    with np.errstate(all="ignore"):
        try:
            exact = FORMULAS[call.op](call)
        except Exception:  # where raising is right there is nothing to expect
            exact = {}
    imports, needs, body = _way(case, call, backend)
    names = output_dtypes(definition, call, case.dtype)
    head = _HEAD.format(
        title=f"{case.id} on {backend}: {shrunk.result.verdict} ({shrunk.result.check})",
        detail=shrunk.result.detail or case.edge,
        stack=", ".join(f"{name} {value}" for name, value in stack.items()),
        needs=needs,
        formula=definition.formula.replace("\\", "/"),
    )
    data = [
        f"OP = {call.op!r}",
        f"ATTRIBUTES = {dict(call.attributes)!r}",
        f"INPUTS = {{\n{_entries(call.inputs)}}}",
        f"EXPECTED = {{  # {', '.join(f'{name}: {each[0]}' for name, each in names.items())}\n{_entries(exact)}}}",
        f"DEVICE = {stack.get('device', 'cpu')!r}",
        f"GOT = {shrunk.result.got!r}",
    ]
    return head + _IMPORTS + imports + _DECODE + "\n".join(data) + "\n" + body


def _way(case: Case, call: Call, backend: str) -> tuple[str, str, str]:
    """Return imports, what is to be installed, and the rest of a script that asks the very stack under test."""
    head, _, rest = backend.partition("-")
    end = parts.COMPARE + parts.SHOW
    with suppress(LookupError, Unsupported, ImportError):
        if head in ("torch", "inductor") and importlib.util.find_spec("torch"):
            asks = parts.INDUCTOR if head == "inductor" else parts.TORCH
            return "import torch\n", "torch", parts.CALL + torch_source(call.op) + asks + end
        if head == "jax":
            return parts.JAX_HEAD, "jax", parts.CALL + jax_source(call.op) + parts.JAX + end
        if head in parts.ONNX_WAYS:
            from dougong.backends.onnx import to_onnx

            way = parts.ONNX_WAYS[head]
            hint = f"HINT = {rest if head == 'openvino' else ''!r}\n"
            model = f"MODEL = (\n{_lines(to_onnx(call, case.dtype, way.opset))})\n{hint}"
            return way.imports, way.needs, model + parts.CALL + way.body + end
    return "", "numpy", parts.DATA.format(op=call.op)


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
