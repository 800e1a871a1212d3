"""A stack that misbehaves costs one case, gets its word for it, and the run goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dougong.backends import Call
from dougong.backends.registry import Recipe, recipe
from dougong.errors import EnvironmentLacking, InputError, UnknownId
from dougong.verify import run as running
from dougong.verify.case import Case
from dougong.verify.records import RunRecord, read_run
from dougong.verify.run import Request, run
from dougong.verify.semantics import SEMANTICS
from dougong.verify.verdict import Verdict


def linear(generator: np.random.Generator, rows: int) -> Call:
    x = generator.standard_normal((rows, 64), np.float32)
    return Call(op="linear", inputs={"x": x, "weight": generator.standard_normal((33, 64), np.float32)})


CASES = [
    Case(
        id=f"gemm/rows-{rows}", family="gemm", op="linear", dtype="float32", edge="a test", profile="smoke",
        make=lambda generator, rows=rows: linear(generator, rows), relations=("alone",) if rows == 3 else (),
    )
    for rows in (2, 7, 3)
]  # fmt: skip


@pytest.fixture(autouse=True)
def _few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "cases", lambda: iter(CASES))


def hostile(how: str, **changes: object) -> Request:
    made = Recipe(
        name=f"hostile-{how}", entry="hostile:Hostile", argument=how,
        environment={"PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    wanted = {"timeout_s": 20.0, "jobs": 1, **changes}
    return Request(recipe=made, semantics=SEMANTICS["llm-strict"], **wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "verdict", "says"),
    [
        ("raises", Verdict.ERROR, "kernel launch failed"),
        ("unsupported", Verdict.UNSUPPORTED, "no rows of seven"),
        ("segfaults", Verdict.CRASH, "SIGSEGV"),
        ("leaves", Verdict.CRASH, "left with status 0"),
        ("exits", Verdict.ERROR, "SystemExit"),
        ("prints", Verdict.PASS, ""),
        ("dtype", Verdict.WRONG, "float64 instead of float32"),
        ("shape", Verdict.WRONG, "(7, 32) instead of (7, 33)"),
        ("missing", Verdict.ERROR, "no output y"),
        ("mutates", Verdict.WRONG, "x: the input itself"),
        ("overruns", Verdict.WRONG, "x: memory beside the input"),
        ("reuses", Verdict.WRONG, "kept changed"),
        ("wavers", Verdict.WRONG, "other bits"),
        ("lies", Verdict.FALLBACK, "computed on cpu, not on npu"),
        ("falls", Verdict.FALLBACK, "linear ran on the CPU"),
    ],
)
def test_its_verdict_and_the_run_goes_on(how: str, verdict: Verdict, says: str) -> None:
    found = {result.case: result for result in run(hostile(how)).results}
    assert found["gemm/rows-7"].verdict is verdict, found["gemm/rows-7"]
    assert says in found["gemm/rows-7"].detail
    assert found["gemm/rows-2"].verdict is Verdict.PASS
    assert found["gemm/rows-3"].verdict is Verdict.PASS


def test_a_hang_is_stopped_by_the_clock_and_growth_by_the_limit() -> None:
    hung = {result.case: result for result in run(hostile("hangs", timeout_s=1.0)).results}
    assert hung["gemm/rows-7"].verdict is Verdict.TIMEOUT
    assert hung["gemm/rows-3"].verdict is Verdict.PASS
    grown = {result.case: result for result in run(hostile("grows", memory_bytes=1 << 29)).results}
    assert grown["gemm/rows-7"].verdict is Verdict.CRASH
    assert "the limit is 0.5 GB" in grown["gemm/rows-7"].detail


def test_a_file_of_results_is_gone_on_with_and_never_mixed(tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    whole = run(hostile("raises"), out=out)
    kinds = [json.loads(line)["kind"] for line in out.read_text().splitlines()]
    assert kinds == ["run", "result", "result", "result", "reproducer", "end"]
    with pytest.raises(InputError, match="finished"):
        run(hostile("raises"), out=out)
    cut = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(cut[:2]) + cut[2][:20])
    assert not read_run(out).finished
    told: list[str] = []
    again = run(hostile("raises"), out=out, seen=lambda result, done, of: told.append(result.case))
    assert len(told) == 2
    assert again.counts() == whole.counts()
    assert again.header.nonce == whole.header.nonce
    assert isinstance(read_run(out), RunRecord)
    out.write_bytes(b"".join(cut[:3]))
    with pytest.raises(InputError, match="seed was 0 and is 1"):
        run(hostile("raises", seed=1), out=out)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"kind": "other"}\n', "none of run, result"),
        (b'{"kind": "result", "case": "a/b", "verdict": "FINE", "check": "value"}\n', "FINE"),
        (b"[1]\n", "an object is wanted"),
        (b"\xff\xfe\n", "no line of a run"),
    ],
)
def test_a_file_that_is_no_run_is_refused_with_its_line(tmp_path: Path, line: bytes, says: str) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(line + b"{}\n")
    with pytest.raises(InputError, match=r"bad\.jsonl:1") as caught:
        read_run(bad)
    assert says in str(caught.value)


def test_what_is_lacking_is_said_with_how_to_get_it() -> None:
    with pytest.raises(EnvironmentLacking, match="there is no chip") as caught:
        run(hostile("lacking"))
    assert caught.value.hint == "buy one"
    missing = Recipe(name="gone", entry="no_such_module_here:Backend")
    with pytest.raises(EnvironmentLacking, match="no_such_module_here") as gone:
        run(Request(recipe=missing, semantics=SEMANTICS["llm-strict"]))
    assert gone.value.hint == "pip install no_such_module_here"


def test_names_of_backends(tmp_path: Path) -> None:
    assert (recipe("torch-cuda:1").argument, recipe("reference").argument) == ("cuda:1", "")
    with pytest.raises(UnknownId, match="no backend is called 'trch-cpu'"):
        recipe("trch-cpu")
    own = tmp_path / "backends.toml"
    own.write_text(f'[backends.mine]\npython = "{sys.executable}"\nentry = "hostile:Hostile"\n')
    assert recipe("mine-raises", file=own).argument == "raises"
    with pytest.raises(EnvironmentLacking, match="no interpreter"):
        recipe("reference", python="/nowhere/python")
    own.write_text("[backends]\nmine = 3\n")
    with pytest.raises(InputError, match="tables are wanted"):
        recipe("mine", file=own)
