"""Reading request traces: hand-computed means, every known shape, and files that want to do harm."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dougong.errors import InputError
from dougong.workload import trace
from dougong.workload.trace import read_trace
from shared_data import shared_data

OURS = [
    {"arrival_s": 10.0, "prompt_tokens": 100, "output_tokens": 10},
    {"arrival_s": 11.0, "prompt_tokens": 300, "output_tokens": 30},
    {"arrival_s": 14.0, "prompt_tokens": 200, "output_tokens": 20},
]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "trace"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def lines(rows: list[dict[str, object]]) -> str:
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def test_our_own_rows(file: Callable[[str | bytes], Path]) -> None:
    workload = read_trace(file(lines(OURS)))
    assert workload.prompt_tokens == 200
    assert workload.output_tokens == 20
    assert workload.rate_requests_per_s == 2 / 4  # three arrivals bound two gaps, four seconds in all
    assert workload.prefix_hit_frac == 0
    assert workload.source == "trace"


def test_gzip_is_the_same(file: Callable[[str | bytes], Path]) -> None:
    plain = read_trace(file(lines(OURS)))
    assert read_trace(file(gzip.compress(lines(OURS).encode()))) == plain


def test_mooncake_prefix_reuse(file: Callable[[str | bytes], Path]) -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": 0, "input_length": 1024, "output_length": 8, "hash_ids": [1, 2]},  # nothing seen yet
        {
            "timestamp": 500,
            "input_length": 1100,
            "output_length": 8,
            "hash_ids": [1, 2, 3],
        },  # 2 blocks: 1,024
        {
            "timestamp": 1000,
            "input_length": 1024,
            "output_length": 8,
            "hash_ids": [1, 2],
        },  # all but the last token
        {
            "timestamp": 2000,
            "input_length": 600,
            "output_length": 8,
            "hash_ids": [9, 2],
        },  # a prefix is from the start
    ]
    workload = read_trace(file(lines(rows)))
    assert workload.prefix_hit_frac == (1024 + 1023) / (1024 + 1100 + 1024 + 600)
    assert workload.rate_requests_per_s == pytest.approx(3 / 2.0)


def test_azure_columns(file: Callable[[str | bytes], Path]) -> None:
    workload = read_trace(
        file(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
            "2023-11-16 18:17:03.9799600,4808,10\n"
            "2023-11-16 18:17:04.4799600,3180,8\n"
            "2023-11-16 18:17:05.9799600,12,0\n"
        )
    )
    assert workload.prompt_tokens == pytest.approx((4808 + 3180 + 12) / 3)
    assert workload.output_tokens == 6
    assert workload.rate_requests_per_s == pytest.approx(2 / 2)


def test_nanoseconds_and_bare_lengths(file: Callable[[str | bytes], Path]) -> None:
    rows: list[dict[str, object]] = [
        {"arrival_time_ns": 1_000_000_000, "input_toks": 10, "output_toks": 1},
        {"arrival_time_ns": 3_000_000_000, "input_toks": 30, "output_toks": 3},
    ]
    assert read_trace(file(lines(rows))).rate_requests_per_s == 0.5
    logged: list[dict[str, object]] = [  # of real runs: seconds since 1970, and times that are not asked for
        {"arrival_time": 1787267980.25, "input_toks": 10, "output_toks": 1, "queued_ts": 1.0},
        {"arrival_time": 1787267982.25, "input_toks": 30, "output_toks": 3, "queued_ts": 3.0},
    ]
    assert read_trace(file(lines(logged))).rate_requests_per_s == 0.5
    bare = read_trace(file("num_prefill_tokens,num_decode_tokens,pd_ratio\n10,2,5\n20,4,5\n"))
    assert (bare.prompt_tokens, bare.output_tokens, bare.rate_requests_per_s) == (15, 3, None)


def test_every_bad_row_is_told_with_its_line(file: Callable[[str | bytes], Path]) -> None:
    rows: list[dict[str, object]] = [
        *OURS,
        {"arrival_s": 15.0, "prompt_tokens": 0, "output_tokens": 1},
        {"arrival_s": float("nan"), "prompt_tokens": 5, "output_tokens": 1},
        {"arrival_s": 16.0, "prompt_tokens": 5, "output_tokens": -1},
        {"arrival_s": 16.0, "prompt_tokens": True, "output_tokens": 1},
        {"arrival_s": 16.0, "prompt_tokens": 1e400, "output_tokens": 1},
    ]
    with pytest.raises(InputError) as caught:
        read_trace(file(lines(rows) + "{]\n[1]\n"))
    text = str(caught.value)
    assert "7 bad rows" in text
    for number in range(4, 11):
        assert f"line {number}: " in text
    assert len(text) < 1500


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no known shape"),
        ("a,b\n1,2\n", "no known shape"),
        ('{"x": 1}\n', "no known shape"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "without a request"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "line 2: TIMESTAMP"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1\n", "line 2: GeneratedTokens"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"\x1f\x8bnot really gzip", "cannot be read"),
        (
            gzip.compress(b'{"arrival_s": 1, "prompt_tokens": 1, "output_tokens": 1}\n' * 999)[:-9],
            "cannot be read",
        ),
        ("[" * 200_000, "not CSV"),
        ('{"a":' * 200_000, "not JSON"),
    ],
)
def test_what_is_no_trace_is_told_in_words(
    file: Callable[[str | bytes], Path], content: str | bytes, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_trace(file(content))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_trace(tmp_path / "absent")
    with pytest.raises(InputError, match="directory"):
        read_trace(tmp_path)


def test_a_bomb_is_refused(file: Callable[[str | bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    packed = file(gzip.compress(lines(OURS).encode() * 20_000))
    assert packed.stat().st_size < 100_000
    monkeypatch.setattr(trace, "MAX_BYTES", 1 << 20)
    with pytest.raises(InputError, match="longer than 1 MiB unpacked"):
        read_trace(packed)
    monkeypatch.setattr(trace, "MAX_LINE_BYTES", 1 << 20)
    with pytest.raises(InputError, match="line 1: longer than 1 MiB"):
        read_trace(file(gzip.compress(b" " * (2 << 20))))


def test_a_trace_of_too_many_lines_is_refused(
    file: Callable[[str | bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MAX_ROWS", 100)
    for many in (lines(OURS[:1]) * 101, "\n" * 101):  # a line without a row costs time like any other
        with pytest.raises(InputError, match="line 101: more than 100 lines"):
            read_trace(file(many))
    assert read_trace(file(lines(OURS[:1]) * 100)).prompt_tokens == 100


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_trace_comes_through_a_pipe_and_an_idle_pipe_is_empty(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no known shape"):
        read_trace(pipe)
    reader, writer = os.pipe()
    try:
        os.write(writer, gzip.compress(lines(OURS).encode()))
        os.close(writer)
        assert read_trace(f"/dev/fd/{reader}").prompt_tokens == 200
    finally:
        os.close(reader)


@given(content=st.binary(max_size=300), seed=st.integers(0, 2**20))
def test_no_bytes_raise_anything_but_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    valid = bytearray(lines(OURS).encode())
    at = random.Random(seed).randrange(len(valid))
    for blob in (content, bytes(valid[:at]) + content + bytes(valid[at:])):
        path.write_bytes(blob)
        try:
            read_trace(path)
        except InputError:
            continue


def test_published_traces() -> None:
    workload = read_trace(shared_data("traces", "mooncake_fast25_conversation_trace.jsonl.gz"))
    assert workload.prompt_tokens == pytest.approx(12_035, rel=1e-3)
    assert workload.output_tokens == pytest.approx(343, rel=2e-3)
    assert 0.3 < workload.prefix_hit_frac < 0.45
    code = read_trace(shared_data("traces", "AzureLLMInferenceTrace2023_code.csv.gz"))
    assert (round(code.prompt_tokens), round(code.output_tokens)) == (2048, 28)
