"""A run as JSON lines: a header, one line per result as it comes, scripts of failures, and an end."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from dougong.errors import InputError
from dougong.verify.verdict import Result, Verdict

SCHEMA = 1
_SAME = ("schema", "suite", "suite_sha256", "backend", "profile", "semantics", "seed", "only", "stack_sha256")
_MOST_LINE = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was run on what.

    Attributes
    ----------
    stack
        The exact stack tuple: every element that may change a number.
    cases
        How many cases the run has.
    nonce
        Random letters: no two runs are the same evidence.
    """

    backend: str
    stack: Mapping[str, str]
    suite: str
    suite_sha256: str
    profile: str
    semantics: str
    seed: int
    cases: int
    started: str
    nonce: str
    only: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def stack_sha256(self) -> str:
        """Digest of the stack tuple in canonical JSON."""
        return digest(self.stack)

    def to_json(self) -> dict[str, Any]:
        """Return the header's line."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {"kind": "run", **plain, "stack": dict(self.stack), "stack_sha256": self.stack_sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A whole run, as read or as made.

    Attributes
    ----------
    mutation
        How many mutants the suite was proven on, and how many it caught: ``{"mutants": 70, "caught": 70}``.
    finished
        Whether every case was run.
    reproducers
        By case, a script that shows a failure without this program.
    """

    header: Header
    results: tuple[Result, ...]
    seconds: float = 0.0
    mutation: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    finished: bool = True
    sha256: str = ""
    reproducers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def counts(self) -> dict[str, int]:
        """Count results by verdict; cases without one are NOT-RUN."""
        found = Counter(str(result.verdict) for result in self.results)
        missing = self.header.cases - len(self.results)
        if missing > 0:
            found[str(Verdict.NOT_RUN)] += missing
        return {str(verdict): found[str(verdict)] for verdict in Verdict if found[str(verdict)]}

    def by_family(self) -> dict[str, dict[str, int]]:
        """Count results by family and verdict."""
        found: dict[str, Counter[str]] = {}
        for result in self.results:
            found.setdefault(family_of(result.case), Counter())[str(result.verdict)] += 1
        return {family: dict(sorted(counts.items())) for family, counts in found.items()}


def family_of(case: str) -> str:
    """Return the family of a case's id."""
    return case.partition("/")[0]


def canonical(content: object) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(content: object) -> str:
    """Return the sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(dict(cast("Mapping[str, object]", content)))).hexdigest()


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result's line; what is at its default is left out."""
    line: dict[str, Any] = {
        "kind": "result",
        "case": result.case,
        "verdict": str(result.verdict),
        "check": result.check,
    }
    if result.error is not None:
        line["error"] = result.error if math.isfinite(result.error) else "beyond"
    for name in ("detail", "precision", "got", "expected"):
        if getattr(result, name):
            line[name] = getattr(result, name)
    if result.at is not None:
        line["at"] = list(result.at)
    if result.facts:
        line["facts"] = dict(result.facts)
    line["seconds"] = round(result.seconds, 6)
    return line


def result_from_json(line: Mapping[str, Any]) -> Result:
    """Read a result's line."""
    error = line.get("error")
    return Result(
        case=str(line["case"]),
        verdict=Verdict(line["verdict"]),
        check=str(line["check"]),
        detail=str(line.get("detail", "")),
        error=None if error is None else math.inf if error == "beyond" else float(error),
        precision=line.get("precision"),
        at=tuple(int(i) for i in line["at"]) if "at" in line else None,
        got=line.get("got"),
        expected=line.get("expected"),
        facts={str(key): str(value) for key, value in line.get("facts", {}).items()},
        seconds=float(line.get("seconds", 0.0)),
    )


def to_line(content: Mapping[str, Any]) -> str:
    """Return one line of a file of results."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def read_run(path: Path) -> RunRecord:
    """Read a file of results; a line that was cut off at the end is left out.

    Raises
    ------
    InputError
        With the line that cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    record = parse_run(raw, str(path))
    return replace(record, sha256=hashlib.sha256(raw).hexdigest())


def parse_run(raw: bytes, name: str) -> RunRecord:
    """Read the bytes of a file of results; see :func:`read_run`."""
    header: Header | None = None
    results: dict[str, Result] = {}
    end: Mapping[str, Any] = {}
    reproducers: dict[str, str] = {}
    lines = raw.split(b"\n")
    for number, text in enumerate(lines, 1):
        if not text.strip() or (number == len(lines) and not end):
            continue
        try:
            line = _line(text)
            kind = line.get("kind")
            if kind == "run":
                header = _header(line)
            elif kind == "result":
                result = result_from_json(line)
                if result.case in results:
                    raise ValueError(f"{result.case} stands twice")
                results[result.case] = result
            elif kind == "reproducer":
                reproducers[str(line["case"])] = str(line["script"])
            elif kind == "end":
                end = line
            else:
                raise ValueError(f"kind {kind!r} is none of run, result, reproducer, end")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{name}:{number}: no line of a run: {type(error).__name__}: {error}") from error
    if header is None:
        raise InputError(f"{name}: no run: the line of kind 'run' is missing")
    return RunRecord(
        header=header,
        results=tuple(results.values()),
        seconds=float(end.get("seconds", 0.0)),
        mutation=dict(end.get("mutation", {})),
        finished=bool(end) and len(results) == header.cases,
        reproducers=reproducers,
    )


def check_resumable(header: Header, found: RunRecord, path: Path) -> None:
    """Refuse to go on with a file that was made by another run.

    Raises
    ------
    InputError
        With what differs.
    """
    old, new = found.header.to_json(), header.to_json()
    other = [
        f"{name} was {_short(old[name])} and is {_short(new[name])}"
        for name in _SAME
        if old[name] != new[name]
    ]
    if other:
        raise InputError(
            f"{path} holds another run: {'; '.join(other)}", hint="name another --out, or remove the file"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _line(text: bytes) -> dict[str, Any]:
    if len(text) > _MOST_LINE:
        raise ValueError(f"a line of {len(text):,} bytes")
    found: object = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("an object is wanted")
    return cast("dict[str, Any]", found)


def _header(line: Mapping[str, Any]) -> Header:
    if line["schema"] != SCHEMA:
        raise ValueError(f"schema {line['schema']!r}; this program reads {SCHEMA}")
    stack = {str(key): str(value) for key, value in line["stack"].items()}
    header = Header(
        backend=str(line["backend"]),
        stack=stack,
        suite=str(line["suite"]),
        suite_sha256=str(line["suite_sha256"]),
        profile=str(line["profile"]),
        semantics=str(line["semantics"]),
        seed=int(line["seed"]),
        cases=int(line["cases"]),
        started=str(line["started"]),
        nonce=str(line["nonce"]),
        only=tuple(str(each) for each in line["only"]),
    )
    if line["stack_sha256"] != header.stack_sha256:
        raise ValueError("the digest of the stack is not that of its elements")
    return header
