"""The simulated accelerator through the whole run: honest, faulty, falling back, lying."""

from __future__ import annotations

import pytest

from dougong.backends.registry import recipe
from dougong.verify.records import RunRecord
from dougong.verify.run import Request, run
from dougong.verify.semantics import SEMANTICS
from dougong.verify.verdict import Verdict

torch = pytest.importorskip("torch")


def ran(fault: str, **changes: object) -> RunRecord:
    name = f"torch-simnpu-{fault}" if fault else "torch-simnpu"
    wanted = {"only": ("gemm/linear-m33-", "gemm/linear-overflow"), "jobs": 1, "reproducers": 0, **changes}
    return run(Request(recipe=recipe(name), semantics=SEMANTICS["llm-strict"], **wanted))  # type: ignore[arg-type]


def verdicts(record: RunRecord) -> set[str]:
    return set(record.counts())


def test_an_honest_device_conforms_and_names_itself() -> None:
    record = ran("")
    assert verdicts(record) == {"PASS"}
    assert record.header.stack["device"] == "simnpu"


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("tf32", Verdict.DEVIATES),
        ("saturates", Verdict.DEVIATES),
        ("refuses", Verdict.ERROR),
        ("falls", Verdict.FALLBACK),
        ("lies", Verdict.FALLBACK),
    ],
)
def test_each_fault_has_its_verdict(fault: str, verdict: Verdict) -> None:
    record = ran(fault)
    assert str(verdict) in verdicts(record)
    if fault in ("falls", "lies"):
        assert verdicts(record) == {"FALLBACK"}
        assert "ran on the CPU" in record.results[0].detail or "no kernel" in record.results[0].detail


def test_the_same_faults_without_the_device() -> None:
    from dougong.testing.simnpu import DEVICE, FaultMode

    left, right = torch.rand(8, 64), torch.rand(64, 8)
    right_answer = left @ right
    with FaultMode("tf32"):
        wrong = left @ right
    assert not torch.equal(wrong, right_answer)
    assert torch.allclose(wrong, right_answer, rtol=1e-2)
    assert DEVICE.ran["aten.mm.default"]
