"""A failure is made small, and its script shows it without this program."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dougong.backends import Answer, Call
from dougong.backends.reference.backend import ReferenceBackend
from dougong.ops.definitions import DEFINITIONS
from dougong.verify.inside import ask_inside
from dougong.verify.judge import Outcome, judge
from dougong.verify.reproducer import script
from dougong.verify.run import selected
from dougong.verify.semantics import SEMANTICS
from dougong.verify.shrink import Shrunk, shrink
from dougong.verify.verdict import Verdict

CASE = next(case for case in selected("smoke", ("gemm/linear-m33-",)) if case.dtype == "float32")


class Off(ReferenceBackend):
    """Wrong in its hundredth column."""

    def run(self, call: Call) -> Answer:
        answer = super().run(call)
        y = answer.outputs["y"]
        if y.shape[-1] > 99:
            y[..., 99] *= 2
        return answer


def shrunk() -> Shrunk:
    call = CASE.call()

    def ask(other: Call) -> Outcome:
        return ask_inside(Off(), other)

    failure = judge(CASE, call, ask(call))
    assert failure.verdict is Verdict.WRONG
    return shrink(CASE, call, failure, ask, SEMANTICS["llm-strict"])


def test_every_extent_that_does_not_matter_goes() -> None:
    small = shrunk()
    assert small.result.verdict is Verdict.WRONG
    assert small.call.inputs["x"].shape == (1, 1)
    assert 100 <= small.call.inputs["weight"].shape[0] <= 103


@pytest.mark.parametrize("backend", ["torch-cpu", "inductor-cpu", "onnxruntime", "nobody"])
def test_the_script_runs_alone(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if backend == "onnxruntime" else "torch")
    text = script(CASE, shrunk(), backend, {"framework": backend, "device": "cpu"})
    assert "dougong" not in text.replace(CASE.id, "")
    (tmp_path / "case.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "case.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("got 2.0" if backend == "nobody" else "largest difference 0.0") in done.stdout


@pytest.mark.parametrize(
    ("backend", "asks"),
    [
        ("inductor-cpu", "torch.compile("),
        ("onnxruntime", "onnxruntime.InferenceSession("),
        ("openvino-f32", "openvino.Core("),
        ("jax-cpu", "jax.jit("),
        ("tvm", "tvm.compile("),
        ("iree", "iree.runtime.load_vm_flatbuffer("),
        ("tinygrad", "OnnxRunner("),
    ],
)
def test_the_script_asks_the_stack_that_failed_and_no_other(backend: str, asks: str) -> None:
    failure = Shrunk(
        call=CASE.call(), result=judge(CASE, CASE.call(), Outcome(failed=Verdict.ERROR)), tried=0
    )
    text = script(CASE, failure, backend, {"device": "cpu"})
    compile(text, "case.py", "exec")
    assert asks in text
    assert ("InferenceSession" in text) == (backend == "onnxruntime")
    assert ("HINT = 'f32'" in text) == (backend == "openvino-f32")


def test_every_operator_of_jax_can_be_cut_out_without_it() -> None:
    from dougong.verify.sources import jax_source

    for name in (
        "linear",
        "paged_attention",
        "gated_delta_rule",
        "moe",
        "sample",
        "rope",
        "exp",
        "dynamic_quant",
    ):
        text = jax_source(name)
        compile(text, name, "exec")
        assert "dougong" not in text, name
    with pytest.raises(LookupError):
        jax_source("all_reduce")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_inputs_travel_in_scripts(dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    case = next(each for each in selected("smoke", ("gemm/linear-m33-",)) if each.dtype == dtype)
    call = case.call()
    result = judge(case, call, ask_inside(Off(), call))
    text = script(case, Shrunk(call=call, result=result, tried=0), "torch-cpu", {"device": "cpu"})
    (tmp_path / "case.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "case.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    far = float(done.stdout.split()[-1])
    assert np.isfinite(far)
    assert far < 1.0


def test_the_script_of_a_call_that_is_to_raise_says_what_was_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = next(each for each in selected("standard", ("gather/embedding-far-beyond-",)))
    call = case.call()
    failure = judge(case, call, Outcome(failed=Verdict.CRASH))
    text = script(case, Shrunk(call=call, result=failure, tried=0), "torch-cpu", {})
    space: dict[str, Any] = {"__name__": "case"}
    exec(text[: text.rindex("\n\ncall = Call(")], space)
    assert space["EXPECTED"] == {}
    space["show"]({"y": np.arange(3.0)})
    assert "should have been refused" in capsys.readouterr().out
    space["EXPECTED"] = {"y": np.arange(3.0)}
    space["show"]({"y": np.arange(3.0)})
    assert capsys.readouterr().out.splitlines()[-1] == "y largest difference 0.0"


def test_every_operator_of_the_adapter_can_be_cut_out() -> None:
    pytest.importorskip("torch")
    from dougong.backends.torch.backend import OPERATORS
    from dougong.verify.sources import torch_source

    for name in OPERATORS:
        if DEFINITIONS[name].family in ("collective", "graph"):  # more than one process, or another's graph
            continue
        space: dict[str, object] = {}
        exec(
            f"from __future__ import annotations\nclass Unsupported(Exception): ...\n{torch_source(name)}",
            space,
        )
        assert callable(space["run"]), name


def test_a_call_that_cannot_be_cut_stays_as_it_is() -> None:
    call = replace(CASE.call(), inputs={})
    failure = judge(CASE, CASE.call(), Outcome(failed=Verdict.ERROR, detail="x"))
    same = shrink(CASE, call, failure, lambda other: Outcome(failed=Verdict.ERROR), SEMANTICS["llm-strict"])
    assert same.call is call
