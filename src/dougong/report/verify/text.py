"""A run and the trials of mutants as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.ops.definition import FAMILIES
from dougong.report.parts import Columns, section
from dougong.report.verify.dump import facts
from dougong.verify.ledger import Entry, Reckoning
from dougong.verify.mutation import Trial
from dougong.verify.records import RunRecord
from dougong.verify.verdict import Result, Verdict

_MOST = 40
_STYLE = {
    Verdict.PASS: "green",
    Verdict.UNSUPPORTED: "dim",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_RUN: "dim",
}


def draw_run(record: RunRecord, reckoning: Reckoning) -> RenderableType:
    """Draw a run: the answer, families by verdict, what failed, what is known to fail, what was seen."""
    parts: list[RenderableType] = [
        Text(sentence(record, reckoning), style="bold"),
        Text(_tuple(record), style="dim"),
    ]
    parts.append(section("Families", _families(record)))
    if reckoning.unexpected:
        shown = reckoning.unexpected[:_MOST]
        more = len(reckoning.unexpected) - len(shown)
        parts.append(
            section("Failures", _failures(shown), aside=f"{more} more in the results" if more else "")
        )
    if reckoning.expected:
        parts.append(section("Known to fail", _known(reckoning.expected), aside="as ledgers say"))
    if reckoning.passed:
        parts.append(
            section("Said to fail, and passed", _known(reckoning.passed), aside="take them out of the ledger")
        )
    seen = facts(record)
    if seen:
        parts.append(section("Seen where specifications are silent", _facts(seen)))
    parts.append(section("Mutants", Text(mutation_sentence(record.mutation))))
    return Group(*parts)


def sentence(record: RunRecord, reckoning: Reckoning) -> str:
    """Say what came out in one sentence."""
    header, counts = record.header, record.counts()
    passed = counts.get("PASS", 0)
    ran = sum(counts.values()) - counts.get("UNSUPPORTED", 0) - counts.get("NOT-RUN", 0)
    known = (
        f", {len(reckoning.expected):,} of them known" if reckoning.expected and reckoning.unexpected else ""
    )
    rest = ", ".join(f"{counts[name]:,} {name.lower()}" for name in counts if name != "PASS")
    return (
        f"{header.backend} {reckoning.words} under {header.semantics}: "
        f"{passed:,} of {ran:,} cases of {header.profile} pass{f' ({rest}{known})' if rest else ''}."
    )


def mutation_sentence(mutation: Mapping[str, object]) -> str:
    """Say how far the suite is to be believed."""
    if not mutation:
        return "The suite has not been proven on its mutants here: dougong verify mutants"
    survivors = mutation.get("survivors")
    names = ", ".join(str(name) for name in cast("list[object]", survivors)) if survivors else ""
    return (
        f"The suite catches {mutation.get('caught')} of {mutation.get('mutants')} deliberately wrong backends"
        f"{f'; survivors: {names}' if names else ''}."
    )


def draw_trials(found: Sequence[Trial], total: Mapping[str, object]) -> RenderableType:
    """Draw what became of every mutant."""
    rows = [
        (
            trial.mutant.name,
            Text(str(trial.caught.verdict), style="green")
            if trial.caught
            else Text("survived", style="bold red"),
            f"{trial.caught.case} ({trial.caught.check})"
            if trial.caught
            else f"{trial.tried} cases of {trial.mutant.caught_by}",
            trial.mutant.fault,
        )
        for trial in found
    ]
    heads = [("mutant", "word"), ("verdict", "word"), ("by", "words"), ("fault", "words")]
    return Group(Text(mutation_sentence(total), style="bold"), Text(""), Columns(heads, rows))


def _tuple(record: RunRecord) -> str:
    stack = ", ".join(f"{name} {value}" for name, value in record.header.stack.items())
    return (
        f"{stack}; stack {record.header.stack_sha256[:12]}, suite {record.header.suite} "
        f"({record.header.suite_sha256[:12]}), seed {record.header.seed}"
    )


def _families(record: RunRecord) -> Columns:
    found = record.by_family()
    verdicts = [verdict for verdict in Verdict if any(str(verdict) in counts for counts in found.values())]
    worst = {family: worst_error(record, family) for family in found}
    rows: list[tuple[str | Text, ...]] = []
    for family in [name for name in FAMILIES if name in found] + [
        name for name in found if name not in FAMILIES
    ]:
        cells = [
            Text(str(found[family].get(str(verdict), "")), style=_STYLE.get(verdict, "bold red"))
            for verdict in verdicts
        ]
        rows.append((FAMILIES.get(family, family), *cells, worst[family]))
    heads = [
        ("family", "words"),
        *((str(verdict), "number") for verdict in verdicts),
        ("worst error", "number"),
    ]
    return Columns(heads, rows)


def worst_error(record: RunRecord, family: str) -> str:
    """Return the largest error over its bound among the cases of a family that passed."""
    errors = [
        result.error
        for result in record.results
        if result.case.startswith(f"{family}/")
        and result.verdict is Verdict.PASS
        and result.error is not None
    ]
    return f"{max(errors):.2f}" if errors else "–"


def _failures(results: Sequence[Result]) -> Columns:
    rows = [
        (result.case, Text(str(result.verdict), style="bold red"), result.check, told(result))
        for result in results
    ]
    return Columns([("case", "words"), ("verdict", "word"), ("check", "word"), ("what", "words")], rows)


def told(result: Result) -> str:
    """Say what was wrong, with the worst element."""
    where = f"; at {list(result.at)}: {result.got}, not {result.expected}" if result.at and result.got else ""
    return f"{result.detail}{where}"


def _known(pairs: Sequence[tuple[Result, Entry]]) -> Columns:
    """By reason: a fault that many cases show is told once."""
    rows: list[tuple[str, ...]] = []
    for (reason, verdict, since, link), covered in by_reason(pairs).items():
        globs = list(dict.fromkeys(entry.cases for _, entry in covered))
        more = f" and {len(globs) - 1} more" if len(globs) > 1 else ""
        why = f"{reason}, since {since} {link}".strip()
        rows.append((globs[0] + more, verdict, str(len(covered)), why))
    return Columns([("cases", "words"), ("verdict", "word"), ("count", "number"), ("why", "words")], rows)


def by_reason(
    pairs: Sequence[tuple[Result, Entry]],
) -> dict[tuple[str, str, str, str], list[tuple[Result, Entry]]]:
    """Gather what entries cover by reason, verdict, since and link."""
    found: dict[tuple[str, str, str, str], list[tuple[Result, Entry]]] = {}
    for result, entry in pairs:
        key = (entry.reason, str(entry.verdict), entry.since, entry.link)
        found.setdefault(key, []).append((result, entry))
    return found


def _facts(seen: Mapping[str, Mapping[str, int]]) -> Columns:
    rows = [
        (name, ", ".join(f"{answer} ({count})" for answer, count in counts.items()))
        for name, counts in seen.items()
    ]
    return Columns([("question", "word"), ("answer", "words")], rows)
