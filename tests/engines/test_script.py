"""A plan written as a script: what each node runs, held to the engines' flags, and run with engines that answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dougong.cli import main
from dougong.engines.placement import Placed, place
from dougong.engines.port import LaunchRequest, Model, Parallel
from dougong.engines.prepare import Group
from dougong.engines.process import free_port
from dougong.engines.script import KEY_WORD, write_script
from dougong.engines.sglang import Sglang
from dougong.engines.vllm import Vllm
from dougong.errors import InputError
from waiting import LONG_S

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None or os.name != "posix", reason="a shell script wants bash")
FLAGS = Path(__file__).parent / "flags"
MODEL = Model(
    location="deepseek-ai/DeepSeek-R1", format="safetensors", name="r1", source="hf:deepseek-ai/DeepSeek-R1"
)


def group(engine: Any, replicas: int, cut: Parallel, **words: Any) -> Group:
    told = {
        "model": MODEL,
        "served_name": "r1",
        "port": 1,
        "platform": "cuda",
        "parallel": cut,
        "node_devices": 8,
    }
    return Group(engine=engine, replicas=replicas, request=LaunchRequest(**{**told, **words}))


def two_pools(engine: Any, **words: Any) -> list[Placed]:
    prefill, decode = Parallel(tp=4), Parallel(tp=4, attn_dp=4, ep=16)
    groups = [
        group(engine, 3, prefill, role="prefill", peer=decode, **words),
        group(engine, 1, decode, role="decode", peer=prefill, **words),
    ]
    return place(groups, key=KEY_WORD)


def test_replicas_share_nodes_and_span_them() -> None:
    placed = two_pools(Vllm())
    assert [(one.node, one.name, one.request.devices, one.answers) for one in placed] == [
        (0, "vllm-prefill-1", (0, 1, 2, 3), True),
        (0, "vllm-prefill-2", (4, 5, 6, 7), True),
        (1, "vllm-prefill-3", (0, 1, 2, 3), True),
        (2, "vllm-decode-4", (), True),
        (3, "vllm-decode-4", (), False),
    ]
    places = {(one.node, one.request.port) for one in placed}
    assert len(places) == len(placed), "two processes of a node at one port"
    ports = {(one.node, one.command.env["VLLM_NIXL_SIDE_CHANNEL_PORT"]) for one in placed}
    assert len(ports) == len(placed), "two replicas of a node hand over at one port"


@pytest.mark.parametrize("engine", [Vllm(), Sglang()], ids=lambda engine: engine.name)
@pytest.mark.parametrize("platform", ["cuda", "ascend"])
def test_every_word_of_a_script_is_the_engines(engine: Any, platform: str, tmp_path: Path) -> None:
    text = write_script(two_pools(engine, platform=platform), "two pools")
    file = tmp_path / "serve.sh"
    file.write_text(text)
    assert BASH is not None
    subprocess.run([BASH, "-n", str(file)], check=True)
    known = {*json.loads((FLAGS / f"{engine.name}.json").read_text())["flags"], "--headless"}
    commands = [line for line in text.replace("\\\n", "").splitlines() if "--served-model-name" in line]
    assert len(commands) == 5
    for line in commands:
        told = set(re.findall(r"(?<=\s)--[a-z0-9-]+", line))
        assert told <= known, told - known
        assert '"$ENGINE_KEY"' in line
        assert "DOUGONG" not in line
        shlex.split(line)
    assert "0.0.0.0" not in text
    gateway = text[text.index("gateway)") :]
    assert gateway.count('"${NODES[0]}"') >= 2
    assert '"${NODES[3]}"' not in gateway, "the second node of a replica answers nobody"
    assert "dougong serve --replica http://127.0.0.1:30000" in gateway.replace(" \\\n    ", " ")
    if platform == "ascend" and engine.name == "vllm":
        assert 'HCCL_IF_IP="${NODES[2]}"' in text
        assert '"kv_port": "28004"' in text


def test_a_gateway_asks_replicas_of_one_pool_itself() -> None:
    text = write_script(place([group(Vllm(), 2, Parallel(tp=8))], key=KEY_WORD), "one pool")
    gateway = text[text.index("gateway)") :].replace(" \\\n    ", " ")
    assert 'dougong serve --replica http://"${NODES[0]}":8001 --replica http://"${NODES[1]}":8001' in gateway
    assert "router" not in gateway


def test_an_engine_without_a_router_is_told() -> None:
    class Plain(Vllm):
        name = "plain"
        router = None  # type: ignore[assignment]

    placed = two_pools(Vllm())
    engineless = [replace(one, group=replace(one.group, engine=Plain())) for one in placed]
    with pytest.raises(InputError, match="plain names no router"):
        write_script(engineless, "two pools")


STUB = """#!{python}
import json, os, sys
words = sys.argv[1:]
told = dict(zip(words, words[1:]))
with open({log!r}, "a") as file:
    file.write(json.dumps([words, os.environ.get("VLLM_API_KEY")]) + "\\n")
script = json.dumps({{"models": [told["--served-model-name"]]}})
given = ["--host", told["--host"], "--port", told["--port"], "--key", os.environ["VLLM_API_KEY"], "--script", script]
r, w = os.pipe()
os.set_inheritable(w, True)
os.dup2(r, 0)  # the engine ends with its standard input
os.execv(sys.executable, [sys.executable, "-m", "dougong.testing.fake_engine", *given])
"""


def ask(url: str) -> Any:
    body = json.dumps(
        {"model": "r1", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    ).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(request, timeout=5) as reply,
    ):
        return json.load(reply)
    return None


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.send_signal(signal.SIGTERM)
    for process in made:
        process.wait(30)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there on Linux alone")
def test_a_script_serves_over_two_nodes(tmp_path: Path, running: list[subprocess.Popen[bytes]]) -> None:
    log, programs = tmp_path / "log", tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(STUB.format(python=sys.executable, log=str(log)))
    (programs / "dougong").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dougong "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    text = write_script(place([group(Vllm(), 2, Parallel(tp=8))], key=KEY_WORD), "one pool")
    port, file, said = free_port(), tmp_path / "serve.sh", tmp_path / "said"
    file.write_text(text.replace("--port 8000", f"--port {port}").replace("8001", str(free_port())))
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOSTS": "127.0.0.1 127.0.0.2",
        "ENGINE_KEY": "dg-secret",
        "DOUGONG_STATE": str(tmp_path),
    }
    assert BASH is not None
    wrong = subprocess.run(
        [BASH, str(file), "0"], env={**environment, "HOSTS": "127.0.0.1"}, capture_output=True, check=False
    )
    assert wrong.returncode == 2
    assert b"names 1 node(s), and 2 are wanted" in wrong.stderr
    for node in ("0", "1", "gateway"):
        with said.open("ab") as out:
            running.append(subprocess.Popen([BASH, str(file), node], env=environment, stdout=out, stderr=out))
    until_s = time.monotonic() + LONG_S
    while (reply := ask(f"http://127.0.0.1:{port}")) is None:
        assert time.monotonic() < until_s, said.read_text()
        time.sleep(0.1)
    assert reply["usage"]["completion_tokens"] == 2
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert {key for _, key in told} == {"dg-secret"}
    assert {words[words.index("--host") + 1] for words, _ in told} == {"127.0.0.1", "127.0.0.2"}


def test_a_plan_is_written_as_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.json"
    assert main(["plan", "qwen3-32b", "--on", "2 x hgx-h200", "--mode", "disaggregated", "--json"]) == 0
    plan.write_text(capsys.readouterr().out)
    file = tmp_path / "serve.sh"
    assert main(["serve", "--plan", str(plan), "--engine", "vllm", "--script", str(file)]) == 0
    assert f"written: {file}" in capsys.readouterr().err
    text = file.read_text()
    assert "kv_producer" in text
    assert "kv_consumer" in text
    assert "vllm-router" in text
    assert main(["serve", "--plan", str(plan), "--engine", "vllm", "--script", "-"]) == 0
    assert capsys.readouterr().out == text
    assert main(["serve", "--script", "x"]) == 2
