"""One self-contained page of one or several runs: stack by stack, family by family, down to a script per failure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dougong.ops.definition import FAMILIES, FLOATS
from dougong.ops.definitions import DEFINITIONS
from dougong.ops.semantics import SWITCHES
from dougong.report.verify.dump import facts
from dougong.report.verify.html import bar, chip, link, section, table, text, thread
from dougong.report.verify.text import by_reason, mutation_sentence, sentence, worst_error
from dougong.verify.case import Case
from dougong.verify.families import cases
from dougong.verify.ledger import Entry, Reckoning
from dougong.verify.records import RunRecord, family_of
from dougong.verify.relations import RELATIONS
from dougong.verify.verdict import Result, Verdict

Run = tuple[RunRecord, Reckoning]

_ASSETS = Path(__file__).parent / "assets"
_SHORT = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "other": "other"}
_WORST = (
    Verdict.WRONG, Verdict.CRASH, Verdict.TIMEOUT, Verdict.ERROR, Verdict.FALLBACK, Verdict.DEVIATES,
    Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.UNSUPPORTED, Verdict.NOT_RUN,
)  # fmt: skip
_MOST_FAILURES = 200
_MOST_SHOWN = 4
_FEW_STACKS = 3


def page(runs: Sequence[Run]) -> str:
    """Return the page as HTML; nothing is fetched from anywhere."""
    known = {case.id: case for case in cases()}
    parts = [
        "<h1>Dougong · operator conformance</h1>",
        f'<div class="stacks">{"".join(_stack(*run) for run in runs)}</div>',
        section(
            "Families, dtypes, stacks",
            "Passed of what was computed, by dtype; the colour is the worst verdict in it. Click to list the cases."
            if len(runs) <= _FEW_STACKS
            else "Passed of what was computed; beneath, the worst verdict in float32, float16, bfloat16 and the rest. "
            "Click to list the cases.",
            _matrix(runs),
            name="matrix",
        ),
        _failures(runs, known),
        _known(runs, known),
        section(
            "Where specifications are silent",
            "How each stack was seen to answer. Several answers can be right; a profile says which of them conform.",
            _switches(runs),
        ),
        section(
            "In other company",
            "Whether a row keeps its bits when its batch is cut, reordered, repeated or padded.",
            _relations(runs),
        ),
        _cases(runs),
        section(
            "The stacks",
            "Every element that may change a number; a verdict speaks of nothing else.",
            _tuples(runs),
        ),
        _reading(),
        f"<footer>{text(mutation_sentence(runs[0][0].mutation))} Suite {text(runs[0][0].header.suite)}, "
        f"digest {text(runs[0][0].header.suite_sha256[:16])}.</footer>",
    ]
    css, script = ((_ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    title = ", ".join(record.header.backend for record, _ in runs)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'\">"
        f"<title>Operator conformance: {text(title)}</title><style>{css}</style></head><body><main>"
        f"{''.join(parts)}</main>{_data(runs)}<script>{script}</script></body></html>\n"
    )


def _stack(record: RunRecord, reckoning: Reckoning) -> str:
    header, counts = record.header, record.counts()
    kind = "" if reckoning.conforms else " no" if reckoning.unexpected or not reckoning.passes else " known"
    told = sentence(record, reckoning).removeprefix(f"{header.backend} ")
    took = f" · {record.seconds:,.0f} s" if record.finished and record.seconds else ""
    return (
        f'<div class="stack{kind}"><h3>{text(header.backend)}</h3>'
        f"<p><strong>{text(told[0].upper() + told[1:])}</strong></p>{bar(counts)}"
        f"<p class='quiet'>{text(_versions(record))} · {text(header.started[:10])}{took}</p></div>"
    )


def _versions(record: RunRecord) -> str:
    stack = record.header.stack
    framework = stack.get("framework", "")
    versions = [name for name in stack if framework and name.startswith(framework)]
    told = [f"{name} {stack[name]}" for name in versions]
    return " · ".join([*told, *(stack[name] for name in ("chip", "cpu") if name in stack)])


def _matrix(runs: Sequence[Run]) -> str:
    dtypes = [*FLOATS, "other"]
    counts: dict[tuple[int, str, str], Counter[str]] = {}
    for at, (record, _) in enumerate(runs):
        for result in record.results:
            key = (at, family_of(result.case), _dtype(result.case))
            counts.setdefault(key, Counter())[str(result.verdict)] += 1
    families = sorted({family for _, family, _ in counts}, key=[*FAMILIES, *(key[1] for key in counts)].index)
    few = len(runs) <= _FEW_STACKS
    rows: list[list[str]] = []
    for family in families:
        row = [text(FAMILIES.get(family, family))]
        for at, (record, _) in enumerate(runs):
            by_dtype = {dtype: counts.get((at, family, dtype), Counter()) for dtype in dtypes}
            squares = "".join(_square(found, dtype, words=few) for dtype, found in by_dtype.items())
            if not few:
                squares = f"<span>{_share(_together(by_dtype.values()))}</span>{squares}"
            kind = "cell" if few else "cell small"
            row.append(
                f'<button class="{kind}" data-family="{text(family)}" data-stack="{at}">{squares}</button>'
            )
            if few:
                row.append(f'<span class="quiet">{worst_error(record, family)}</span>')
        rows.append(row)
    beside = ("worst error",) if few else ()
    heads = ["family", *(head for record, _ in runs for head in (record.header.backend, *beside))]
    return table(heads, rows, "matrix")


def _together(several: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in several:
        total.update(each)
    return total


def _share(counts: Counter[str]) -> str:
    """Passed of computed; a dash where nothing was."""
    asked = sum(counts.values()) - counts["UNSUPPORTED"]
    return f"{counts['PASS']:,}/{asked:,}" if asked else "–"


def _square(counts: Counter[str], dtype: str, *, words: bool) -> str:
    if not counts:
        return f'<b class="none" title="{text(dtype)}: not asked">{"·" if words else ""}</b>'
    worst = next(str(verdict) for verdict in _WORST if counts[str(verdict)])
    told = ", ".join(f"{count} {name.lower()}" for name, count in counts.items())
    share = _share(counts)
    inside = f"{_SHORT[dtype]}<br>{'n/a' if share == '–' else share}" if words else ""
    return f'<b class="{worst}" title="{text(dtype)}: {text(told)}">{inside}</b>'


def _dtype(case: str) -> str:
    last = case.rpartition("-")[2]
    return last if last in FLOATS else "other"


def _failures(runs: Sequence[Run], known: dict[str, Case]) -> str:
    blocks: list[str] = []
    total = sum(len(reckoning.unexpected) for _, reckoning in runs)
    for record, reckoning in runs:
        shown = sorted(reckoning.unexpected, key=lambda result: result.case not in record.reproducers)[
            :_MOST_FAILURES
        ]
        blocks += [_failure(record, result, known.get(result.case)) for result in shown]
    says = (
        "None."
        if not total
        else f"{total:,} in all; each opens to what was asked, and to a script where it was shrunk."
    )
    return section("Failures", says, *blocks, name="failures")


def _failure(record: RunRecord, result: Result, case: Case | None) -> str:
    lines = [
        ("stack", text(record.header.backend)),
        ("check", text(result.check)),
        ("what", text(result.detail)),
    ]
    if result.at is not None and result.got is not None:
        lines.append(
            ("worst element", text(f"at {list(result.at)}: {result.got}, expected {result.expected}"))
        )
    if result.error is not None:
        lines.append(("error over its bound", "∞" if math.isinf(result.error) else f"{result.error:.3g}"))
    if case is not None:
        definition = DEFINITIONS[case.op]
        lines += [
            ("there to catch", text(case.edge)),
            ("extents of", text(case.geometry)),
            (
                "operator",
                f"<code>{text(definition.name)}</code> &nbsp; <code>{text(definition.formula)}</code>",
            ),
        ]
        if case.provenance:
            lines.append(("seen before", ", ".join(map(thread, case.provenance))))
    inside = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines)
    script = record.reproducers.get(result.case)
    code = f'<div class="script"><button>copy</button><pre>{text(script)}</pre></div>' if script else ""
    return (
        f"<details><summary>{chip(str(result.verdict))}<span>{text(record.header.backend)}</span>"
        f'<span class="id">{text(result.case)}</span>'
        f'<span class="what">{text(result.detail)}</span></summary>'
        f'<div class="inside"><dl>{inside}</dl>{code}</div></details>'
    )


def _known(runs: Sequence[Run], known: dict[str, Case]) -> str:
    blocks: list[str] = []
    passed: list[list[str]] = []
    for record, reckoning in runs:
        for (reason, verdict, since, address), pairs in by_reason(reckoning.expected).items():
            blocks.append(_reason(record, known, pairs, (reason, verdict, since, address)))
        passed += [
            [text(record.header.backend), f'<span class="id">{text(result.case)}</span>', text(entry.reason)]
            for result, entry in reckoning.passed
        ]
    parts = ""
    if blocks:
        says = "What the ledgers say of these stacks; each opens to its cases, and to a script where one was shrunk."
        parts += section("Known to fail", says, *blocks)
    if passed:
        says = "To be taken out of the ledger."
        parts += section("Said to fail, and passed", says, table(["stack", "case", "why"], passed))
    return parts


def _reason(
    record: RunRecord,
    known: dict[str, Case],
    pairs: Sequence[tuple[Result, Entry]],
    told: tuple[str, str, str, str],
) -> str:
    reason, verdict, since, address = told
    globs = dict.fromkeys(entry.cases for _, entry in pairs)
    lines = [
        ("thread", link(address) if address else "none found"),
        ("since", text(since)),
        ("cases", " ".join(f'<span class="id">{text(glob)}</span>' for glob in globs)),
    ]
    inside = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines)
    results = sorted((result for result, _ in pairs), key=lambda each: each.case not in record.reproducers)
    shown = "".join(_failure(record, each, known.get(each.case)) for each in results[:_MOST_SHOWN])
    count = f"{len(pairs):,} case{'s' if len(pairs) > 1 else ''}"
    return (
        f"<details><summary>{chip(verdict)}<span>{text(record.header.backend)}</span><span>{text(reason)}</span>"
        f'<span class="what">{count}</span></summary>'
        f'<div class="inside"><dl>{inside}</dl>{shown}</div></details>'
    )


def _switches(runs: Sequence[Run]) -> str:
    seen = [facts(record) for record, _ in runs]
    names = [name for name in SWITCHES if any(name in each for each in seen)]
    rows = [
        [
            f"{text(SWITCHES[name].question)}<br><code class='quiet'>{name}</code>",
            *(_answers(each.get(name)) for each in seen),
        ]
        for name in names
    ]
    return table(["question", *(record.header.backend for record, _ in runs)], rows)


def _relations(runs: Sequence[Run]) -> str:
    seen = [facts(record) for record, _ in runs]
    every = {name for each in seen for name in each if name.partition(":")[0] in RELATIONS}
    rows = [
        [f"<code>{text(name)}</code>", *(_answers(each.get(name)) for each in seen)] for name in sorted(every)
    ]
    return table(["relation", *(record.header.backend for record, _ in runs)], rows)


def _answers(counts: dict[str, int] | None) -> str:
    if not counts:
        return '<span class="quiet">–</span>'
    return "<br>".join(
        f"{text(answer)} <span class='quiet'>×{count}</span>" for answer, count in counts.items()
    )


def _cases(runs: Sequence[Run]) -> str:
    stacks = "".join(
        f'<option value="{at}">{text(record.header.backend)}</option>' for at, (record, _) in enumerate(runs)
    )
    verdicts = "".join(f"<option>{verdict}</option>" for verdict in Verdict)
    heads = ["case", *(["stack"] if len(runs) > 1 else []), "verdict", "error", "what"]
    top = "".join(f"<th>{head}</th>" for head in heads)
    return section(
        "Every case",
        "The error is the largest over its bound: what passes is at most 1.",
        '<div class="controls"><input id="text" type="search" placeholder="words of an id or a detail" '
        'aria-label="words"><select id="stack" aria-label="stack"><option value="">every stack</option>'
        f'{stacks}</select><select id="verdict" aria-label="verdict"><option value="">every verdict</option>'
        f'{verdicts}</select></div><p class="quiet" id="count"></p>'
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody id="rows"></tbody></table></div>',
        name="cases",
    )


def _tuples(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(name for record, _ in runs for name in record.header.stack))
    rows: list[list[str]] = []
    for name in names:
        values = [record.header.stack.get(name, "–") for record, _ in runs]
        kind = "differs" if len(set(values)) > 1 else ""
        rows.append(
            [
                f"<code>{text(name)}</code>",
                *(f'<span class="{kind}">{text(value)}</span>' for value in values),
            ]
        )
    rows.append(["digest", *(f"<code>{record.header.stack_sha256[:24]}</code>" for record, _ in runs)])
    return table(["element", *(record.header.backend for record, _ in runs)], rows)


def _reading() -> str:
    words = [
        (
            chip("PASS"),
            "within the bound of its error, of the right dtype, shape and special values, the same twice",
        ),
        (chip("DEVIATES"), "right under other semantics, or in a lower class of precision than asked for"),
        (chip("WRONG"), "beyond what rounding can explain"),
        (
            f"{chip('ERROR')} {chip('CRASH')} {chip('TIMEOUT')}",
            "raised, died or hung; each cost its own case and no other",
        ),
        (chip("FALLBACK"), "computed elsewhere than on the device under test"),
        (chip("INCONCLUSIVE"), "the bound is too wide to tell"),
        (chip("UNSUPPORTED"), "the stack does not offer it"),
    ]
    return section(
        "How to read it",
        "Each answer is held against float64 or exact integers. How far it may be off is derived from the inputs: "
        "unit roundoffs, the length of sums, their conditioning. Nothing is a chosen tolerance.",
        table(["verdict", "means"], [[left, text(right)] for left, right in words]),
    )


def _data(runs: Sequence[Run]) -> str:
    rows = [
        [
            at,
            result.case,
            str(result.verdict),
            result.check,
            None if result.error is None else result.error if math.isfinite(result.error) else "beyond",
            result.detail,
        ]
        for at, (record, _) in enumerate(runs)
        for result in record.results
    ]
    content = {"stacks": [record.header.backend for record, _ in runs], "rows": rows}
    safe = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    return f'<script type="application/json" id="data">{safe}</script>'
