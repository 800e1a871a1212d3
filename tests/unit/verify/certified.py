"""A finished run in a file, a key and a certificate of it, without a stack."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dougong.verify.certificate.envelope import seal
from dougong.verify.certificate.keys import generate, read_private, read_trusted
from dougong.verify.certificate.statement import state
from dougong.verify.edition import EDITION, suite_digest
from dougong.verify.ledger import Entry
from dougong.verify.records import Header, RunRecord, read_run, result_to_json, to_line
from dougong.verify.verdict import Result, Verdict

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
STACK = {"framework": "torch", "torch": "2.13.0+cpu", "device": "cpu", "cpu": "a processor"}
HEADER = Header(
    backend="torch-cpu", stack=STACK, suite=EDITION, suite_sha256=suite_digest(), profile="smoke",
    semantics="llm-strict", seed=0, cases=3, started=NOW.isoformat(), nonce="0123456789abcdef",
)  # fmt: skip
RESULTS = (
    Result(case="gemm/a-float32", verdict=Verdict.PASS, check="value", error=0.25, precision="native"),
    Result(
        case="gemm/b-float32", verdict=Verdict.WRONG, check="value", error=float("inf"), at=(1, 2), detail="y"
    ),
    Result(case="cast/c-float32", verdict=Verdict.UNSUPPORTED, check="runs"),
)
LEDGER = (
    Entry(
        backend="torch-*", cases="gemm/b-*", verdict=Verdict.WRONG, reason="a known one", since="2026-11-22"
    ),
)
MUTATION = {"mutants": 70, "caught": 70, "survivors": []}


@dataclass(frozen=True)
class Certified:
    folder: Path
    evidence: Path
    key: Path
    record: RunRecord
    statement: dict[str, Any]
    raw: bytes

    @property
    def trusted(self) -> Any:
        return read_trusted([self.folder / "key.pub"])


def write(path: Path, header: Header = HEADER, results: tuple[Result, ...] = RESULTS) -> RunRecord:
    lines = [
        header.to_json(),
        *map(result_to_json, results),
        {"kind": "end", "seconds": 1.0, "mutation": MUTATION},
    ]
    path.write_text("".join(map(to_line, lines)), encoding="utf-8")
    return read_run(path)


def certified(folder: Path) -> Certified:
    generate(folder / "key")
    record = write(folder / "run.jsonl")
    statement = state(record, LEDGER, now=NOW)
    raw = seal(statement, read_private(folder / "key"))
    return Certified(folder, folder / "run.jsonl", folder / "key", record, statement, raw)


def another_run(header: Header = HEADER) -> Header:
    return replace(header, nonce="fedcba9876543210")
