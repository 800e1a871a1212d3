"""What a certificate states: an in-toto statement about a stack, made from nothing but a finished run's results."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, cast

from dougong.errors import InputError
from dougong.verify.certificate.envelope import Refused
from dougong.verify.edition import suite_digest
from dougong.verify.ledger import Entry, Reckoning, reckon
from dougong.verify.records import RunRecord, canonical, digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:dougong:predicate:operator-conformance:v1"
SCHEMA = 1
GRADES = ("measured", "reproduced", "declared")
"""Measured on this very stack by who signs; measured anew and found the same as another's; only passed on."""

DAYS = 180
_KEYS = {
    "schema": int, "id": str, "grade": str, "reproduces": str, "backend": str, "stack": dict, "suite": dict,
    "profile": str, "semantics": str, "seed": int, "only": list, "cases": int, "counts": dict, "families": dict,
    "conforms": bool, "as_known": bool, "unexpected": list, "expected": list, "ledger_sha256": str, "mutation": dict,
    "evidence": dict, "issued": str, "expires": str, "expires_when": list,
}  # fmt: skip
_EXPIRES_WHEN = ["an element of the stack changes", "the suite has another edition or digest"]


def state(
    record: RunRecord,
    entries: Sequence[Entry],
    *,
    grade: str = "measured",
    reproduces: str = "",
    now: datetime.datetime | None = None,
    days: int = DAYS,
) -> dict[str, Any]:
    """Make the statement of a finished run.

    Parameters
    ----------
    record
        As read from its file: the digest of the file's bytes is part of the statement.
    entries
        The ledgers that it is held against.
    reproduces
        Digest of the statement that this run repeats, where it does.
    days
        How long it holds, unless an element of the stack changes before.

    Raises
    ------
    InputError
        Where the run is unfinished, or of another suite than this one.
    """
    if not record.sha256:
        raise InputError("a certificate is made from a file of results, and this run has none")
    if not record.finished:
        raise InputError(
            f"the run is not finished: {len(record.results)} of {record.header.cases} cases have a result",
            hint="run it again with the same --out; it goes on where it stopped",
        )
    if record.header.suite_sha256 != suite_digest():
        raise InputError(
            "the run is of another suite than this program's",
            hint="run it again, then certify with the same program",
        )
    if not record.mutation:
        raise InputError("the run has no mutation score", hint="run it again without --no-mutants")
    now = now or datetime.datetime.now(datetime.UTC)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": "stack", "digest": {"sha256": record.header.stack_sha256}},
            {"name": "evidence", "digest": {"sha256": record.sha256}},
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "schema": SCHEMA,
            "grade": grade,
            "reproduces": reproduces,
            **facts_of(record, reckon(record, entries)),
            "ledger_sha256": ledger_digest(entries),
            "issued": now.isoformat(timespec="seconds"),
            "expires": (now + datetime.timedelta(days=days)).isoformat(timespec="seconds"),
            "expires_when": list(_EXPIRES_WHEN),
        },
    }


def facts_of(record: RunRecord, reckoning: Reckoning) -> dict[str, Any]:
    """Return what of a predicate follows from the results alone; a check computes it anew."""
    header = record.header
    known = Counter(entry for _, entry in reckoning.expected)
    return {
        "id": header.nonce,
        "backend": header.backend,
        "stack": dict(header.stack),
        "suite": {"edition": header.suite, "sha256": header.suite_sha256},
        "profile": header.profile,
        "semantics": header.semantics,
        "seed": header.seed,
        "only": list(header.only),
        "cases": header.cases,
        "counts": record.counts(),
        "families": record.by_family(),
        "conforms": reckoning.conforms,
        "as_known": reckoning.as_known,
        "unexpected": [[result.case, str(result.verdict)] for result in reckoning.unexpected],
        "expected": [
            [entry.cases, str(entry.verdict), count, entry.reason, entry.link]
            for entry, count in known.items()
        ],
        "mutation": dict(record.mutation),
        "evidence": {"sha256": record.sha256, "results": len(record.results)},
    }


def ledger_digest(entries: Sequence[Entry]) -> str:
    """Return the sha256 of ledgers."""
    plain = sorted([str(value) for value in astuple(each)] for each in entries)
    return hashlib.sha256(canonical(plain)).hexdigest()


def statement_digest(statement: Mapping[str, Any]) -> str:
    """Return the sha256 of a statement."""
    return hashlib.sha256(canonical(statement)).hexdigest()


def predicate_of(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predicate of a statement, once its shape and its subjects are those of a run.

    Raises
    ------
    Refused
        Where it states anything but the results of a run.
    """
    if set(statement) != {"_type", "subject", "predicateType", "predicate"}:
        raise Refused("it is no in-toto statement of ours")
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        raise Refused(f"it states {statement['predicateType']!r}; only {PREDICATE_TYPE} is read")
    raw: object = statement["predicate"]
    if not isinstance(raw, dict):
        raise Refused("it states nothing")
    predicate = cast("dict[str, Any]", raw)
    if set(predicate) != set(_KEYS):
        other = sorted(set(predicate) ^ set(_KEYS))
        raise Refused(f"its predicate is not that of a run: {', '.join(map(str, other))}")
    wrong = [name for name, kind in _KEYS.items() if type(predicate[name]) is not kind]
    if wrong or predicate["schema"] != SCHEMA or predicate["grade"] not in GRADES:
        raise Refused(f"its predicate is not that of a run: {', '.join(wrong) or 'schema or grade'}")
    evidence = cast("dict[str, Any]", predicate["evidence"])
    subject = [
        {"name": "stack", "digest": {"sha256": digest(predicate["stack"])}},
        {"name": "evidence", "digest": {"sha256": evidence.get("sha256")}},
    ]
    if statement["subject"] != subject:
        raise Refused("its subject is not the stack and the evidence that it speaks of")
    if (
        evidence.get("results") != predicate["cases"]
        or sum(predicate["counts"].values()) != predicate["cases"]
    ):
        raise Refused("its counts are not those of its cases")
    as_known = bool(predicate["counts"].get("PASS")) and not predicate["unexpected"]
    if (predicate["conforms"], predicate["as_known"]) != (as_known and not predicate["expected"], as_known):
        raise Refused("it says that the stack conforms, or fails only as known, against its own failures")
    return predicate
