"""Supervision: slow starts, deaths, hangs, crash loops, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dougong.engines.log import EngineLog
from dougong.engines.port import LaunchCommand
from dougong.engines.process import check_port, free_port
from dougong.engines.supervise import Event, Supervisor, Watch
from dougong.errors import EngineError, EnvironmentLacking
from waiting import gone, until

STUB = Path(__file__).with_name("stub.py")
QUICK = Watch(
    start_s=60.0,
    probe_every_s=0.05,
    probe_timeout_s=5.0,  # a busy machine is not a hung engine
    probes_failed=2,
    grace_s=0.3,
    backoff_first_s=0.01,
    backoff_most_s=0.05,
    deaths=3,
    deaths_within_s=60.0,
)
IMPATIENT = replace(QUICK, probe_timeout_s=0.5)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="engines are launched on POSIX")


def command(*words: str) -> LaunchCommand:
    port = free_port()
    return LaunchCommand(
        argv=(sys.executable, "-S", str(STUB), "--port", str(port), *words),
        base_url=f"http://127.0.0.1:{port}",
        health_path="/health",
        api_key="secret-key",
    )


class Watched:
    def __init__(self, *words: str, watch: Watch = QUICK) -> None:
        self.events: list[Event] = []
        self.log = EngineLog(secrets=["secret-key"])
        self.supervisor = Supervisor(
            "stub", command(*words), self.log, watch=watch, on_event=self.events.append
        )

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events]


@pytest.fixture
def launch() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def start(*words: str, watch: Watch = QUICK) -> Watched:
        made.append(Watched(*words, watch=watch))
        made[-1].supervisor.start()
        return made[-1]

    yield start
    for one in made:
        one.supervisor.stop()


def test_a_slow_engine_is_waited_for_and_ended_with_its_helpers(launch, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    one = launch("--slow", "0.4", "--child", "--pids", str(pids))
    assert one.supervisor.wait_ready(60)
    assert one.states == ["starting", "ready"]
    engine, helper = json.loads(pids.read_text())
    assert not gone(engine)
    assert not gone(helper)
    one.supervisor.stop()
    assert one.states[-2:] == ["stopping", "stopped"]
    assert gone(engine)
    assert gone(helper), "a helper in a session of its own outlived its engine"


def test_secrets_do_not_reach_the_log(launch) -> None:
    one = launch()
    one.supervisor.wait_ready(60)
    assert one.log.tail() == ("loading model of …",)


def test_an_engine_that_never_works_is_not_tried_again(launch) -> None:
    one = launch("--exit", "7")
    with pytest.raises(EngineError, match="exit code 7 before it was ready") as caught:
        one.supervisor.wait_ready(60)
    assert "ValueError: no such flag" in caught.value.message
    assert one.states == ["starting", "failed"]
    assert one.supervisor.restarts == 0


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    absent = LaunchCommand(argv=("no-such-engine",), base_url="http://127.0.0.1:9", health_path="/")
    supervisor = Supervisor("absent", absent, EngineLog(), watch=QUICK)
    supervisor.start()
    with pytest.raises(EngineError, match="no-such-engine: No such file"):
        supervisor.wait_ready(60)


def test_too_slow_is_told(launch) -> None:
    one = launch("--slow", "30", watch=Watch(start_s=0.3, probe_every_s=0.05, grace_s=0.2))
    with pytest.raises(EngineError, match=r"not ready within 0\.3 s"):
        one.supervisor.wait_ready(60)


def test_a_dead_engine_is_started_again(launch, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    one = launch("--pids", str(pids))
    one.supervisor.wait_ready(60)
    (first,) = json.loads(pids.read_text())
    os.kill(first, signal.SIGKILL)
    until(lambda: one.states.count("ready") == 2)
    assert json.loads(pids.read_text()) != [first]
    assert any("signal SIGKILL" in event.message for event in one.events), one.events
    assert one.supervisor.restarts == 1


def test_a_crash_loop_is_given_up_and_quotes_the_engine(launch) -> None:
    one = launch("--die-at", "0.1")
    one.supervisor.wait_ready(60)
    until(lambda: one.supervisor.state == "failed")
    failure = one.supervisor.failure
    assert failure is not None
    assert "3 times" in failure.message
    assert "loading model" in failure.message
    assert one.supervisor.restarts == 2


def test_a_hung_engine_is_ended_and_started_again(launch, tmp_path: Path) -> None:
    hang, pids = tmp_path / "hang", tmp_path / "pids"
    one = launch("--hang-file", str(hang), "--pids", str(pids), "--stubborn", watch=IMPATIENT)
    one.supervisor.wait_ready(60)
    (first,) = json.loads(pids.read_text())
    hang.touch()
    until(lambda: "unresponsive" in one.states)
    hang.unlink()
    until(lambda: one.states.count("ready") == 2)
    assert gone(first)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphan_whatever_ends_the_owner(tmp_path: Path, end: signal.Signals) -> None:
    pids, told = tmp_path / "pids", command("--child", "--stubborn", "--pids", str(tmp_path / "pids"))
    owner = textwrap.dedent(f"""
        import time
        from dougong.engines.log import EngineLog
        from dougong.engines.port import LaunchCommand
        from dougong.engines.process import EngineProcess
        EngineProcess(LaunchCommand(argv={told.argv!r}, base_url="", health_path=""), EngineLog(), grace_s=0.2)
        print("launched", flush=True)
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"launched\n"
    until(lambda: pids.exists() and pids.read_text())
    children = json.loads(pids.read_text())
    assert not any(gone(pid) for pid in children)
    process.send_signal(end)
    process.wait()
    until(lambda: all(gone(pid) for pid in children))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_the_engine_dies_with_its_guard(launch, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    one = launch("--pids", str(pids))
    one.supervisor.wait_ready(60)
    (engine,) = json.loads(pids.read_text())
    assert one.supervisor.pid is not None
    os.kill(one.supervisor.pid, signal.SIGKILL)
    until(lambda: gone(engine))


def test_a_taken_port_is_told_with_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            EnvironmentLacking, match=f"127.0.0.1:{port} cannot be served on: Address already"
        ):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(EnvironmentLacking, match="cannot be served on") as caught:
        check_port("192.0.2.1", 8000)
    assert "--host" in (caught.value.hint or "")


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dougong.engines.log.FILE_BYTES", 2000)
    log = EngineLog(tmp_path / "engine.log")
    for number in range(500):
        log.add(f"\x1b[31mline {number}\x00\n".encode())
    assert log.tail(1) == ("[31mline 499",)
    assert len(log.tail(10_000)) == 200
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
