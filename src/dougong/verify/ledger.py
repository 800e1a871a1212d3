"""Ledgers: what is known to fail on a stack, since when, and where it is told.

::

    [[expected]]
    backend = "torch-cpu"              # a glob, as are cases
    version = ">=2.9"                  # of `element` of the stack, optional
    element = "torch"
    cases   = "selection/topk-ties-*"  # or several: ["selection/topk-ties-*", "selection/sort-ties-2-*"]
    verdict = "DEVIATES"
    detail  = "*tie_order*"            # what the result says, optional: another fault of these cases is not covered
    reason  = "equal values come back in any order"
    link    = "https://github.com/pytorch/pytorch/issues/27542"
    since   = "2026-11-22"
"""

from __future__ import annotations

import datetime
import fnmatch
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dougong.errors import InputError
from dougong.verify.records import RunRecord
from dougong.verify.verdict import Result, Verdict

SHIPPED = Path(__file__).parent / "ledgers"

FAILURES = frozenset(
    {Verdict.DEVIATES, Verdict.WRONG, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT, Verdict.FALLBACK}
)
"""Verdicts that a stack does not conform with; UNSUPPORTED, INCONCLUSIVE and NOT-RUN are counted beside."""

_NEEDED = ("backend", "cases", "verdict", "reason", "since")
_KNOWN = (*_NEEDED, "detail", "version", "element", "link")
_RULE = re.compile(r"^(<=|>=|==|<|>)?\s*([0-9][0-9A-Za-z.+-]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a ledger."""

    backend: str
    cases: str
    verdict: Verdict
    reason: str
    since: str
    detail: str = ""
    link: str = ""
    element: str = ""
    version: str = ""

    def speaks_of(self, record: RunRecord) -> bool:
        """Whether it is about this stack, at this version."""
        if not fnmatch.fnmatchcase(record.header.backend, self.backend):
            return False
        return not self.version or _meets(record.header.stack.get(self.element, ""), self.version)

    def covers(self, case: str) -> bool:
        """Whether it is about this case."""
        return fnmatch.fnmatchcase(case, self.cases)

    def explains(self, result: Result) -> bool:
        """Whether this failure is the one it tells of: the verdict, and what the result says where it says so."""
        if result.verdict is not self.verdict:
            return False
        return not self.detail or fnmatch.fnmatchcase(result.detail, self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """A run held against ledgers.

    Attributes
    ----------
    passes
        How many cases passed: a run in which none did says nothing for its stack.
    unexpected
        Failures that no entry covers.
    expected
        Failures with the entry that covers each.
    passed
        Entries that cover a case which passed: to be taken out.
    finished
        Whether every case was run; the rest of one that was cut short may fail.
    """

    passes: int
    unexpected: tuple[Result, ...]
    expected: tuple[tuple[Result, Entry], ...]
    passed: tuple[tuple[Result, Entry], ...]
    finished: bool = True

    @property
    def conforms(self) -> bool:
        """Whether every case was run, some passed and none failed, known or not."""
        return self.as_known and not self.expected

    @property
    def as_known(self) -> bool:
        """Whether every case was run, some passed and none failed but as the ledgers say."""
        return self.finished and bool(self.passes) and not self.unexpected

    @property
    def words(self) -> str:
        """How the run stands, to follow the name of its backend."""
        if not self.finished and not self.unexpected:
            return "has shown no new failure, in a run that was cut short,"
        return in_words(conforms=self.conforms, as_known=self.as_known)


def in_words(*, conforms: bool, as_known: bool) -> str:
    """Say how a run stands: a stack with known failures does not conform, and is not said to."""
    if conforms:
        return "conforms"
    return "fails only as its ledger says" if as_known else "does not conform"


def reckon(record: RunRecord, entries: Iterable[Entry]) -> Reckoning:
    """Hold a run against ledgers; an entry covers a failure with its verdict and detail, and no other."""
    about = [entry for entry in entries if entry.speaks_of(record)]
    unexpected: list[Result] = []
    expected: list[tuple[Result, Entry]] = []
    passed: list[tuple[Result, Entry]] = []
    for result in record.results:
        covering = [entry for entry in about if entry.covers(result.case)]
        if result.verdict in FAILURES:
            entry = next((each for each in covering if each.explains(result)), None)
            if entry is None:
                unexpected.append(result)
            else:
                expected.append((result, entry))
        elif result.verdict is Verdict.PASS:
            passed += [(result, entry) for entry in covering]
    passes = sum(result.verdict is Verdict.PASS for result in record.results)
    return Reckoning(
        passes=passes,
        unexpected=tuple(unexpected),
        expected=tuple(expected),
        passed=tuple(passed),
        finished=record.finished,
    )


def shipped() -> list[Entry]:
    """Read the ledgers that come with the suite."""
    return [entry for file in sorted(SHIPPED.glob("*.toml")) for entry in read_ledger(file)]


def read_ledger(path: Path) -> list[Entry]:
    """Read a ledger.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    lines = cast("Sequence[object]", read.get("expected", []))
    faults = [f"{name!r} is no key of a ledger" for name in read if name != "expected"]
    if not isinstance(read.get("expected", []), list):
        raise InputError(f"{path}: [[expected]] tables are wanted")
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        found = _faults(line)
        faults += [f"entry {number}: {fault}" for fault in found]
        if not found:
            given = cast("Mapping[str, object]", line)
            plain = {key: str(value) for key, value in given.items()}
            entries += [
                Entry(**{**plain, "cases": str(glob), "verdict": Verdict(plain["verdict"])})  # type: ignore[arg-type]
                for glob in _globs(given["cases"])
            ]
    if faults:
        raise InputError("\n".join([f"{path}: {len(faults)} faults:", *(f"  {fault}" for fault in faults)]))
    return entries


def _faults(line: object) -> list[str]:
    if not isinstance(line, dict):
        return ["a table is wanted"]
    given = {str(key): value for key, value in cast("dict[Any, Any]", line).items()}
    faults = [f"{name!r} is missing" for name in _NEEDED if name not in given]
    faults += [f"{name!r} is none of {', '.join(_KNOWN)}" for name in given if name not in _KNOWN]
    if not all(isinstance(glob, str) for glob in _globs(given.get("cases", ""))):
        faults.append(f"cases {given['cases']!r} is no glob, nor a list of globs")
    if "verdict" in given and given["verdict"] not in {str(each) for each in FAILURES}:
        faults.append(f"verdict {given['verdict']!r} is none of {', '.join(sorted(FAILURES))}")
    if "version" in given and not (_RULE.match(str(given["version"])) and given.get("element")):
        faults.append(f"version {given['version']!r} wants a comparison such as '>=2.9', and an element")
    try:
        datetime.date.fromisoformat(str(given.get("since", "2026-01-01")))
    except ValueError:
        faults.append(f"since {given['since']!r} is no date such as 2026-11-22")
    return faults


def _globs(cases: object) -> list[object]:
    return cast("list[object]", cases) if isinstance(cases, list) else [cases]


def _meets(found: str, rule: str) -> bool:
    match = _RULE.match(rule)
    if match is None or not found:
        return False
    sign, (left, right) = match[1] or "==", (_parts(found), _parts(match[2]))
    left = left[: len(right)] if sign == "==" else left
    return {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
    }[sign]


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))
