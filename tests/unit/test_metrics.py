"""Records, latencies, windows and files of runs."""

import gzip
import json
import math

import numpy as np
import pytest

from dougong.errors import InputError
from dougong.metrics import (
    RequestRecord,
    StepRecord,
    e2e_s,
    header_line,
    itl_s,
    mean,
    meets,
    proportion,
    quantile,
    read_run,
    record_line,
    send_lag_s,
    steady_window,
    summarise,
    tpot_s,
    ttft_s,
    write_run,
)
from dougong.metrics import files as run_files

HEADER = header_line(started_unix_s=1.5, by="test", model="m")


def request(at=0.0, *, id="0", ttft=1.0, gap=0.1, tokens=5, late=0.0, **more):
    first = at + ttft
    times = tuple(first + gap * n for n in range(tokens))
    return RequestRecord(
        id=id, arrival_s=at, sent_s=at + late, first_token_s=first, last_token_s=times[-1], token_s=times,
        end_s=times[-1], prompt_tokens=100, output_tokens=tokens, **more,
    )  # fmt: skip


def test_latencies_count_from_when_the_request_was_due():
    one = request(at=2.0, late=0.7)
    assert ttft_s(one) == pytest.approx(1.0)
    assert send_lag_s(one) == pytest.approx(0.7)
    assert tpot_s(one) == pytest.approx(0.1)
    assert itl_s(one) == pytest.approx([0.1] * 4)
    assert e2e_s(one) == pytest.approx(1.4)


def test_tokens_that_come_together_have_gaps_of_zero_and_the_same_mean():
    one = RequestRecord(
        id="a", arrival_s=0, first_token_s=1, last_token_s=2, token_s=(1, 1, 2, 2), end_s=2, output_tokens=4
    )
    assert itl_s(one) == (0, 1, 0)
    assert tpot_s(one) == pytest.approx(1 / 3)


def test_what_nobody_saw_is_none():
    one = RequestRecord(id="a", arrival_s=0, end_s=3, output_tokens=7)
    assert ttft_s(one) is None
    assert tpot_s(one) is None
    assert itl_s(one) == ()
    assert send_lag_s(one) is None


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({}, True),
        ({"ttft_limit_s": 1.0}, True),
        ({"ttft_limit_s": 0.99}, False),
        ({"tpot_limit_s": 0.2}, True),
        ({"tpot_limit_s": 0.09}, False),
        ({"ttft_limit_s": 2, "tpot_limit_s": 0.09}, False),
    ],
)
def test_limits(limits, met):
    one = request()
    assert meets(one, **limits) is met
    failed = RequestRecord(id="b", arrival_s=0, end_s=1, status="error", error="500")
    assert not meets(failed, **limits)


def test_one_token_has_no_tpot_and_meets_its_limit():
    assert meets(request(tokens=1), tpot_limit_s=1e-9)
    unknown = RequestRecord(id="a", arrival_s=0, first_token_s=1, last_token_s=2, end_s=2)
    assert not meets(unknown, tpot_limit_s=10)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"end_s": -1.0, "sent_s": 0.0}, "end_s .* is before sent_s"),
        ({"first_token_s": 0.5}, "go together"),
        ({"first_token_s": 0.9, "last_token_s": 0.5}, "last_token_s .* is before first_token_s"),
        ({"arrival_s": math.nan}, "no time"),
        ({"status": "good"}, "none of ok"),
        ({"output_tokens": -1}, "less than nothing"),
        (
            {"token_s": (0.1, 0.2), "first_token_s": 0.1, "last_token_s": 0.2, "output_tokens": 3},
            "2 times for 3",
        ),
        (
            {"token_s": (0.1, 0.2), "first_token_s": 0.1, "last_token_s": 0.3, "output_tokens": 2},
            "must run from",
        ),
        (
            {"token_s": (0.1, 0.3, 0.2), "first_token_s": 0.1, "last_token_s": 0.2, "output_tokens": 3},
            "backwards",
        ),
    ],
)
def test_a_record_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        RequestRecord(**{"id": "x", "arrival_s": 0.0, "end_s": 1.0, **wrong})


def test_a_step_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="begins at"):
        StepRecord(start_s=2, end_s=1, prefill_tokens=0, decode_requests=1)
    with pytest.raises(InputError, match="decode_requests is -1"):
        StepRecord(start_s=1, end_s=2, prefill_tokens=0, decode_requests=-1)


def test_quantiles_are_those_of_numpy():
    values = np.random.default_rng(1).exponential(1.0, 313)
    for q in (0.01, 0.5, 0.9, 0.99):
        assert quantile(values.tolist(), q).value == pytest.approx(np.quantile(values, q))


def test_a_quantile_has_no_end_that_the_sample_cannot_give():
    # No order statistic of 100 bounds the 99th percentile from above: the greatest is beyond it in 63 % of samples.
    assert quantile(list(range(100)), 0.99).high is None
    assert quantile(list(range(1000)), 0.99).high is not None
    assert quantile([1.0], 0.5).low is None
    assert quantile([], 0.5) is None


def test_the_interval_of_a_median_is_the_tables():
    # Hahn and Meeker, table A.15: a two-sided 95 % interval of the median of 50 is the 18th to the 33rd value.
    found = quantile(list(range(1, 51)), 0.5)
    assert (found.low, found.high) == (18, 33)


def test_the_mean_has_students_interval():
    # t(0.975, 3) = 3.182; the standard error of 1, 2, 3, 4 is 0.6455.
    found = mean([1.0, 2.0, 3.0, 4.0])
    assert found.value == 2.5
    assert found.high - found.value == pytest.approx(3.182 * 0.6455, rel=2e-3)
    assert mean([3.0]).low is None
    assert mean([]) is None
    # t(0.975, 1) = 12.706, t(0.975, 2) = 4.303.
    assert mean([0.0, 2.0]).high == pytest.approx(1 + 12.706, rel=1e-3)
    assert mean([1.0, 2.0, 3.0]).high == pytest.approx(2 + 4.303 / math.sqrt(3), rel=1e-3)


def test_a_share_has_wilsons_interval():
    found = proportion(8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert proportion(0, 0) is None


def test_the_first_wave_and_the_drain_are_not_counted():
    # Two users, closed loop: each sends when its last answer is there; every answer takes 1.4 s.
    records = [request(at=1.4 * n + 0.1 * user, id=f"{user}-{n}") for n in range(5) for user in range(2)]
    window = steady_window(records)
    assert window.steady
    assert window.start_s == pytest.approx(1.5)  # the later first answer
    assert window.end_s == pytest.approx(5.7)  # the last request
    found = summarise(records)
    assert found.counted == 7
    assert found.in_flight == pytest.approx(2.0, abs=0.1)
    assert found.output_tokens_per_s.value == pytest.approx(2 * 5 / 1.4, rel=0.15)


def test_a_run_that_never_filled_says_so():
    records = [request(at=0.1 * n, id=str(n)) for n in range(5)]
    found = summarise(records)
    assert not found.window.steady
    assert "whole run" in found.window.rule
    assert found.counted == 5
    assert found.output_tokens_per_s.value == pytest.approx(25 / 1.8)
    assert found.output_tokens_per_s.low is None


def test_a_warm_up_of_ones_own():
    records = [request(at=1.0 * n, id=str(n)) for n in range(10)]
    window = steady_window(records, warmup_s=4)
    assert (window.start_s, window.end_s) == (4, 9)
    assert not steady_window(records, warmup_s=40).steady


def test_goodput_counts_failures_against_us():
    records = [request(at=1.0 * n, id=str(n), ttft=0.2 if n % 2 else 0.5, gap=0.01) for n in range(20)]
    records.append(
        RequestRecord(id="f", arrival_s=10.5, sent_s=10.5, end_s=10.6, status="shed", error="429 busy")
    )
    found = summarise(records, ttft_limit_s=0.3)
    met = sum(1 for r in records if found.window.holds(r.arrival_s) and meets(r, ttft_limit_s=0.3))
    assert found.met_frac.value == pytest.approx(met / found.counted)
    assert found.goodput_requests_per_s == pytest.approx(met / found.window.seconds)
    assert found.by_status == {"ok": 20, "shed": 1}
    assert found.errors == {"429 busy": 1}
    assert summarise(records).met_frac is None


def test_rates_are_unknown_where_the_engine_does_not_count():
    records = [
        RequestRecord(id=str(n), arrival_s=n, first_token_s=n + 0.1, last_token_s=n + 0.5, end_s=n + 0.5)
        for n in range(9)
    ]
    found = summarise(records)
    assert found.output_tokens_per_s is None
    assert found.prompt_tokens_per_s is None
    assert found.requests_per_s.value == pytest.approx(1, rel=0.2)
    assert found.tpot_s is None


def test_no_request_has_no_figures():
    with pytest.raises(InputError, match="without a request"):
        summarise([])


def test_a_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "run.jsonl"
    records = [
        request(at=0.5),
        RequestRecord(
            id="é", arrival_s=0.0, end_s=1.0, status="timeout", error="no reply in 1 s", replica="r1"
        ),
        StepRecord(start_s=0.0, end_s=0.25, prefill_tokens=512, decode_requests=3, context_tokens=99),
    ]
    write_run(path, records, header=HEADER)
    run = read_run(path)
    assert run.header["model"] == "m"
    assert run.requests == (RequestRecord(**_rounded(records[0])), records[1])
    assert run.steps == (records[2],)
    assert not run.cut_off
    packed = tmp_path / "run.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_run(packed).requests == run.requests


def _rounded(record):
    from dataclasses import asdict

    return {
        name: round(value, 6)
        if isinstance(value, float)
        else tuple(round(one, 6) for one in value)
        if isinstance(value, tuple)
        else value
        for name, value in asdict(record).items()
    }


def test_a_line_that_was_never_finished_is_dropped_and_told(tmp_path):
    path = tmp_path / "run.jsonl"
    line = record_line(request())
    path.write_text(HEADER + line + line[:40], encoding="utf-8")
    run = read_run(path)
    assert len(run.requests) == 1
    assert run.cut_off


def test_every_bad_line_is_named(tmp_path):
    path = tmp_path / "run.jsonl"
    good = record_line(request())
    bad = [
        "not json\n",
        "[1]\n",
        '{"record": "request", "id": "a"}\n',
        '{"record": "request", "id": "a", "arrival_s": 0, "end_s": NaN}\n',
        '{"record": "request", "id": "a", "arrival_s": 0, "end_s": 1, "ttft": 3}\n',
        '{"record": "request", "id": "a", "arrival_s": true, "end_s": 1}\n',
        '{"record": "request", "id": "a", "arrival_s": 2, "end_s": 1}\n',
        '{"record": "step", "start_s": 0, "end_s": 1, "prefill_tokens": 1.5, "decode_requests": 0}\n',
        '{"record": "other"}\n',
        "[" * 100_000 + "\n",
    ]
    path.write_text(HEADER + "".join(bad) + good, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_run(path)
    words = str(caught.value)
    assert "10 bad lines" in words
    for number in range(2, 12):
        assert f"line {number}:" in words
    for said in ("arrival_s, end_s are wanted", "NaN is no number", "'ttft' is no field", "too deep"):
        assert said in words


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("nonsense", "not JSON"),
        (json.dumps({"schema": 99, "record": "run"}) + "\n", "schema 99 is not read"),
        (record_line(StepRecord(start_s=0, end_s=1, prefill_tokens=0, decode_requests=0)), "header"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, content, said):
    path = tmp_path / "run.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_run(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_run(tmp_path / "absent.jsonl")


def test_a_file_beyond_measure_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    write_run(path, [request(id=str(n)) for n in range(50)], header=HEADER)
    monkeypatch.setattr(run_files, "MAX_LINES", 20)
    with pytest.raises(InputError, match="more than 20 lines"):
        read_run(path)
