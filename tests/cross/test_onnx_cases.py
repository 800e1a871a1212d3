"""Cases that travel as ONNX say the same to another stack: its answers lie within the error that travels along."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from dougong.verify.onnx_cases import write_cases
from dougong.verify.run import selected

runtime = pytest.importorskip("onnxruntime")
FLOAT32 = [
    case
    for case in selected("smoke")
    if case.family in ("gemm", "cast", "norm") and case.dtype == "float32" and not case.switches
]


def tensor(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.load_tensor(str(path)))


def test_folders_hold_what_another_stack_needs(tmp_path: Path) -> None:
    written = write_cases(FLOAT32, tmp_path)
    assert written.cases
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    compared = 0
    for name in written.cases:
        place = tmp_path / name
        told = json.loads((place / "case.json").read_text())
        assert told["case"] == name
        data = place / "test_data_set_0"
        inputs = {key: tensor(data / f"input_{at}.pb") for at, key in enumerate(told["inputs"])}
        allowed = data / "allowed_0.pb"
        if not allowed.exists() or any(array.dtype.kind == "V" for array in inputs.values()):
            continue
        session = runtime.InferenceSession(
            (place / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        got = session.run(["out_y"], inputs)[0].astype(np.float64)
        want = tensor(data / "output_0.pb").astype(np.float64)
        finite = np.isfinite(want) & np.isfinite(tensor(allowed))
        # The stored output is rounded once itself, so twice the allowance lies between two right answers.
        assert np.all(np.abs(got - want)[finite] <= 2 * tensor(allowed)[finite]), name
        compared += 1
    assert compared >= 5


def test_what_onnx_cannot_say_is_left_out_by_name(tmp_path: Path) -> None:
    cases = selected("smoke", ("quantised_gemm/linear-mxfp4",))
    written = write_cases(cases, tmp_path)
    assert set(written.left_out) == {case.id for case in cases}
    assert not written.cases
