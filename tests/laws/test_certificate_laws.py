"""No byte of a certificate or of its evidence can be changed."""

from __future__ import annotations

import datetime
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "verify"))

from certified import LEDGER, NOW, Certified, certified

from dougong.errors import InputError
from dougong.verify.certificate.check import check
from dougong.verify.certificate.envelope import Refused
from dougong.verify.records import parse_run, read_run

SOON = NOW + datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("certified"))


def changed(raw: bytes, place: int, by: int) -> bytes:
    place %= len(raw)
    return raw[:place] + bytes([raw[place] ^ by]) + raw[place + 1 :]


@given(place=st.integers(0, 1 << 20), by=st.integers(1, 255))
def test_any_byte_of_a_certificate(paper: Certified, place: int, by: int) -> None:
    with pytest.raises(Refused):
        check(changed(paper.raw, place, by), paper.trusted, now=SOON)


@given(place=st.integers(0, 1 << 20), by=st.integers(1, 255))
def test_any_byte_of_the_evidence(paper: Certified, place: int, by: int) -> None:
    other = paper.folder / "changed.jsonl"
    other.write_bytes(changed(paper.evidence.read_bytes(), place, by))
    try:
        record = read_run(other)
    except InputError:
        return  # told as what it is: no run
    with pytest.raises(Refused):
        check(paper.raw, paper.trusted, now=SOON, evidence=record, entries=LEDGER)


@given(at=st.integers(0, 1 << 20), letters=st.binary(min_size=1, max_size=8))
def test_added_and_missing_bytes(paper: Certified, at: int, letters: bytes) -> None:
    at %= len(paper.raw)
    for raw in (paper.raw[:at] + letters + paper.raw[at:], paper.raw[:at]):
        if raw != paper.raw:
            with pytest.raises(Refused):
                check(raw, paper.trusted, now=SOON)


@given(raw=st.binary(max_size=400))
def test_any_bytes_at_all_are_refused_and_nothing_worse(paper: Certified, raw: bytes) -> None:
    with pytest.raises(Refused):
        check(raw, paper.trusted, now=SOON)
    with pytest.raises(InputError):
        parse_run(raw, "any")


def test_the_record_that_is_read_is_the_file_that_is_there(paper: Certified) -> None:
    assert read_run(paper.evidence) == replace(paper.record)
