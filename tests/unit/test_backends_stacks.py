"""Adapters of other stacks: what they answer, what they leave unsaid, and what is told where they are not here."""

from __future__ import annotations

import importlib
import sys

import ml_dtypes
import numpy as np
import pytest

from dougong.backends import Call, Unsupported
from dougong.backends.registry import GROUP
from dougong.errors import EnvironmentLacking
from dougong.plugins import discover
from dougong.verify.inside import ask_inside
from dougong.verify.judge import judge
from dougong.verify.run import selected
from dougong.verify.verdict import Verdict

LACKING = {
    "iree": "iree.compiler",
    "jax": "jax",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tinygrad": "tinygrad",
    "tvm": "tvm",
}
"""Backends by the module that each needs."""


@pytest.mark.parametrize(("backend", "module"), LACKING.items())
def test_a_missing_stack_is_told_with_its_pip_line(
    backend: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    name, _, attribute = discover(GROUP)[backend].value.partition(":")
    with pytest.raises(EnvironmentLacking) as raised:
        getattr(importlib.import_module(name), attribute)()
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("pip install ")
    assert "--python" in raised.value.hint


CONFORMING = (
    "gemm", "norm", "quantised_gemm/int8", "paged_attention", "latent_attention", "kv_write", "sampler",
    "moe", "lora", "view",
)  # fmt: skip


def test_onnxruntime_conforms_where_it_has_kernels() -> None:
    pytest.importorskip("onnxruntime")
    from dougong.backends.onnxruntime import OnnxRuntime

    backend, verdicts = OnnxRuntime(), []
    for case in selected("smoke", CONFORMING):
        call = case.call()
        outcome = ask_inside(backend, call)
        result = judge(case, call, outcome, ask=lambda other: ask_inside(backend, other))
        assert result.verdict in (Verdict.PASS, Verdict.UNSUPPORTED), f"{case.id}: {result.detail}"
        verdicts.append(result.verdict)
    assert verdicts.count(Verdict.PASS) >= 110


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_onnxruntime_returns_narrow_dtypes_bit_for_bit(dtype: type) -> None:
    pytest.importorskip("onnxruntime")
    from dougong.backends.onnxruntime import OnnxRuntime

    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
    call = Call(op="cast", inputs={"x": x}, attributes={"to": np.dtype(dtype).name})
    y = OnnxRuntime().run(call).outputs["y"]
    assert y.dtype == np.dtype(dtype)
    assert y.tobytes() == x.astype(dtype).tobytes()


def test_onnxruntime_tells_what_it_has_no_kernel_for() -> None:
    pytest.importorskip("onnxruntime")
    from dougong.backends.onnxruntime import OnnxRuntime

    x = np.ones((2, 2), ml_dtypes.bfloat16)
    with pytest.raises(Unsupported, match=r"MatMul|Transpose"):
        OnnxRuntime().run(Call(op="linear", inputs={"x": x, "weight": x}))


def test_inductor_runs_compiled_code_and_says_so() -> None:
    pytest.importorskip("torch")
    from dougong.backends.inductor import InductorBackend

    backend = InductorBackend("cpu")
    assert backend.describe()["compiler"] == "inductor"
    x, weight = np.linspace(-2, 2, 64, dtype=np.float32).reshape(4, 16), np.ones(16, np.float32)
    answer = backend.run(Call(op="rms_norm", inputs={"x": x, "weight": weight}))
    exact = x / np.sqrt(np.mean(x.astype(np.float64) ** 2, -1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(answer.outputs["y"], exact, rtol=1e-6)
    assert answer.device == "cpu"
    with pytest.raises(Unsupported, match="no such_operator"):
        backend.run(Call(op="such_operator", inputs={"x": x}))
