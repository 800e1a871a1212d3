"""Cases as folders of ONNX files, laid out like ONNX's own backend tests, so that any stack can run them.

::

    DIR/gemm/linear-m1-…/model.onnx
                         test_data_set_0/input_0.pb …  output_0.pb …    the float64 reference, rounded once
                         test_data_set_0/allowed_0.pb …                 the error allowed of each element, in float64
                         case.json                                      id, edge, names, attributes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dougong.backends import Refused, Unsupported
from dougong.backends.dtypes import rounded_outputs
from dougong.backends.onnx import to_onnx
from dougong.backends.onnx.graph import tensor_bytes
from dougong.backends.reference import FORMULAS
from dougong.ops.definitions import DEFINITIONS
from dougong.verify.bound import LARGEST, NATIVE, Bound, Rule
from dougong.verify.bounds import BOUNDS
from dougong.verify.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, and what opset 23 has no words for: case by reason."""

    cases: tuple[str, ...]
    left_out: dict[str, str]
    bytes_written: int


def write_cases(
    cases: Iterable[Case], folder: Path, *, seed: int = 0, seen: Callable[[Case], None] = lambda case: None
) -> Written:
    """Write cases below ``folder``, each in a folder of its id."""
    written: list[str] = []
    left_out: dict[str, str] = {}
    total = 0
    for case in cases:
        try:
            total += _write(case, folder / case.id, seed)
            written.append(case.id)
        except (Unsupported, Refused) as reason:
            left_out[case.id] = str(reason) or "the right answer is an error"
        seen(case)
    return Written(cases=tuple(written), left_out=left_out, bytes_written=total)


def _write(case: Case, place: Path, seed: int) -> int:
    call = case.call(seed)
    files = {"model.onnx": to_onnx(call, case.dtype)}
    with np.errstate(all="ignore"):
        exact = FORMULAS[case.op](call)
        bounds: Mapping[str, Bound | Rule] = {}
        if case.op in BOUNDS and not case.exact:
            bounds = BOUNDS[case.op](call, exact)
    outputs = rounded_outputs(DEFINITIONS[case.op], call, exact, case.dtype)
    for at, (name, array) in enumerate(call.inputs.items()):
        files[f"test_data_set_0/input_{at}.pb"] = tensor_bytes(name, array)
    for at, (name, array) in enumerate(outputs.items()):
        files[f"test_data_set_0/output_{at}.pb"] = tensor_bytes(f"out_{name}", array)
        bound = bounds.get(name)
        if isinstance(bound, Bound) and array.dtype.name in LARGEST:
            with np.errstate(all="ignore"):
                _, worst = bound.allowed(exact[name].astype(np.float64), array.dtype.name, NATIVE)
            allowed = np.broadcast_to(worst, array.shape)
            files[f"test_data_set_0/allowed_{at}.pb"] = tensor_bytes(f"allowed_{name}", allowed)
    told = {
        "schema": 1,
        "case": case.id,
        "operator": case.op,
        "dtype": case.dtype,
        "edge": case.edge,
        "geometry": case.geometry,
        "provenance": case.provenance,
        "switches": case.switches,
        "seed": seed,
        "inputs": list(call.inputs),
        "outputs": [f"out_{name}" for name in outputs],
        "attributes": {name: repr(value) for name, value in call.attributes.items()},
    }
    files["case.json"] = (json.dumps(told, indent=2) + "\n").encode()
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return sum(map(len, files.values()))
