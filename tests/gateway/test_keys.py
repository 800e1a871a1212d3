"""Keys: made, kept, asked for, limited."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dougong.errors import InputError, UnknownId
from dougong.gateway import Replica, Settings, check_bind
from dougong.gateway.callers import TokenBucket
from dougong.gateway.keys import add_key, new_key, read_keys, remove_key
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import Served
from waiting import until


def test_a_file_holds_no_key_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "keys.toml"
    expires = datetime(2027, 1, 1, tzinfo=UTC)
    key = add_key(file, "alice", requests_per_s=5.0, burst=10, models=("a", "b"), expires=expires)
    secret = key.split("-", 2)[2]
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (entry,) = read_keys(file)
    assert entry.fits(key)
    assert not entry.fits(key[:-1] + "_")
    assert (entry.requests_per_s, entry.burst, entry.models, entry.expires) == (5.0, 10, ("a", "b"), expires)
    with pytest.raises(InputError, match="has a key called"):
        add_key(file, "alice")
    add_key(file, "bob")
    with pytest.raises(UnknownId):
        remove_key(file, "carol")
    remove_key(file, "alice")
    assert [entry.name for entry in read_keys(file)] == ["bob"]


def test_two_keys_of_one_name_share_nothing() -> None:
    (one, first), (two, second) = new_key("a"), new_key("a")
    assert one != two
    assert first.salt != second.salt
    assert not first.fits(two)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(
        'schema = 2\nextra = 1\n[[key]]\nname = "a"\nid = "xx"\nsalt = "1"\nrate = 3\n[[key]]\nname = 1\n'
    )
    with pytest.raises(InputError) as told:
        read_keys(file)
    for words in (
        "schema is 2",
        "unknown table 'extra'",
        "'rate'",
        "id is not 8 hex",
        "sha256 is missing",
        "name is no str",
    ):
        assert words in told.value.message


@pytest.mark.parametrize("limits", [{"requests_per_s": 0.0}, {"burst": 2}, {"max_concurrent": 0}])
def test_limits_that_are_none_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError):
        new_key("a", **limits)


def test_only_a_key_opens_the_door(tmp_path: Path, engine: FakeEngine) -> None:
    file = tmp_path / "keys.toml"
    key = add_key(file, "alice")
    ended = add_key(file, "old", expires=datetime(2020, 1, 1, tzinfo=UTC))
    with Served(engine.url, keys_file=file, keys=["spoken-key"]) as served:
        assert served.chat(max_tokens=1, key=key).status == 200
        assert served.chat(max_tokens=1, key="spoken-key").status == 200
        before = engine.stats()["requests"]
        wrong = [
            None,
            "",
            "x",
            key[:-1] + "~",
            key + "x",
            ended,
            key.upper(),
            "dg-00000000-" + "a" * 43,
            "ä" * 50,
        ]
        for one in wrong:
            reply = served.chat(key=one and one.encode().decode("latin-1"))
            assert reply.status == 401, one
            assert reply.headers["www-authenticate"] == "Bearer"
        for path in ("/v1/models", "/metrics"):
            assert served.ask(path).status == 401
            assert served.ask(path, key=key).status == 200
        assert served.ask("/health").json == {"status": "ok"}
        assert "replicas" in served.ask("/health", key=key).json
        assert engine.stats()["requests"] == before
        assert engine.stats()["last"]["headers"].get("authorization") is None
        text = served.ask("/metrics", key=key).body.decode()
        assert 'key="alice"' in text
        assert key not in text


def test_a_running_gateway_follows_the_file(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dougong.gateway.core._KEYS_EVERY_S", 0.05)
    file = tmp_path / "keys.toml"
    key = add_key(file, "alice")
    with Served(engine.url, keys_file=file) as served:
        second = add_key(file, "bob")
        until(lambda: served.chat(max_tokens=1, key=second).status == 200)
        remove_key(file, "alice")
        until(lambda: served.chat(max_tokens=1, key=key).status == 401)
        file.write_text("nonsense")  # the keys before it stay in force
        served.ask("/health")
        assert served.chat(max_tokens=1, key=second).status == 200


def test_a_key_has_its_pace_its_share_and_its_models(tmp_path: Path, engine: FakeEngine) -> None:
    file = tmp_path / "keys.toml"
    paced = add_key(file, "paced", requests_per_s=0.5, burst=2)
    shared = add_key(file, "shared", max_concurrent=1)
    bound = add_key(file, "bound", models=("other",))
    with Served(Replica(url=engine.url, models=("fake", "other")), keys_file=file) as served:
        replies = [served.chat(max_tokens=1, key=paced) for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert replies[2].error["code"] == "rate_limit_exceeded"
        assert 1 <= int(replies[2].headers["retry-after"]) <= 2
        slow = threading.Thread(target=served.chat, kwargs={"key": shared, "fake": {"ttft_s": 0.5}})
        slow.start()
        until(lambda: engine.stats()["active"] == 1)
        assert served.chat(key=shared).error["code"] == "concurrency_limit_exceeded"
        slow.join()
        assert served.chat(max_tokens=1, key=shared).status == 200
        assert served.chat(key=bound).status == 404
        assert served.chat(model="other", key=bound, max_tokens=1).status == 200
        assert [entry["id"] for entry in served.ask("/v1/models", key=bound).json["data"]] == ["other"]


def test_a_bucket_lets_its_rate_through_in_the_long_run() -> None:
    bucket, passed, now_s = TokenBucket(3.0, 5.0, 0.0), 0, 0.0
    while now_s < 100.0:
        if not bucket.take(now_s):
            passed += 1
        now_s += 0.01
    assert 300 <= passed <= 306  # 3/s for 100 s, and the 5 of the beginning


def test_binding_beyond_this_machine_needs_a_key_or_a_word() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.5.5.5"):
        check_bind(host, Settings())
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(InputError, match="can be reached from other machines"):
            check_bind(host, Settings())
        check_bind(host, Settings(keys=["spoken-key"]))
        check_bind(host, Settings(), allow_open=True)
