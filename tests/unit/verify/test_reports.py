"""What a run comes to, told four ways; nothing that a stack says gets into a page as markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import certified as made
import pytest
from certified import HEADER, LEDGER, MUTATION, RESULTS

from dougong.errors import InputError
from dougong.report.terminal import render
from dougong.report.verify.dump import dump_run
from dougong.report.verify.junit import junit_xml
from dougong.report.verify.page import page
from dougong.report.verify.text import draw_run, sentence
from dougong.verify.ledger import read_ledger, reckon, shipped
from dougong.verify.records import RunRecord
from dougong.verify.verdict import Verdict

EVIL = "</script><script>alert(1)</script>\x00<b>"
RECORD = RunRecord(
    header=HEADER,
    results=(RESULTS[0], replace(RESULTS[1], detail=EVIL, got="<i>"), RESULTS[2]),
    seconds=1.5,
    mutation=MUTATION,
    reproducers={"gemm/b-float32": f"print({EVIL!r})"},
)


def test_the_sentence_says_whether_it_conforms() -> None:
    assert sentence(RECORD, reckon(RECORD, ())).startswith(
        "torch-cpu does not conform under llm-strict: 1 of 2 cases"
    )
    assert "fails only as its ledger says under llm-strict" in sentence(RECORD, reckon(RECORD, LEDGER))
    clean = replace(RECORD, results=(RESULTS[0], RESULTS[2]))
    assert "torch-cpu conforms under llm-strict: 1 of 1" in sentence(clean, reckon(clean, LEDGER))
    nothing = replace(RECORD, results=(RESULTS[2],))
    assert "does not conform" in sentence(nothing, reckon(nothing, LEDGER))


def test_a_run_that_was_cut_short_is_not_said_to_conform() -> None:
    header = replace(HEADER, cases=100)
    short = replace(RECORD, header=header, results=(RESULTS[0],), finished=False)
    reckoning = reckon(short, LEDGER)
    assert (reckoning.conforms, reckoning.as_known) == (False, False)
    assert sentence(short, reckoning) == (
        "torch-cpu has shown no new failure, in a run that was cut short, under llm-strict: "
        "1 of 1 cases of smoke pass (99 not-run)."
    )
    failed = replace(RECORD, header=header, finished=False)
    assert "torch-cpu does not conform under" in sentence(failed, reckon(failed, ()))
    told = dump_run(short, reckoning)
    assert (told["conforms"], told["as_known"], told["finished"]) == (False, False, False)
    assert 'class="stack known"' in page([(short, reckoning)])


def test_text_has_families_failures_and_mutants() -> None:
    drawn = render(draw_run(RECORD, reckon(RECORD, ())))
    for word in ("GEMM and linear layers", "gemm/b-float32", "catches 70 of 70", "torch 2.13.0+cpu"):
        assert word in drawn


def test_json_is_json() -> None:
    told = json.loads(json.dumps(dump_run(RECORD, reckon(RECORD, LEDGER)), allow_nan=False))
    assert (told["conforms"], told["as_known"]) == (False, True)
    assert told["expected_failures"][0]["case"] == "gemm/b-float32"
    assert told["counts"] == {"PASS": 1, "WRONG": 1, "UNSUPPORTED": 1}


def test_junit_counts_what_it_holds() -> None:
    root = xml.fromstring(junit_xml(RECORD, reckon(RECORD, ())).encode())
    suites = {suite.get("name"): suite for suite in root}
    assert (suites["gemm"].get("tests"), suites["gemm"].get("failures")) == ("2", "1")
    assert suites["cast"].get("skipped") == "1"
    known = xml.fromstring(junit_xml(RECORD, reckon(RECORD, LEDGER)).encode())
    assert "a known one" in str(known.find("testsuite/testcase/skipped").get("message"))  # type: ignore[union-attr]


def test_a_page_is_whole_and_escapes_what_stacks_say() -> None:
    other = replace(
        RECORD, header=replace(HEADER, backend="torch-<b>", stack={**HEADER.stack, "torch": EVIL})
    )
    drawn = page([(RECORD, reckon(RECORD, LEDGER)), (other, reckon(other, ()))])
    assert "alert(1)</script>" not in drawn
    assert "<b>\n" not in drawn
    assert "torch-<b>" not in drawn
    assert not re.search(r'(src|href)="(?!https://github.com|#)', drawn)
    assert "default-src 'none'" in drawn
    data = json.loads(drawn.split('id="data">')[1].split("</script>")[0])
    assert len(data["rows"]) == 6
    assert data["rows"][1][4] == "beyond"


def test_an_unexpected_pass_is_told() -> None:
    better = replace(RECORD, results=(RESULTS[0], replace(RESULTS[1], verdict=Verdict.PASS), RESULTS[2]))
    reckoning = reckon(better, LEDGER)
    assert [result.case for result, _ in reckoning.passed] == ["gemm/b-float32"]
    assert "take them out of the ledger" in render(draw_run(better, reckoning))


def test_an_entry_speaks_of_its_versions_only() -> None:
    entry = replace(LEDGER[0], element="torch", version=">=2.14")
    assert reckon(RECORD, [entry]).unexpected
    assert not reckon(RECORD, [replace(entry, version="<2.14")]).unexpected
    assert not reckon(RECORD, [replace(entry, version="==2.13")]).unexpected
    assert reckon(RECORD, [replace(LEDGER[0], verdict=Verdict.CRASH)]).unexpected


def test_an_entry_covers_the_failure_that_it_tells_of_and_no_other() -> None:
    entry = replace(LEDGER[0], detail="*of no dtype*")
    assert reckon(RECORD, [entry]).unexpected
    assert not reckon(RECORD, [replace(entry, detail="*</script>*")]).unexpected


def test_one_entry_may_name_several_cases(tmp_path: Path) -> None:
    told = '[[expected]]\nbackend = "x"\nverdict = "WRONG"\nsince = "2026-11-22"\nreason = "r"\ncases = '
    ledger = tmp_path / "ledger.toml"
    ledger.write_text(told + '["gemm/a-*", "gemm/b-*"]\n')
    assert [entry.cases for entry in read_ledger(ledger)] == ["gemm/a-*", "gemm/b-*"]
    ledger.write_text(told + "[1]\n")
    with pytest.raises(InputError, match="list of globs"):
        read_ledger(ledger)


def test_ledgers_are_read_with_all_their_faults(tmp_path: Path) -> None:
    shipped()
    bad = tmp_path / "bad.toml"
    bad.write_text(
        '[[expected]]\nbackend = "x"\nverdict = "FINE"\nsince = "yesterday"\nwho = "me"\nversion = "2"\n'
    )
    with pytest.raises(InputError) as caught:
        read_ledger(bad)
    for word in (
        "'cases' is missing",
        "'reason' is missing",
        "FINE",
        "yesterday",
        "'who' is none of",
        "an element",
    ):
        assert word in caught.value.message
    assert made.write(tmp_path / "r.jsonl").finished
