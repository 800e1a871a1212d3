"""``dougong serve`` as its user meets it: a stranger's engine behind the gateway, and everything that goes wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dougong.cli import main
from dougong.cli.serve import serve as command
from dougong.cli.serve_limits import LIMITS, read_limits
from dougong.cli.words import Faults
from dougong.engines.process import free_port
from dougong.engines.supervise import Watch
from dougong.gateway import Settings
from dougong.testing.fake_engine import FakeEngine
from waiting import LONG_S, gone, until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="engines are launched on POSIX")

ADAPTER = """
import os, sys
from dougong.engines import Capabilities, LaunchCommand, Presence

# The fake engine ends with its standard input, which a guarded engine has not: it gets a pipe that stays open.
HOLD = (
    "import os, sys; r, w = os.pipe(); os.set_inheritable(w, True); os.dup2(r, 0); "
    "open(os.environ['STRANGER_PIDS'], 'a').write(f'{os.getpid()}\\\\n'); "
    "print('loading', flush=True); "
    "sys.exit('no such weights') if os.environ.get('STRANGER_FAILS') else None; "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

class Stranger:
    name = "stranger"
    formats = ("gguf",)
    platforms = ("cpu",)
    capabilities = Capabilities(tools=False, json_schema=False, logprobs=False, embeddings=False)

    def presence(self):
        return Presence(here=True, version="0.1")

    def command(self, request):
        words = ["-m", "dougong.testing.fake_engine", "--host", request.host, "--port", str(request.port)]
        words += ["--key", request.api_key, "--script", '{"models": ["%s"], "itl_s": 0.02}' % request.served_name]
        return LaunchCommand(
            argv=(sys.executable, "-c", HOLD, *words),
            secrets=frozenset({request.api_key}),
            base_url=f"http://{request.host}:{request.port}",
            health_path="/health",
            api_key=request.api_key,
        )
"""


class Served:
    """A running ``dougong serve``."""

    def __init__(self, folder: Path, *words: str, **env: str) -> None:
        self.pids_file, self.port = folder / "pids", free_port()
        self.pids_file.touch()
        model = folder / "tiny.gguf"
        model.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x00" * 16)
        environment = {
            **os.environ,
            "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "STRANGER_PIDS": str(self.pids_file),
            "DOUGONG_STATE": str(folder / "state"),
            "DOUGONG_CACHE": str(folder / "cache"),
            **env,
        }
        command = ["serve", str(model), "--engine", "stranger", "--port", str(self.port), "--json", *words]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dougong", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.events: list[dict[str, Any]] = []

    def ready(self) -> Served:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == "serving":
                return self
        raise AssertionError(self.process.communicate()[1].decode())

    @property
    def engines(self) -> list[int]:
        return [int(line) for line in self.pids_file.read_text().split()]

    def post(self, **body: Any) -> Any:
        asked = {"model": "tiny", "messages": [{"role": "user", "content": "secret prompt"}], **body}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        return urllib.request.urlopen(request, timeout=LONG_S)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=LONG_S)
        for line in out.splitlines():
            self.events.append(json.loads(line))
        return self.process.returncode, "", err.decode()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    info = tmp_path / "stranger_pack-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger-pack\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[dougong.engines]\nstranger = stranger_engine:Stranger\n")
    (tmp_path / "stranger_engine.py").write_text(ADAPTER)
    made: list[Served] = []

    def start(*words: str, **env: str) -> Served:
        made.append(Served(tmp_path, *words, **env))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.terminate()
        with contextlib.suppress(ValueError):
            one.process.communicate(timeout=LONG_S)
        until(lambda one=one: all(gone(pid) for pid in one.engines))


def test_a_strangers_engine_is_served_restarted_and_ended_in_order(serve, tmp_path: Path) -> None:
    served = serve().ready()
    with served.post(max_tokens=3) as reply:
        told = json.load(reply)
    assert told["usage"]["completion_tokens"] == 3
    (first,) = served.engines

    # Killed in the middle of a stream: the client is told, and the engine comes back.
    with served.post(stream=True, max_tokens=50, fake={"die_after_events": 4}) as reply:
        lines = [line.decode().strip() for line in reply if line.strip()]
    assert json.loads(lines[-1].removeprefix("data: ")).get("error") or "[DONE]" not in lines[-1]
    assert any('"error"' in line for line in lines), "the stream ended without a word"
    until(lambda: len(served.engines) == 2)
    assert gone(first)

    def answers() -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError), served.post(max_tokens=2) as reply:
            return reply.status == 200
        return False

    until(answers)
    served.process.send_signal(signal.SIGTERM)
    code, _, err = served.end()
    assert (code, err) == (0, "")
    assert all(gone(pid) for pid in served.engines)
    states = [event["state"] for event in served.events if event["event"] == "engine-state"]
    assert states == ["starting", "ready", "waiting", "waiting", "starting", "ready", "stopping", "stopped"]
    assert {"model", "engine", "serving", "draining", "stopped"} <= {
        event["event"] for event in served.events
    }
    written = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"secret prompt" not in written


def test_no_orphan_after_kill_nine(serve) -> None:
    served = serve().ready()
    (engine,) = served.engines
    served.process.kill()
    until(lambda: gone(engine))


def test_an_engine_that_does_not_start_is_quoted(serve) -> None:
    served = serve(STRANGER_FAILS="1")
    code, _, err = served.end()
    assert code == 5
    assert "stranger-1 ended with exit code 1 before it was ready" in err
    assert "no such weights" in err


def test_a_taken_port_is_told_before_anything_is_launched(serve, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = main(["serve", "--port", str(port), "--no-records"])
    assert code == 4


def test_endpoints_that_run_already(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEngine(tokens=2) as one, FakeEngine(tokens=2) as other:
        port = free_port()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dougong",
                "serve",
                "--replica",
                one.url,
                "--replica",
                f"{other.url}/v1",
                "--port",
                str(port),
            ],
            env={**os.environ, "DOUGONG_STATE": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == f"http://127.0.0.1:{port}/v1\n"
            assert '"model": "fake"' in process.stdout.readline()
            body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "x"}]}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body)
            with urllib.request.urlopen(request, timeout=LONG_S) as reply:
                assert json.load(reply)["usage"]["completion_tokens"] == 2
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()


def test_engines_are_listed_with_those_that_do_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "broken_pack-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-pack\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        "[dougong.engines]\nbroken = broken_engine:Engine\nodd = json:dumps\n"
    )
    (tmp_path / "broken_engine.py").write_text("raise OSError('libascendcl.so')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["engines", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"llamacpp", "openai", "sglang", "transformers", "vllm"} <= {
        one["name"] for one in told["engines"]
    }
    assert all(one["here"] or (one["lacking"] and one["remedy"]) for one in told["engines"])
    faults = {one["name"]: one["fault"] for one in told["failed"]}
    assert "libascendcl.so" in faults["broken"]
    assert "no engine adapter" in faults["odd"]
    assert main(["engines"]) == 0
    assert "failed" in capsys.readouterr().out


PLAN = {
    "schema": 2,
    "kind": "plan",
    "precision_note": "FP8 weights",
    "request": {
        "model": "deepseek-r1",
        "workload": {"prompt_tokens": 4000.0, "output_tokens": 500.5},
        "draft_tokens": 1,
        "kv_dtype": "fp8_e4m3",
        "max_context_tokens": None,
    },
    "options": [
        {
            "system": "hgx-h200",
            "ttft_s": {"value": 0.5},
            "tpot_s": {"value": 0.02},
            "pools": [
                {
                    "phase": "both",
                    "layout": {"tp": 1, "pp": 1, "cp": 1, "attn_dp": 8, "ep": 8, "expert_tp": 1},
                    "replicas": 2,
                    "sequences_per_replica": 100.0,
                    "tokens_per_step": 2048.0,
                }
            ],
        }
    ],
}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return path


def test_a_plan_becomes_commands(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--plan", str(plan), "--dry-run", "--engine", "vllm", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if line == "{")
    assert {json.loads(line)["event"] for line in lines[:start]} == {"note", "engine"}
    (launch,) = json.loads("\n".join(lines[start:]))["launches"]
    words = launch["argv"]
    assert (launch["replicas"], launch["devices"], launch["layout"]) == (2, 8, "DP8 EP8")
    told = dict(itertools.pairwise(words))
    assert words[2] == "deepseek-ai/DeepSeek-R1"
    assert told["--data-parallel-size"] == "8"
    assert "--enable-expert-parallel" in words
    assert told["--max-model-len"] == "4501"
    assert told["--max-num-seqs"] == "13"
    assert told["--max-num-batched-tokens"] == "256"
    assert told["--kv-cache-dtype"] == "fp8_e4m3"
    assert json.loads(told["--speculative-config"])["num_speculative_tokens"] == 1


def test_a_plan_that_no_engine_can_do_names_the_options_it_can(plan: Path, capsys) -> None:
    def option(tp: int, pp: int) -> dict[str, Any]:
        made = json.loads(json.dumps(PLAN["options"][0]))
        layout = {"tp": tp, "pp": pp, "cp": 1, "attn_dp": 1, "ep": 1, "expert_tp": tp}
        both = made["pools"][0]
        made["pools"] = [{**both, "phase": phase, "layout": layout} for phase in ("prefill", "decode")]
        return made

    plan.write_text(json.dumps({**PLAN, "options": [option(1, 8), option(8, 1)]}))
    words = ["serve", "--plan", str(plan), "--dry-run", "--engine", "vllm"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "pipeline stages, and PP is 8" in err
    assert "--option 2 can be launched" in err
    assert main([*words, "--option", "2"]) == 0


def test_words_stand_over_the_plan(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "--plan", str(plan), "--dry-run", "--engine", "sglang"]
    assert main([*words, "--tp", "4", "--context", "9000", "--name", "mine", "--copies", "1"]) == 0
    out = capsys.readouterr().out
    assert "--tp-size 4" in out
    assert "--context-length 9000" in out
    assert "--served-model-name mine" in out
    assert out.startswith("# 1 × sglang, TP4")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "infeasible"}, "is a no"),
        ({"schema": 99}, "schema 99"),
        ({"options": []}, "no options"),
        ({"options": [{}]}, "without 'system'"),
        ({"request": None}, "no request"),
    ],
)
def test_what_is_no_plan_is_told(plan: Path, capsys, change: dict[str, Any], fault: str) -> None:
    plan.write_text(json.dumps({**PLAN, **change}))
    assert main(["serve", "--plan", str(plan), "--dry-run"]) == 2
    assert fault in capsys.readouterr().err


def test_faults_of_the_words_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "serve",
        "x.gguf",
        "--plan",
        "p",
        "--tp",
        "0",
        "--port",
        "99999",
        "--device",
        "gpu",
        "--engine-args",
        "'",
    ]
    assert main(words) == 2
    err = capsys.readouterr().err
    for word in ("MODEL", "--tp: 0 is too few", "99999", "'gpu'", "No closing quotation"):
        assert word in err


def test_a_model_that_is_not_known_is_told_with_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "deepseek-r2", "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert "'deepseek-r2' names no model" in err
    assert "deepseek-r1" in err


def test_every_limit_has_a_flag_that_sets_it() -> None:
    # Where it listens, who may use it and what it writes have flags of their own.
    own = {"keys_file", "keys", "records", "log"}
    assert {limit.settings for limit in LIMITS if limit.settings} == {
        field.name for field in dataclasses.fields(Settings)
    } - own
    assert {limit.watch for limit in LIMITS if limit.watch} == {
        field.name for field in dataclasses.fields(Watch)
    }
    assert {parameter.opts[0] for parameter in command.params} >= {limit.flag for limit in LIMITS}
    given = {"s": "90s", "byte": "3MiB", "token": "7"}
    words = {limit.word: given[limit.dimension] for limit in LIMITS}
    settings, watch = read_limits(words, Faults())
    assert Settings(**settings).max_body_bytes == 3 << 20
    assert set(watch.values()) == {90.0, 7}
    assert len(settings) + len(watch) == sum(bool(one.settings) + bool(one.watch) for one in LIMITS)


def test_the_default_on_the_help_page_is_what_holds() -> None:
    said = {limit.flag: limit.help for limit in LIMITS}
    assert said["--body-limit"].endswith("[32MiB].")
    assert said["--health-timeout"].endswith("[5s, of an engine launched here 10s].")
    assert said["--queue"].endswith("[1,024].")
    for limit in LIMITS:
        shown = limit.help.rpartition("[")[2].removesuffix("].").split(", of an engine launched here ")
        words = dict.fromkeys((one.word for one in LIMITS), None) | {limit.word: shown[0]}
        settings, watch = read_limits(words, faults := Faults())
        assert not faults.found
        owner, name = (Settings(), limit.settings) if limit.settings else (Watch(), limit.watch)
        assert (settings or watch)[name] == getattr(owner, name), limit.flag


def test_faults_of_the_limits_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--replica", "http://127.0.0.1:9", "--deaths", "3", "--request-timeout", "90", "--attempts", "0"]
    assert main(["serve", *words, "--body-limit", "5 Gbit"]) == 2
    err = capsys.readouterr().err
    for word in ("4 faults", "--deaths: it is for engines", "the unit is missing", "--attempts: 0", "'Gbit'"):
        assert word in err


def test_limits_reach_the_gateway_and_the_supervisor(serve) -> None:
    served = serve(
        "--body-limit", "200B", "--request-timeout", "800ms", "--deaths", "1", "--health-every", "200ms"
    ).ready()  # fmt: skip
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.post(user="x" * 300)
    with refused.value as reply:
        assert reply.code == 413
    with served.post(stream=True, max_tokens=1000) as reply:
        last = [line for line in reply if line.strip()][-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "request_timeout"
    os.kill(served.engines[0], signal.SIGKILL)
    code, _, err = served.end()
    assert code == 5
    assert "stranger-1 ended with signal SIGKILL; it is given up" in err
    assert len(served.engines) == 1, "it is not started again"


def test_beyond_this_machine_only_with_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0", "--replica", "http://127.0.0.1:9"]) == 2
    assert "no key is asked for" in capsys.readouterr().err
