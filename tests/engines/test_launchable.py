"""From a question to commands: what is planned for an engine, the engine launches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dougong.catalog.store import Catalog
from dougong.cli import main
from dougong.engines.from_plan import read_plan
from dougong.engines.launchable import launchers
from dougong.engines.registry import load_engines
from dougong.plan import PlanRequest
from dougong.plan.types import Layout
from dougong.workload import Workload

R1 = [
    "deepseek-r1",
    "--on",
    "cloudmatrix384",
    "--prompt",
    "4096",
    "--output",
    "256",
    "--tpot",
    "50ms",
    "--json",
]


def test_a_plan_that_the_engine_refuses_says_how_to_plan_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, script = tmp_path / "plan.json", tmp_path / "serve.sh"
    assert main(["plan", *R1, "--mode", "disaggregated", "--top", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    for pool in answer["options"][0][
        "pools"
    ]:  # decode wider in TP than prefill: the plugin hands nothing over
        tp = {"prefill": 1, "decode": 4}[pool["phase"]]
        pool["layout"] |= {"tp": tp, "pp": 1, "cp": 1, "attn_dp": 16 // tp, "ep": 16, "expert_tp": 1}
    plan.write_text(json.dumps(answer))
    assert main(["serve", "--plan", str(plan), "--engine", "vllm", "--script", str(script)]) == 2
    assert "plan --launchable ENGINE leaves out what an engine refuses" in capsys.readouterr().err
    assert not script.exists()


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_every_option_of_a_plan_for_an_engine_can_be_launched(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    assert main(["plan", *R1, "--top", "20", "--launchable", engine]) == 0
    plan.write_text(capsys.readouterr().out)
    assert json.loads(plan.read_text())["request"]["launchable"] == engine
    assert {refusal["reason"] for refusal in json.loads(plan.read_text())["refusals"]} >= {"launchable"}
    for number in range(1, len(json.loads(plan.read_text())["options"]) + 1):
        chosen = ["--plan", str(plan), "--option", str(number)]
        assert main(["serve", *chosen, "--engine", engine, "--script", "-"]) == 0
        assert f"{engine}-prefill-1" in capsys.readouterr().out


def test_an_engine_is_asked_what_serve_would_ask_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    assert main(["plan", *R1, "--launchable", "vllm"]) == 0
    plan.write_text(capsys.readouterr().out)
    catalog = Catalog.open()
    prefill, decode = (pool.request for pool in read_plan(plan, catalog).pools)
    request = PlanRequest(
        model="deepseek-r1",
        systems=("cloudmatrix384",),
        workload=Workload(prompt_tokens=4096.0, output_tokens=256.0),
        launchable="vllm",
    )
    engine = load_engines()[0]["vllm"]
    one = launchers(engine, request, catalog)(catalog.system("cloudmatrix384"))
    assert (one.one.model, one.one.platform, one.one.context_tokens, one.one.node_devices) == (  # type: ignore[attr-defined]
        prefill.model,
        prefill.platform,
        prefill.context_tokens,
        prefill.node_devices,
    )
    wide = Layout(tp=2, attn_dp=decode.parallel.attn_dp, ep=decode.parallel.ep * 2)
    assert one.against(wide, "decode") == ""
    assert "TP of prefill must be that of decode or more" in one.against(wide, "decode", Layout())
    assert "experts are split over all" in one.against(Layout(tp=4, ep=2, expert_tp=2), "both")


@pytest.mark.parametrize(("system", "code"), [("apple-m2-ultra", 0), ("atlas-800-a2", 1)])
def test_weights_in_the_form_of_the_engine_are_meant(
    system: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "qwen3-8b", "--on", system, "--precision", "q4_0", "--json", "--launchable", "llamacpp"]
    assert main(words) == code
    answer = json.loads(capsys.readouterr().out)
    refused = [refusal["detail"] for refusal in answer["refusals"] if refusal["reason"] == "launchable"]
    assert all("gguf" not in detail for detail in refused)
    assert any("not on ascend" in detail for detail in refused) == (code == 1)


def test_an_unknown_engine_is_told_with_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *R1, "--launchable", "vlm", "--ttft", "soon"]) == 2
    told = capsys.readouterr().err
    assert "--launchable: no engine is called 'vlm'" in told
    assert "--ttft" in told
