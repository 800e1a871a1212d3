"""Who is asked, who waits, who is sent away, and when they are told to come again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from dougong.errors import InputError
from dougong.gateway import Replica, Settings
from dougong.gateway.pool import Member, Pool
from dougong.gateway.wire import Refusal
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import Served
from waiting import until

T = TypeVar("T")


def pool_of(*replicas: dict[str, Any], **settings: Any) -> Pool:
    made = [
        Replica(url=f"http://127.0.0.1:{i + 1}", models=("m",), **words) for i, words in enumerate(replicas)
    ]
    pool = Pool(Settings(**settings), made)
    for member in pool.members:
        member.healthy = True
    return pool


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def shares(pool: Pool, requests: int, max_tokens: int | None = None) -> list[int]:
    got = Counter([(await pool.acquire("m", max_tokens)).name for _ in range(requests)])
    return [got[member.name] for member in pool.members]


def test_the_plan_decides_before_anything_is_seen() -> None:
    pool = pool_of({"ttft_s": 0.1, "tpot_s": 0.01}, {"ttft_s": 0.4, "tpot_s": 0.04})
    assert run(shares(pool, 50)) == [40, 10]  # in proportion to their pace


def test_a_chip_that_serves_many_side_by_side_takes_more() -> None:
    pool = pool_of(*({"ttft_s": 0.1, "tpot_s": 0.01, "parallel": n, "max_concurrent": 99} for n in (8, 2)))
    many, few = run(shares(pool, 60))
    assert many > 3 * few


def test_long_answers_go_where_tokens_are_fast_and_short_ones_where_the_first_is() -> None:
    replicas = {"ttft_s": 0.05, "tpot_s": 0.05}, {"ttft_s": 0.5, "tpot_s": 0.01}
    assert run(shares(pool_of(*replicas), 1, max_tokens=2)) == [1, 0]
    assert run(shares(pool_of(*replicas), 1, max_tokens=200)) == [0, 1]


def test_what_is_seen_overrules_the_plan_and_fades() -> None:
    pool = pool_of({"ttft_s": 0.1, "tpot_s": 0.01}, {"ttft_s": 0.2, "tpot_s": 0.02})
    first = pool.members[0]
    for _ in range(50):
        first.observe(1000.0, ttft_s=2.0, tpot_s=0.2, hold_s=50.0)
    assert first.expected_s(1000.0, 100) == pytest.approx(22.0, rel=1e-3)
    assert first.expected_s(1060.0, 100) == pytest.approx((22.0 + 1.1) / 2, rel=1e-3)
    assert first.expected_s(2000.0, 100) == pytest.approx(1.1, rel=1e-3)


def test_one_that_nobody_knows_is_tried() -> None:
    pool = pool_of({"ttft_s": 0.1, "tpot_s": 0.01}, {})
    assert run(shares(pool, 10)) == [5, 5]


def test_three_failures_in_a_row_leave_one_out_for_longer_each_time() -> None:
    async def walk() -> None:
        pool = pool_of({}, {})
        bad, now_s = pool.members[0], time.monotonic()
        waits: list[float] = []
        for _ in range(6):
            assert not bad.fail(now_s)
            assert not bad.fail(now_s)
            assert bad.fail(now_s)
            waits.append(bad.ejected_until_s - now_s)
        assert waits == pytest.approx([5, 10, 20, 40, 60, 60])
        assert await shares(pool, 4) == [0, 4]
        pool.members[1].healthy = False
        assert (await pool.acquire("m", None)) is bad  # the last one is never left out

    run(walk())


def test_who_would_wait_too_long_is_told_when_to_come_again() -> None:
    async def walk() -> None:
        pool = pool_of({"max_concurrent": 2}, queue_timeout_s=10.0)
        pool.members[0].observe(
            0.0, ttft_s=None, tpot_s=None, hold_s=8.0
        )  # 2 places, 8 s each: 0.25 requests/s
        for _ in range(2):
            await pool.acquire("m", None)
        assert pool.predicted_wait_s("m") == pytest.approx(4.0)
        queued = [asyncio.ensure_future(pool.acquire("m", None)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as told:
            await pool.acquire("m", None)  # the third would wait for 12 s
        assert (told.value.status, told.value.retry_after_s) == (429, pytest.approx(2.0))
        for task in queued:
            task.cancel()
        await asyncio.gather(*queued, return_exceptions=True)

    run(walk())


def test_who_waits_is_served_in_order() -> None:
    async def walk() -> list[int]:
        pool, order = pool_of({"max_concurrent": 1}), []

        async def one(i: int) -> None:
            member: Member = await pool.acquire("m", None)
            order.append(i)
            await asyncio.sleep(0)
            pool.release(member)

        await asyncio.gather(*(one(i) for i in range(20)))
        return order

    assert run(walk()) == list(range(20))


def test_more_than_can_wait_are_shed_and_the_rest_answered(engine: FakeEngine) -> None:
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def ask() -> None:
        reply = served.chat(max_tokens=1)
        with lock:
            statuses[reply.status] += 1
            if reply.status == 429:
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.error["type"] == "rate_limit_error"

    engine.script(ttft_s=0.5)
    with Served(Replica(url=engine.url, max_concurrent=2), max_queue=3) as served:
        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        until(lambda: served.gateway.pool.waiting == 3)
        for thread in threads:
            thread.join()
    assert statuses == {200: 5, 429: 7}
    assert engine.stats()["active"] == 0


def test_a_request_that_waits_in_vain_is_told(engine: FakeEngine) -> None:
    with Served(Replica(url=engine.url, max_concurrent=1), queue_timeout_s=0.3) as served:
        slow = threading.Thread(target=served.chat, kwargs={"fake": {"ttft_s": 1.0}})
        slow.start()
        until(lambda: engine.stats()["active"] == 1)
        reply = served.chat(max_tokens=1)
        assert (reply.status, reply.error["code"]) == (429, "overloaded")
        slow.join()


def test_the_faster_of_two_engines_gets_more(engine: FakeEngine) -> None:
    engine.script(itl_s=0.001, ttft_s=0.005)
    with FakeEngine(itl_s=0.03, ttft_s=0.3) as slow:
        fast_before = engine.stats()["requests"]
        with Served(engine.url, slow.url) as served:

            def client() -> None:
                for _ in range(15):
                    assert served.chat(stream=True, max_tokens=10).status == 200

            threads = [threading.Thread(target=client) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert engine.stats()["requests"] - fast_before > slow.stats()["requests"] > 0


def test_an_engine_gets_its_batch_and_as_much_again() -> None:
    url = "http://127.0.0.1:1"
    assert Replica(url=url).places == 512
    assert Replica(url=url, parallel=4).places == 8
    assert Replica(url=url, parallel=4, max_concurrent=5).places == 5


@pytest.mark.parametrize(
    "words",
    [
        {"url": "ftp://x"},
        {"url": "nonsense"},
        {"url": "http://user:pw@x:1"},
        {"url": "http://x:1", "max_concurrent": 0},
        {"url": "http://x:1", "ttft_s": -1.0},
        {"url": "http://x:1", "key": "a\r\nb"},
    ],
)
def test_a_replica_that_cannot_be_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(InputError) as told:
        Replica(**words)
    assert "pw" not in told.value.message


def test_settings_tell_all_faults() -> None:
    with pytest.raises(InputError) as told:
        Settings(max_queue=-1, drain_s=0.0, max_body_bytes=0)
    for name in ("max_queue", "drain_s", "max_body_bytes"):
        assert name in told.value.message
