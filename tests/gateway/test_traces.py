"""What stays behind: records, usage, metrics, logs; and what must not: prompts and keys."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from dougong.errors import EnvironmentLacking, InputError
from dougong.gateway import Replica
from dougong.gateway.keys import add_key
from dougong.gateway.records import read_records, read_usage
from dougong.metrics import tpot_s, ttft_s
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import CHAT, Served, chat
from waiting import until

SECRET = "the-launch-code-is-0000"


def test_records_are_those_of_the_planner(tmp_path: Path, engine: FakeEngine) -> None:
    file = tmp_path / "records.sqlite"
    with Served(Replica(url=engine.url, name="one"), records=file) as served:
        paced = {"ttft_s": 0.1, "itl_s": 0.02}
        served.chat(stream=True, max_tokens=11, fake=paced)
        served.chat(max_tokens=3)
        served.chat(fake={"status": 422})
        served.chat(model="none")  # fills no disk
    _, records = read_records(file)
    stream, whole, refused = sorted(records, key=lambda record: record.arrival_s)
    assert (stream.status, stream.output_tokens, stream.replica) == ("ok", 11, "one")
    first, per_token = ttft_s(stream), tpot_s(stream)
    assert first is not None
    assert per_token is not None
    assert 0.1 <= first < 0.3
    assert 0.02 <= per_token < 0.05
    assert (whole.output_tokens, whole.first_token_s) == (3, None)
    assert (refused.status, refused.error) == ("error", "the engine answered 422")
    (row,) = read_usage(file)
    assert (row["model"], row["requests"], row["ok"], row["output_tokens"]) == ("fake", 3, 2, 14)


def test_each_start_is_a_run_of_its_own(tmp_path: Path, engine: FakeEngine) -> None:
    file = tmp_path / "records.sqlite"
    for tokens in (1, 2):
        with Served(engine.url, records=file) as served:
            served.ask(CHAT, chat(max_tokens=tokens), x_request_id="same")
            served.ask(CHAT, chat(max_tokens=tokens), x_request_id="same")
    started, records = read_records(file)
    assert [record.output_tokens for record in records] == [2, 2]
    assert len({record.id for record in records}) == 2
    assert started > read_records(file, 1)[0]
    with pytest.raises(InputError, match="no run 7"):
        read_records(file, 7)


def test_a_full_disk_loses_records_and_no_request(tmp_path: Path, engine: FakeEngine) -> None:
    log, file = tmp_path / "log.jsonl", tmp_path / "records.sqlite"
    with Served(engine.url, records=file, max_records_bytes=64 << 10, log=log) as served:
        while not served.gateway.records.lost:
            assert served.chat(max_tokens=1).status == 200
        assert served.chat(max_tokens=1).status == 200
        text = served.ask("/metrics").body.decode()
        assert "dougong_records_lost_total 0.0" not in text
    (told,) = [event for event in lines(log) if event["event"] == "records_lost"]
    assert "full" in told["error"]
    assert file.stat().st_size <= 64 << 10
    assert read_records(file)[1]


def test_files_that_cannot_be_are_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacking), Served(records=tmp_path / "no" / "folder.sqlite"):
        pass
    with pytest.raises(EnvironmentLacking), Served(log=tmp_path):
        pass
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(InputError, match="no file of records"), Served(records=tmp_path / "text"):
        pass


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_neither_prompt_nor_answer_nor_key_is_in_any_trace(tmp_path: Path) -> None:
    log, file, keys = tmp_path / "log.jsonl", tmp_path / "records.sqlite", tmp_path / "keys.toml"
    key, word, engine_key = add_key(keys, "alice"), SECRET + "-word", SECRET + "-engine"
    prompt = [{"role": "user", "content": SECRET}]
    with FakeEngine(key=engine_key, word=f" {SECRET}") as engine:
        replica = Replica(url=engine.url, key=engine_key)
        assert SECRET not in repr(replica)
        with Served(replica, keys_file=keys, keys=[word], log=log, records=file) as served:
            assert SECRET not in repr(served.settings)
            for one in (key, word, "wrong-" + SECRET, None):
                for more in (
                    {"stream": True},
                    {},
                    {"model": SECRET},
                    {"fake": {"status": 400}},
                    {"fake": {"status": 500}},
                    {"stream": True, "fake": {"drop_after_events": 3, "itl_s": 0.001}},
                    {"stream": True, "fake": {"malform_after_events": 1}},
                    {"stream": SECRET},
                ):
                    served.chat(key=one, **{"messages": prompt, **more})
                served.ask(CHAT, f'{{"messages": "{SECRET}'.encode(), key=one)
                served.ask(f"/v1/{SECRET}?key={SECRET}", key=one)
            text = served.ask("/metrics", key=key).body.decode()
    traces = [text, log.read_text()]
    with sqlite3.connect(file) as base:
        traces.append("\n".join(base.iterdump()))
    base.close()
    for trace in traces:
        assert SECRET not in trace
        assert key not in trace
        assert key.split("-", 2)[2] not in trace
    assert {event["event"] for event in lines(log)} >= {"start", "request", "replica_up", "stop"}


def test_metrics_count_what_happened(engine: FakeEngine, served: Served) -> None:
    for _ in range(3):
        served.chat(stream=True, max_tokens=5)
    served.chat(model="none")
    text = served.ask("/metrics").body.decode()
    assert 'dougong_output_tokens_total{key="",model="fake"} 15.0' in text
    assert 'dougong_ttft_seconds_count{model="fake"' in text
    assert 'http_status="404"' in text
    assert "dougong_replica_up{" in text


def test_a_replica_that_goes_and_comes_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with FakeEngine() as engine, Served(Replica(url=engine.url, name="one"), log=log) as served:
        engine.script(healthy=False)
        until(lambda: served.ask("/health").status == 503)
        engine.script(healthy=True)
        until(lambda: served.ask("/health").status == 200)
    told = [event["event"] for event in lines(log) if event.get("replica") == "one"]
    assert told == ["replica_up", "replica_down", "replica_up"]
