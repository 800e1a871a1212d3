"""Runs of an engine whose parameters are known, and what calibrate makes of them."""

from __future__ import annotations

import json
import math

import pytest

pytest.importorskip("numpy")

from dougong.calibration.local import Local, read_local
from dougong.catalog.store import Catalog
from dougong.cli import main
from dougong.errors import InputError
from dougong.measure.calibrate import Case, Machine, calibrate, case_of, errors
from dougong.measure.descent import descend
from dougong.metrics import RequestRecord, Run, header_line, write_run
from dougong.plan import PlanRequest, make_plan
from dougong.workload import Workload

TRUTH = {"step_s": 0.004, "sequence_s": 4e-4, "compute_slowdown": 2.1, "memory_slowdown": 1.5}
SHAPES = [(prompt, users) for prompt in (64, 300) for users in (1, 4)] + [(900, 2)]


@pytest.fixture(scope="module")
def machine():
    catalog = Catalog.open()
    model, system = catalog.model("smollm2-135m"), catalog.system("intel-xeon-8380")
    return Machine.of(
        model, system, Local(chip=system.chip.id, how="by hand"), engine="llama-cpp", precision="w4a16"
    )


def cases(machine, truth=TRUTH, noise=0.0):
    found = []
    for at, (prompt, users) in enumerate(SHAPES):
        workload = Workload(prompt_tokens=float(prompt), output_tokens=64.0)
        bare = Case(name=f"run-{at}", workload=workload, users=float(users), measured={})
        exact = machine.predict(bare, truth)
        wiggle = math.exp(noise * math.sin(7.0 * at))
        measured = {
            name: value * (1 / wiggle if name == "throughput" else wiggle) for name, value in exact.items()
        }
        found.append(Case(name=bare.name, workload=workload, users=bare.users, measured=measured))
    return found


def test_an_engine_that_is_slower_than_thought_is_learned(machine):
    local = Local(chip="c", how="probe")
    found = calibrate(machine, cases(machine), local)
    before, after, unseen = (
        [abs(error) for error in errors(found.cases, which, "throughput")]
        for which in ("before", "after", "unseen")
    )
    assert max(before) > 0.2
    assert max(after) < 0.06
    assert max(unseen) < 0.1
    assert found.after["step_s"] == pytest.approx(TRUTH["step_s"], rel=0.35)
    assert set(found.local.error) == {"tpot_s", "ttft_s", "throughput"}


def test_where_nothing_is_off_nothing_moves(machine):
    right = {name: getattr(machine.pricer.engine, name) for name in TRUTH}
    found = calibrate(machine, cases(machine, right), Local(chip="c", how="probe"))
    assert all(found.after[name] == pytest.approx(value, rel=0.02) for name, value in found.before.items())


def test_noise_stays_noise(machine):
    found = calibrate(machine, cases(machine, noise=0.05), Local(chip="c", how="probe"))
    assert max(abs(error) for error in errors(found.cases, "unseen", "throughput")) < 0.2
    assert found.local.error["throughput"].low < 1 < found.local.error["throughput"].high


def test_the_prediction_is_that_of_the_plan(machine):
    catalog = Catalog.open()
    workload = Workload(prompt_tokens=300.0, output_tokens=64.0, users=2.0)
    request = PlanRequest(
        model="smollm2-135m",
        systems=("intel-xeon-8380",),
        workload=workload,
        engine="llama-cpp",
        precision="w4a16",
    )
    option = make_plan(request, catalog).options[0]
    mine = machine.predict(Case(name="x", workload=workload, users=2.0, measured={}), {})
    assert mine["tpot_s"] == pytest.approx(option.tpot_s.value, rel=1e-3)
    assert mine["ttft_s"] == pytest.approx(option.ttft_s.value, rel=1e-3)
    assert mine["throughput"] == pytest.approx(option.output_tokens_per_s.value, rel=1e-3)


def test_too_little_is_refused(machine):
    with pytest.raises(InputError, match="2 runs cannot hold"):
        calibrate(machine, cases(machine)[:2], Local(chip="c", how=""))
    system = Catalog.open().system("hgx-h100")
    with pytest.raises(InputError, match="8 devices"):
        Machine.of(
            Catalog.open().model("smollm2-135m"),
            system,
            Local(chip="c", how=""),
            engine="llama-cpp",
            precision="auto",
        )
    with pytest.raises(InputError, match="nothing to learn"):
        case_of(Run({}, (RequestRecord(id="0", arrival_s=0, end_s=1, status="error", error="x"),)))


def as_run(case, path):
    """A file of requests that come and go as a case says."""
    tokens, each = int(case.workload.output_tokens), case.measured
    whole = each["ttft_s"] + (tokens - 1) * each["tpot_s"]
    records = []
    for user in range(int(case.users)):
        for n in range(12):
            start = n * whole
            times = tuple(start + each["ttft_s"] + at * each["tpot_s"] for at in range(tokens))
            records.append(
                RequestRecord(
                    id=f"{user}-{n}", arrival_s=start, sent_s=start, first_token_s=times[0], last_token_s=times[-1],
                    token_s=times, end_s=times[-1], output_tokens=tokens,
                    prompt_tokens=int(case.workload.prompt_tokens),
                )
            )  # fmt: skip
    write_run(
        path, records, header=header_line(started_unix_s=0.0, by="test", load={"users": int(case.users)})
    )


def test_the_command_writes_what_the_next_plan_reads(machine, tmp_path, capsys):
    files = []
    for case in cases(machine):
        files.append(str(tmp_path / f"{case.name}.jsonl"))
        as_run(case, files[-1])
    words = ["--model", "smollm2-135m", "--on", "intel-xeon-8380", "--precision", "w4a16"]
    out = tmp_path / "own"
    assert main(["calibrate", *files, *words, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    for said in ("5 runs", "run left out", "step_s", "Parameters"):
        assert said in told
    assert read_local([out])["intel-xeon-8380"].engine["llama-cpp"]["compute_slowdown"] > 1.6
    (out / "systems").mkdir()
    plan = [
        "plan",
        "smollm2-135m",
        "--on",
        "intel-xeon-8380",
        "--precision",
        "w4a16",
        "--engine",
        "llama-cpp",
    ]
    plan += ["--prompt", "300", "--output", "64", "--users", "1", "--json"]
    assert main(plan) == 0
    shipped = json.loads(capsys.readouterr().out)["options"][0]["tpot_s"]
    assert main([*plan, "--catalog", str(out)]) == 0
    own = json.loads(capsys.readouterr().out)["options"][0]["tpot_s"]
    truth = next(case for case in cases(machine) if case.workload.prompt_tokens == 300 and case.users == 1)
    assert own["value"] == pytest.approx(truth.measured["tpot_s"], rel=0.07)
    assert shipped["value"] < 0.8 * truth.measured["tpot_s"]
    # Intervals are those of runs left out: far narrower than a stranger's.
    assert own["high"] / own["low"] < shipped["high"] / shipped["low"]
    assert main(["calibrate", files[0], *words, "--dry-run"]) == 2
    assert "1 run cannot hold" in capsys.readouterr().err


def test_the_fitter_finds_a_valley_and_keeps_its_bounds():
    found = descend(
        {"a": 1.0, "b": 1.0},
        lambda at: math.log(at["a"] / 5) ** 2 + abs(math.log(at["b"] / 0.1)),
        bounds={"a": (0.1, 100), "b": (0.3, 100)},
    )
    assert found["a"] == pytest.approx(5, rel=0.02)
    assert found["b"] == pytest.approx(0.3)
