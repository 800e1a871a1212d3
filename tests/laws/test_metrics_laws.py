"""What holds of every run."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from dougong.metrics import (
    RequestRecord,
    header_line,
    itl_s,
    quantile,
    read_run,
    steady_window,
    summarise,
    tpot_s,
    write_run,
)

TICK = st.integers(0, 2_000_000).map(lambda n: n / 1000)


@st.composite
def requests(draw):
    at, late, wait = draw(TICK), draw(TICK), draw(TICK)
    gaps = draw(st.lists(st.integers(0, 900).map(lambda n: n / 1000), max_size=12))
    first = at + late + wait
    times = [first]
    for gap in gaps:
        times.append(times[-1] + gap)
    status = draw(st.sampled_from(["ok", "ok", "ok", "error", "cancelled"]))
    return RequestRecord(
        id=str(draw(st.integers(0, 10**9))), arrival_s=at, sent_s=at + late, first_token_s=first,
        last_token_s=times[-1], token_s=tuple(times), end_s=times[-1] + draw(TICK), status=status,
        prompt_tokens=draw(st.integers(1, 10**6)), output_tokens=len(times),
    )  # fmt: skip


runs = st.lists(requests(), min_size=1, max_size=25)


@given(runs)
def test_a_window_lies_in_its_run_and_never_cuts_a_request_in_two(records):
    window = steady_window(records)
    assert min(r.arrival_s for r in records) <= window.start_s <= window.end_s
    assert window.end_s <= max(r.end_s for r in records)
    found = summarise(records)
    assert found.counted == sum(window.holds(r.arrival_s) for r in records)
    assert sum(found.by_status.values()) == len(records)


@given(runs)
def test_order_does_not_matter_and_tokens_are_not_made(records):
    found, turned = summarise(records), summarise(records[::-1])
    assert found.window == turned.window
    assert found.counted == turned.counted
    if found.output_tokens_per_s is not None:
        total = found.output_tokens_per_s.value * found.window.seconds
        assert total <= sum(r.output_tokens for r in records) * (1 + 1e-9)


@given(runs, st.floats(0.01, 100), st.floats(1, 10))
def test_a_looser_limit_never_meets_less(records, limit, factor):
    tight = summarise(records, ttft_limit_s=limit, tpot_limit_s=limit)
    loose = summarise(records, ttft_limit_s=limit * factor, tpot_limit_s=limit * factor)
    assert loose.met_frac.value >= tight.met_frac.value


@given(requests())
def test_tpot_is_the_mean_gap(record):
    gaps = itl_s(record)
    if gaps:
        assert math.isclose(tpot_s(record), sum(gaps) / len(gaps), rel_tol=1e-6, abs_tol=1e-9)
    else:
        assert tpot_s(record) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_its_interval(values, q):
    found = quantile(values, q)
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.value <= found.high


@settings(max_examples=30)
@given(runs)
def test_a_file_gives_back_its_records(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    write_run(path, records, header=header_line(started_unix_s=0.0, by="test"))
    back = read_run(path).requests
    assert [r.id for r in back] == [r.id for r in records]
    for one, other in zip(records, back, strict=True):
        assert math.isclose(one.end_s, other.end_s, abs_tol=1e-6)
        assert len(one.token_s) == len(other.token_s)
