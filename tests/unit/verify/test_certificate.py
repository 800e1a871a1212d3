"""What a certificate is made from, and every way in which one is refused."""

from __future__ import annotations

import datetime
import json
import stat
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import certified as made
import pytest
from certified import HEADER, LEDGER, NOW, RESULTS, STACK, Certified, certified

from dougong.errors import InputError
from dougong.verify.certificate.check import check, differences
from dougong.verify.certificate.envelope import Refused, seal
from dougong.verify.certificate.keys import generate, read_private, read_trusted
from dougong.verify.certificate.statement import ledger_digest, predicate_of, state
from dougong.verify.records import digest, read_run
from dougong.verify.verdict import Verdict

SOON = NOW + datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("certified"))


def accept(paper: Certified, raw: bytes | None = None, **more: Any) -> Any:
    return check(raw or paper.raw, paper.trusted, now=more.pop("now", SOON), **more)


def resealed(paper: Certified, **changes: Any) -> bytes:
    predicate = {**paper.statement["predicate"], **changes}
    subject = paper.statement["subject"]
    if "stack" in changes:
        subject = [{"name": "stack", "digest": {"sha256": digest(changes["stack"])}}, subject[1]]
    return seal({**paper.statement, "subject": subject, "predicate": predicate}, read_private(paper.key))


def test_it_says_what_the_run_came_to(paper: Certified) -> None:
    found = accept(paper, evidence=paper.record, entries=LEDGER, stack_here=STACK)
    assert found.predicate["counts"] == {"PASS": 1, "WRONG": 1, "UNSUPPORTED": 1}
    assert found.predicate["families"] == {"gemm": {"PASS": 1, "WRONG": 1}, "cast": {"UNSUPPORTED": 1}}
    assert (found.predicate["conforms"], found.predicate["as_known"]) == (False, True)
    assert found.predicate["expected"] == [["gemm/b-*", "WRONG", 1, "a known one", ""]]
    assert found.predicate["mutation"]["caught"] == 70
    assert not found.notes


def test_without_its_ledger_the_run_does_not_conform(paper: Certified) -> None:
    predicate = state(paper.record, ())["predicate"]
    assert (predicate["conforms"], predicate["as_known"]) == (False, False)
    assert predicate["unexpected"] == [["gemm/b-float32", "WRONG"]]


def test_a_ledger_is_known_by_every_word_of_its_entries(paper: Certified) -> None:
    words = {field.name: "another" for field in fields(LEDGER[0]) if field.name != "verdict"}
    digests = {ledger_digest([replace(LEDGER[0], **{name: word})]) for name, word in words.items()}
    assert len({ledger_digest(LEDGER), *digests}) == len(words) + 1


def test_a_private_key_is_private_and_never_overwritten(paper: Certified) -> None:
    assert stat.S_IMODE(paper.key.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="is there already"):
        generate(paper.key)


def test_an_unknown_key_is_refused(paper: Certified, tmp_path: Path) -> None:
    generate(tmp_path / "other")
    with pytest.raises(Refused, match="a key that is not trusted"):
        check(paper.raw, read_trusted([tmp_path]), now=SOON)
    with pytest.raises(Refused, match="not trusted"):
        check(paper.raw, {}, now=SOON)


def test_a_foreign_signature_under_a_trusted_name_is_refused(paper: Certified, tmp_path: Path) -> None:
    generate(tmp_path / "other")
    foreign = json.loads(seal(paper.statement, read_private(tmp_path / "other")))
    foreign["signatures"][0]["keyid"] = json.loads(paper.raw)["signatures"][0]["keyid"]
    raw = json.dumps(foreign, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(Refused, match="the signature is not that of this content"):
        accept(paper, raw)


def test_it_ends_with_its_time_and_with_its_stack(paper: Certified) -> None:
    with pytest.raises(Refused, match="it expired on"):
        accept(paper, now=NOW + datetime.timedelta(days=181))
    with pytest.raises(Refused, match="in the future"):
        accept(paper, now=NOW - datetime.timedelta(days=1))
    for changed in ({**STACK, "torch": "2.14.0"}, {**STACK, "driver": "7"}, {"framework": "torch"}):
        with pytest.raises(Refused, match="the stack here is another"):
            accept(paper, stack_here=changed)


def test_a_signer_who_says_that_a_failing_stack_conforms_is_refused(paper: Certified) -> None:
    for changes in ({"conforms": True}, {"as_known": False}, {"conforms": True, "as_known": False}):
        with pytest.raises(Refused, match="against its own failures"):
            accept(paper, resealed(paper, **changes))


def test_other_evidence_is_refused(paper: Certified, tmp_path: Path) -> None:
    better = (RESULTS[0], replace(RESULTS[1], verdict=Verdict.PASS), RESULTS[2])
    other = made.write(tmp_path / "run.jsonl", HEADER, better)
    with pytest.raises(Refused, match="not the file that was certified"):
        accept(paper, evidence=other)


def test_a_signer_who_states_more_than_the_evidence_is_refused(paper: Certified) -> None:
    for changes in (
        {"counts": {"PASS": 3}},
        {"families": {"gemm": {"PASS": 2}, "cast": {"PASS": 1}}},
        {"stack": {**STACK, "torch": "9"}},
        {"mutation": {"mutants": 500, "caught": 500}},
        {"id": "another"},
        {"unexpected": [["gemm/a-float32", "WRONG"]], "as_known": False},
        {"expected": [], "conforms": True},
    ):
        with pytest.raises(Refused, match="does not come to what is stated"):
            accept(paper, resealed(paper, **changes), evidence=paper.record, entries=LEDGER)


def test_a_replay_is_refused(paper: Certified, tmp_path: Path) -> None:
    store = tmp_path / "seen.json"
    accept(paper, seen=store)
    accept(paper, seen=store)
    with pytest.raises(Refused, match="it is a replay"):
        accept(paper, resealed(paper, stack={**STACK, "cpu": "a better one"}), seen=store)
    moved = {**paper.statement, "subject": [{"name": "stack", "digest": {"sha256": "0" * 64}}]}
    with pytest.raises(Refused, match="its subject is not"):
        accept(paper, seal(moved, read_private(paper.key)))


def test_nothing_but_the_results_of_a_run_is_a_predicate(paper: Certified) -> None:
    predicate = paper.statement["predicate"]
    for other in (
        {"kind": "plan", "predicted": True},
        {**predicate, "predicted": True},
        {key: value for key, value in predicate.items() if key != "evidence"},
        {**predicate, "grade": "predicted"},
        {**predicate, "counts": {"PASS": 4}},
    ):
        with pytest.raises(Refused):
            predicate_of({**paper.statement, "predicate": other})
    with pytest.raises(Refused, match="only urn:dougong"):
        predicate_of({**paper.statement, "predicateType": "urn:dougong:predicate:plan:v1"})


def test_an_unfinished_run_another_suite_or_a_plan_is_not_certified(paper: Certified, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finished"):
        state(made.write(tmp_path / "part.jsonl", HEADER, RESULTS[:2]), ())
    other = replace(HEADER, suite_sha256="0" * 64)
    with pytest.raises(InputError, match="another suite"):
        state(made.write(tmp_path / "old.jsonl", other), ())
    with pytest.raises(InputError, match="has none"):
        state(replace(paper.record, sha256=""), ())
    plan = tmp_path / "plan.json"
    plan.write_text('{"schema": 1, "kind": "plan", "tokens_per_s": 1}\n\n')
    with pytest.raises(InputError, match="none of run, result"):
        read_run(plan)


def test_a_repetition_says_where_it_differs(paper: Certified, tmp_path: Path) -> None:
    same = made.write(tmp_path / "again.jsonl", made.another_run())
    assert not differences(paper.statement["predicate"], same, paper.record)
    assert not differences(paper.statement["predicate"], same, None)
    other = made.write(tmp_path / "other.jsonl", made.another_run(), (RESULTS[1], RESULTS[2],
        replace(RESULTS[0], verdict=Verdict.CRASH)))  # fmt: skip
    assert differences(paper.statement["predicate"], other, paper.record) == [
        "gemm/a-float32 was PASS and is CRASH"
    ]
    assert differences(paper.statement["predicate"], other, None) == [
        "gemm was 1 PASS, 1 WRONG and is 1 CRASH, 1 WRONG"
    ]
