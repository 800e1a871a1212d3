"""Real runs over HTTP: what is sent, what is written down, what is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("aiohttp")

import itertools

from dougong.errors import EngineError, InputError, UnknownId
from dougong.measure.endpoint import base_url
from dougong.measure.load import Load, Shape
from dougong.measure.run import Overhead, kept_up, measure
from dougong.metrics import e2e_s, read_run, summarise, ttft_s, write_run


def users(count=2, requests=6, prompt=40, output=8, **more):
    return Load(shapes=(Shape(prompt, output),), users=count, requests=requests, **more)


def test_a_closed_loop_sends_what_was_asked(stub):
    run = measure(stub.url, users(requests=7, prompt=50))
    assert [record.status for record in run.records] == ["ok"] * 7
    assert {record.output_tokens for record in run.records} == {8}
    # The template's three tokens are found out and taken off the words.
    assert {record.prompt_tokens for record in run.records} == {50}
    sent = [body for body in stub.bodies if body["max_tokens"] == 8][-7:]
    assert len({body["messages"][0]["content"] for body in sent}) == 7, "prompts must not share a cache"
    assert all(body["ignore_eos"] and body["min_tokens"] == 8 for body in sent)
    assert run.overhead.peak_in_flight == 2


def test_a_seed_sends_the_same_bytes(stub):
    texts = []
    for seed in (1, 1, 2):
        stub.bodies.clear()
        measure(stub.url, users(count=1, requests=3, seed=seed))
        texts.append([body["messages"][0]["content"] for body in stub.bodies[-3:]])
    assert texts[0] == texts[1] != texts[2]


def test_an_open_loop_does_not_wait_for_answers(stub):
    # Each answer takes 0.4 s; twenty are due within 0.2 s. A client that waited would need 8 s for one at a time.
    stub.first_s = 0.4
    load = Load(shapes=(Shape(40, 2),), rate_requests_per_s=100, arrivals="constant", requests=20)
    run = measure(stub.url, load)
    assert [r.arrival_s for r in run.records] == pytest.approx([n / 100 for n in range(20)])
    assert max(r.sent_s - r.arrival_s for r in run.records) < 0.2
    assert max(r.end_s for r in run.records) < 1.5
    assert min(ttft_s(r) for r in run.records) >= 0.4


def test_poisson_arrivals_have_the_rate_and_the_spread_they_should():
    load = Load(shapes=(Shape(1, 1),), rate_requests_per_s=50, requests=20_000, seed=3)
    times = [due.at_s for due in load.due()]
    gaps = [end - start for start, end in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 50, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.03)  # an exponential's deviation is its mean


def test_a_trace_is_sent_at_its_own_times_with_its_prefixes(stub):
    shapes = (Shape(600, 2, (7,)), Shape(600, 3, (7,)), Shape(600, 4, (8,)))
    load = Load(shapes=shapes, arrivals="trace", times_s=(0.0, 0.05, 0.3))
    run = measure(stub.url, load)
    assert [r.arrival_s for r in run.records] == [0.0, 0.05, 0.3]
    assert [r.output_tokens for r in run.records] == [2, 3, 4]
    one, two, three = (body["messages"][0]["content"].split() for body in stub.bodies[-3:])
    assert one[:512] == two[:512] != three[:512]
    assert one[512:] != two[512:]


@pytest.mark.parametrize(
    ("counts", "per_piece", "how"),
    [
        ("usage", 1, "one token per piece, as the total says"),
        ("continuous", 3, "counts in the stream"),
        ("ids", 3, "counts in the stream"),
        ("usage", 3, "the total alone"),
        ("nothing", 1, "nobody"),
    ],
)
def test_tokens_are_counted_and_never_guessed(stub, counts, per_piece, how):
    stub.counts, stub.per_piece = counts, per_piece
    run = measure(stub.url, users())
    assert dict(run.counted_by) == {how: 6}
    for record in run.records:
        assert record.output_tokens == (None if how == "nobody" else 8)
        known = how in ("counts in the stream", "one token per piece, as the total says")
        assert len(record.token_s) == (8 if known else 0)
        assert ttft_s(record) is not None
    assert any("how many tokens" in note for note in run.notes) == (how == "nobody")


def test_the_counts_of_llama_cpp_are_used(stub):
    stub.server, stub.counts, stub.per_piece = "llamacpp", "timings", 2
    run = measure(stub.url, users())
    assert dict(run.counted_by) == {"counts in the stream": 6}
    assert all(body["timings_per_token"] for body in stub.bodies)


def test_what_a_server_refuses_is_left_out_and_told(stub):
    stub.refuses = {"ignore_eos", "min_tokens", "continuous_usage_stats"}
    run = measure(stub.url, users())
    assert run.endpoint.dialect == "counts"
    assert any("refuses ignore_eos" in note for note in run.notes)
    assert all("ignore_eos" not in body for body in stub.bodies[-6:])


def test_a_server_that_stops_early_is_told(stub):
    stub.stops_after = 5
    run = measure(stub.url, users())
    assert not run.endpoint.full_length
    assert {record.output_tokens for record in run.records} == {5}


def test_an_answer_in_one_piece_has_an_end_and_no_first_token(stub):
    stub.streams = False
    run = measure(stub.url, users())
    assert all(record.status == "ok" and record.first_token_s is None for record in run.records)
    assert all(record.output_tokens == 8 and e2e_s(record) > 0 for record in run.records)


@pytest.mark.parametrize(
    ("fault", "value", "status", "words"),
    [
        ("break_after", 2, "error", "connection|broke off"),
        ("error_after", 2, "error", "stream: out of memory"),
        ("status", 500, "error", "HTTP 500: as told"),
        ("status", 429, "shed", "HTTP 429"),
        ("status", 503, "shed", "HTTP 503"),
        ("first_s", 5.0, "timeout", "no end within 0.3 s"),
    ],
)
def test_a_fault_is_a_record_with_its_words(stub, fault, value, status, words):
    import re

    def spoil(*_):
        setattr(stub, fault, value)

    run = measure(stub.url, users(requests=4), timeout_s=0.3, on_met=spoil)
    assert [record.status for record in run.records] == [status] * 4
    assert all(re.search(words, record.error) for record in run.records)
    assert summarise(run.records).by_status == {status: 4}


def test_an_interrupt_keeps_what_has_ended(stub, tmp_path):
    stub.gap_s = 0.02
    out = tmp_path / "run.jsonl"
    command = [sys.executable, "-m", "dougong", "measure", stub.url, "--users", "3", "--output", "30"]
    process = subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60.0
    while len(stub.bodies) < 15 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    answer, words = process.communicate(timeout=60)
    assert process.returncode == 0, words
    assert "stopped before its end" in answer
    statuses = [record.status for record in read_run(out).requests]
    assert statuses.count("ok") >= 1
    assert 1 <= statuses.count("cancelled") <= 3


def test_a_run_gives_back_its_file(stub, tmp_path):
    stub.key = "secret-key-7"
    run = measure(stub.url, users(), api_key="secret-key-7")
    path = tmp_path / "run.jsonl"
    write_run(path, run.records, header=run.header())
    assert "secret-key-7" not in path.read_text(encoding="utf-8")
    back = read_run(path)
    assert len(back.requests) == 6
    assert back.header["model"] == "tiny"
    assert back.header["load"]["users"] == 2


def test_who_does_not_answer_is_told(stub):
    with pytest.raises(EngineError, match="does not answer"):
        measure("http://127.0.0.1:9", users())
    stub.key = "k"
    with pytest.raises(EngineError, match="wants a key"):
        measure(stub.url, users())
    stub.key, stub.status = None, 500
    with pytest.raises(EngineError, match="plainest request: HTTP 500"):
        measure(stub.url, users())


def test_the_model_must_be_one_that_is_served(stub):
    with pytest.raises(UnknownId, match="no model of the endpoint"):
        measure(stub.url, users(), model="other")
    stub.models = ["one", "two"]
    with pytest.raises(InputError, match="2 models"):
        measure(stub.url, users())
    stub.models = []
    with pytest.raises(InputError, match="lists no model"):
        measure(stub.url, users())
    assert measure(stub.url, users(), model="any").endpoint.model == "any"


@pytest.mark.parametrize(
    "words",
    [
        "127.0.0.1:8000",
        "http://127.0.0.1:8000/",
        "http://127.0.0.1:8000/v1",
        "http://127.0.0.1:8000/v1/chat/completions",
    ],
)
def test_an_address_is_read_as_people_write_it(words):
    assert base_url(words) == "http://127.0.0.1:8000"


@pytest.mark.parametrize("words", ["ftp://a", "http://", "http://u:p@a", "http://a:99999999"])
def test_what_is_no_address_is_refused(words):
    with pytest.raises(InputError):
        base_url(words)


def test_a_client_that_was_late_says_so():
    good = {
        "cpu_frac": 0.2, "beat_p50_s": 0.0001, "beat_p99_s": 0.001, "send_lag_p50_s": 0.0,
        "send_lag_p99_s": 0.001, "peak_in_flight": 3, "pieces": 9,
    }  # fmt: skip
    assert kept_up(Overhead(**good), 0.05) == ""
    assert "40 ms late" in kept_up(Overhead(**{**good, "send_lag_p99_s": 0.04}), 0.1)
    assert kept_up(Overhead(**{**good, "send_lag_p99_s": 0.04}), 2.0) == ""
    assert "clock ran" in kept_up(Overhead(**{**good, "beat_p99_s": 0.04}), 0.1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shapes": ()}, "lengths"),
        ({"users": 1, "rate_requests_per_s": 1.0}, "a rate or the times"),
        ({}, "ends after"),
        ({"arrivals": "trace"}, "one time per request"),
    ],
)
def test_a_load_that_contradicts_itself_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Load(
            **{
                "shapes": (Shape(1, 1),),
                **({} if "arrivals" in wrong or "users" in wrong else {"users": 1}),
                **wrong,
            }
        )
