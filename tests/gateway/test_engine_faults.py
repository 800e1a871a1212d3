"""Engines that die, hang, stutter and refuse: no request is lost without an error."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import threading
import time
from collections import Counter
from typing import Any

from dougong.gateway import Replica
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import CHAT, Reply, Served, chat, http_post
from waiting import until


def last_error(reply: Reply) -> dict[str, Any]:
    """The error event that ends a stream."""
    assert reply.events[-1] != "[DONE]"
    return json.loads(reply.events[-1])["error"]


def statuses(served: Served) -> Counter[str]:
    text = served.ask("/metrics").body.decode()
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("dougong_requests_total"):
            found = re.search(r'[{,]status="(\w+)"', line)
            assert found is not None
            counts[found[1]] += int(float(line.rsplit(" ", 1)[1]))
    return counts


def test_engine_killed_in_the_middle_of_a_stream_is_told_in_the_stream() -> None:
    with FakeEngine(die_after_events=5, itl_s=0.005) as engine, Served(engine.url) as served:
        reply = served.chat(stream=True, max_tokens=100)
        assert reply.status == 200
        assert len(reply.events) == 6
        assert last_error(reply)["code"] == "engine_broke_off"
        until(lambda: statuses(served)["error"] == 1)
        until(lambda: served.ask("/health").status == 503)
        assert engine.process.wait(60) == -9


def test_engine_killed_before_its_first_byte_is_an_error_of_its_own_status() -> None:
    with FakeEngine(die_after_events=0) as engine, Served(engine.url) as served:
        reply = served.chat(max_tokens=1)
        assert reply.status == 502
        assert reply.error["type"] == "engine_error"


def test_a_connection_dropped_within_an_event_leaves_no_half_event(
    engine: FakeEngine, served: Served
) -> None:
    reply = served.chat(stream=True, max_tokens=9, fake={"drop_after_events": 4, "itl_s": 0.002})
    assert len(reply.events) == 5
    for event in reply.events:
        json.loads(event)
    assert last_error(reply)["type"] == "engine_error"


def test_engine_hung_before_and_within_an_answer(engine: FakeEngine) -> None:
    with Served(engine.url, first_byte_timeout_s=0.4, stall_timeout_s=0.4) as served:
        before = served.chat(max_tokens=1, fake={"hang_after_events": 0})
        assert before.status == 504
        assert before.error["type"] == "timeout_error"
        within = served.chat(stream=True, max_tokens=9, fake={"hang_after_events": 3, "itl_s": 0.002})
        assert last_error(within)["type"] == "timeout_error"
        until(lambda: statuses(served)["timeout"] == 2)
        until(lambda: engine.stats()["active"] == 0)


def test_a_request_has_its_time_before_the_first_byte_and_within_the_answer(engine: FakeEngine) -> None:
    with Served(engine.url, request_timeout_s=0.6) as served:
        within = served.chat(stream=True, max_tokens=1000, fake={"itl_s": 0.02})
        assert 5 < len(within.events) < 100
        assert last_error(within)["code"] == "request_timeout"
        before = served.chat(max_tokens=1, fake={"hang_after_events": 0})
        assert (before.status, before.error["code"]) == (504, "request_timeout")
        until(lambda: statuses(served)["timeout"] == 2)
        until(lambda: engine.stats()["active"] == 0)
        (member,) = served.gateway.pool.members
        assert (member.in_flight, member.failures) == (0, 0), "a long answer is no fault of the replica's"
        assert served.chat(max_tokens=1).status == 200


def test_a_request_has_its_time_in_the_queue() -> None:
    replica = Replica(url="http://127.0.0.1:9", models=("fake",))
    with Served(replica, wait=False, queue_timeout_s=20.0, request_timeout_s=0.4) as served:
        reply = served.chat(max_tokens=1)
        assert (reply.status, reply.error["code"]) == (504, "request_timeout")
        assert served.gateway.pool.waiting == 0
        assert statuses(served)["timeout"] == 1


def test_engine_slow_to_start_gets_the_requests_that_waited() -> None:
    with FakeEngine(starting_s=1.0) as engine, Served(engine.url, wait=False) as served:
        assert served.ask("/health").status == 503
        began = time.monotonic()
        reply = served.chat(model=None, max_tokens=1)
        # Nobody knows what it serves until it is up.
        assert reply.status in (400, 404)
        until(lambda: served.ask("/health").status == 200)
        assert time.monotonic() - began > 0.5
        assert served.chat(max_tokens=1).status == 200


def test_requests_for_a_named_model_wait_until_the_engine_is_up() -> None:
    with FakeEngine(starting_s=0.8) as engine:
        replica = Replica(url=engine.url, models=("fake",))
        with Served(replica, wait=False) as served:
            assert served.chat(max_tokens=1).status == 200
            assert engine.stats()["requests"] == 1


def test_an_engine_that_stays_away_is_told_with_a_time_to_come_again() -> None:
    replica = Replica(url="http://127.0.0.1:9", models=("fake",))
    with Served(replica, wait=False, queue_timeout_s=0.3) as served:
        reply = served.chat(max_tokens=1)
        assert (reply.status, reply.error["code"]) == (503, "no_replica")
        assert int(reply.headers["retry-after"]) >= 1


def test_a_malformed_event_ends_the_stream_with_an_error(served: Served) -> None:
    reply = served.chat(stream=True, max_tokens=9, fake={"malform_after_events": 4, "itl_s": 0.002})
    assert b"this is no JSON" not in reply.body
    assert len(reply.events) == 5
    assert last_error(reply)["message"] == "an event's data is no JSON object"


def test_a_malformed_first_event_is_no_stream_at_all(served: Served) -> None:
    reply = served.chat(stream=True, max_tokens=9, fake={"malform_after_events": 0})
    assert (reply.status, reply.error["code"]) == (502, "engine_reply")


def test_an_engines_own_refusal_goes_through_in_openais_shape(engine: FakeEngine, served: Served) -> None:
    reply = served.chat(fake={"status": 422})
    assert reply.status == 422
    assert reply.error["message"] == "the fake engine was told to answer 422"
    busy = served.chat(fake={"status": 429, "retry_after_s": 7})
    assert (busy.status, busy.headers["retry-after"]) == (429, "7")
    assert served.chat(fake={"status": 500}).status == 500


def test_the_engines_key_is_the_operators_matter() -> None:
    with FakeEngine(key="right") as engine:
        with Served(Replica(url=engine.url, key="right")) as served:
            assert served.chat(max_tokens=1, key="whatever").status == 200
        with Served(Replica(url=engine.url, key="wrong", models=("fake",))) as served:
            assert served.chat(max_tokens=1).status == 502


def test_another_replica_takes_over_before_the_first_byte(engine: FakeEngine) -> None:
    with FakeEngine(status=503) as bad, Served(Replica(url=bad.url, ttft_s=1e-6), engine.url) as served:
        for _ in range(20):
            assert served.chat(max_tokens=1).status == 200
        # After three failures in a row the bad one is left out for a while.
        assert bad.stats()["requests"] < 20
        assert served.gateway.pool.members[0].ejected
        assert "dougong_retries_total" in served.ask("/metrics").body.decode()


def test_requests_leave_a_hung_engine_when_its_health_check_fails(engine: FakeEngine) -> None:
    with FakeEngine() as hung, Served(Replica(url=hung.url, ttft_s=1e-6), engine.url) as served:
        answered: list[Reply] = []
        thread = threading.Thread(target=lambda: answered.append(served.chat(fake={"ttft_s": 1.5})))
        thread.start()
        until(lambda: hung.stats()["active"] == 1)
        hung.process.send_signal(
            signal.SIGSTOP
        )  # it keeps its connections and says nothing, not even its health
        thread.join(60)
        assert answered[0].status == 200
        assert engine.stats()["active"] == 0


def test_what_broke_two_engines_is_kept_from_the_third() -> None:
    with contextlib.ExitStack() as stack:
        engines = [stack.enter_context(FakeEngine()) for _ in range(3)]
        served = stack.enter_context(Served(*(one.url for one in engines)))
        assert served.chat(fake={"die_after_events": 0}).status == 502
        until(lambda: [one.process.poll() for one in engines].count(None) == 1)
        until(lambda: served.chat(max_tokens=1).status == 200)


def test_a_request_that_breaks_every_replica_leaves_none_out(engine: FakeEngine) -> None:
    with Served(engine.url, Replica(url=engine.url, name="again")) as served:
        for _ in range(5):
            assert served.chat(fake={"status": 500}).status == 500
        assert all(member.ejected == 0 for member in served.gateway.pool.members)


def test_no_replica_takes_over_after_the_first_byte(engine: FakeEngine) -> None:
    with Served(engine.url, Replica(url=engine.url, name="again")) as served:
        before = engine.stats()["requests"]
        reply = served.chat(stream=True, max_tokens=9, fake={"drop_after_events": 2})
        last_error(reply)
        assert engine.stats()["requests"] == before + 1


def test_attempts_are_bounded(engine: FakeEngine) -> None:
    replicas = [Replica(url=engine.url, name=f"r{i}") for i in range(5)]
    with Served(*replicas, max_attempts=3) as served:
        before = engine.stats()["requests"]
        assert served.chat(fake={"status": 503}).status == 503
        assert engine.stats()["requests"] == before + 3


def test_one_of_two_replicas_dies_under_load_and_every_request_is_answered(engine: FakeEngine) -> None:
    results: Counter[str] = Counter()
    lock = threading.Lock()

    def client() -> None:
        for _ in range(8):
            reply = served.chat(stream=True, max_tokens=20)
            assert reply.status == 200
            ended = "ok" if reply.events[-1] == "[DONE]" else "told"
            if ended == "told":
                last_error(reply)
            with lock:
                results[ended] += 1

    engine.script(itl_s=0.01)
    with FakeEngine(itl_s=0.01) as dying, Served(engine.url, dying.url) as served:
        threads = [threading.Thread(target=client) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        dying.script(die_after_events=10, itl_s=0.01)  # from the next stream on; it takes all others with it
        assert dying.process.wait(60) == -9
        for thread in threads:
            thread.join(60)
        assert sum(results.values()) == 16 * 8
        assert 0 < results["told"] <= 16
        until(lambda: statuses(served) == {"ok": results["ok"], "error": results["told"]})
        assert engine.stats()["active"] == 0


def test_a_client_that_leaves_frees_the_engine_at_once(engine: FakeEngine, served: Served) -> None:
    for stream in (True, False):
        before = engine.stats()["cancelled"]
        body = chat(stream=stream, max_tokens=1000, fake={"itl_s": 0.01, "ttft_s": 0.0 if stream else 30.0})
        connection = served.raw(http_post(CHAT, body))
        until(lambda: engine.stats()["active"] == 1)
        connection.close()
        until(lambda n=before: engine.stats()["cancelled"] == n + 1)
        until(lambda: not served.gateway.calls)
    until(lambda: statuses(served)["cancelled"] == 2)


def test_a_client_that_leaves_the_queue_is_not_sent_on(engine: FakeEngine) -> None:
    with Served(Replica(url=engine.url, max_concurrent=1)) as served:
        first = served.raw(http_post(CHAT, chat(fake={"ttft_s": 30.0})))
        until(lambda: engine.stats()["active"] == 1)
        before = engine.stats()["requests"]
        second = served.raw(http_post(CHAT, chat()))
        until(lambda: served.gateway.pool.waiting == 1)
        second.close()
        until(lambda: served.gateway.pool.waiting == 0)
        first.close()
        until(lambda: engine.stats()["active"] == 0)
        assert engine.stats()["requests"] == before


def test_a_client_that_does_not_read_is_left(engine: FakeEngine) -> None:
    with Served(engine.url, stall_timeout_s=0.5) as served:
        connection = served.raw(http_post(CHAT, chat(stream=True, max_tokens=400_000)))
        until(lambda: engine.stats()["active"] == 1)
        until(lambda: engine.stats()["active"] == 0)
        assert engine.stats()["cancelled"] >= 1
        connection.close()


def test_a_kept_connection_that_the_engine_closed_is_no_failure() -> None:
    with FakeEngine() as engine, Served(engine.url, health_every_s=60.0) as served:
        assert served.chat(max_tokens=1).status == 200
        port = int(engine.url.rsplit(":", 1)[1])
        engine.close()
        with FakeEngine(port=port):  # the same place, none of the old connections
            assert served.chat(max_tokens=1).status == 200


def test_a_stop_lets_answers_end_and_tells_those_it_cuts_off(engine: FakeEngine) -> None:
    replies: dict[str, Reply] = {}

    def ask(name: str, tokens: int) -> None:
        with contextlib.suppress(http.client.HTTPException, OSError):
            replies[name] = served.chat(stream=True, max_tokens=tokens, fake={"itl_s": 0.02})

    with Served(engine.url, drain_s=1.0) as served:
        threads = [threading.Thread(target=ask, args=work) for work in (("short", 20), ("long", 1000))]
        for thread in threads:
            thread.start()
        until(lambda: engine.stats()["active"] == 2)
    for thread in threads:
        thread.join(60)
    assert replies["short"].events[-1] == "[DONE]"
    assert last_error(replies["long"])["message"] == "the gateway is being stopped"
    until(lambda: engine.stats()["active"] == 0)
