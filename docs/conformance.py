"""Writes docs/conformance.md from runs of one suite on several stacks.

``python docs/conformance.py RUN.jsonl…`` takes what the page needs from the runs (docs/data/conformance.json) and
writes it; a run replaces the one of its profile and backend, and ``--afresh`` forgets all others first. Without files
it writes the page again, and ``--check`` says whether it is current.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from dougong.ops.definition import FAMILIES
from dougong.verify.case import PROFILES
from dougong.verify.edition import suite_digest
from dougong.verify.ledger import reckon, shipped
from dougong.verify.records import RunRecord, family_of, read_run
from dougong.verify.run import selected
from dougong.verify.verdict import Result

HERE = Path(__file__).parent
DATA, PAGE = HERE / "data" / "conformance.json", HERE / "conformance.md"
FAILURES = ("DEVIATES", "WRONG", "ERROR", "CRASH", "TIMEOUT", "FALLBACK")
NOT_ASKED = ("UNSUPPORTED", "NOT-RUN")
PRECISION_FAMILIES = ("gemm", "norm", "rope", "attention", "paged_attention", "softmax", "reduction", "moe")
UNSAID = re.compile(
    r"has no ONNX graph|is not written|^\S+ has no \w+$|^a weight with an offset|^not captured"
)
DTYPES = ("bfloat16", "float16", "float32", "float8_e4m3fn", "float8_e5m2")
HEAD = """# Conformance of stacks

The operators of a language model, each held against float64, on the stacks that run on one CPU.
Within a table suite, profile and seed are the same: a number of one column may be held against that of another.
What a stack does not offer, or what its adapter has no words for, is counted beside and never as passed.

A precision class is told by the values, not by the name of the dtype (see [nomenclature](concepts/nomenclature.md)).
Defects are told one by one in [findings](findings.md); a failure that no ledger knows is counted as *new*.
This page is written by `python docs/conformance.py RUN.jsonl…` from files of `dougong verify ops --out`;
`dougong verify report RUN.jsonl… --html FILE` shows the same runs case by case.
"""


def summary(record: RunRecord) -> dict[str, Any]:
    """Take from a run what the page needs."""
    precision: Counter[str] = Counter()
    facts: dict[str, Counter[str]] = {}
    for result in record.results:
        if family_of(result.case) in PRECISION_FAMILIES and result.error is not None:
            precision[result.precision or "none"] += 1
        for switch, answer in result.facts.items():
            if " " not in answer:
                facts.setdefault(switch, Counter())[answer] += 1
    header = record.header
    return {
        "backend": header.backend,
        "stack": dict(header.stack),
        "stack_sha256": header.stack_sha256,
        "suite": header.suite,
        "suite_sha256": header.suite_sha256,
        "profile": header.profile,
        "semantics": header.semantics,
        "seed": header.seed,
        "cases": header.cases,
        "started": header.started[:10],
        "seconds": round(sum(result.seconds for result in record.results)),
        "sha256": record.sha256,
        "counts": record.counts(),
        # Of an earlier suite verdicts may be others, and the ledgers are of this one.
        "new": len(reckon(record, shipped()).unexpected) if header.suite_sha256 == suite_digest() else None,
        "families": record.by_family(),
        "missing": _missing(record),
        "unsupported": _unsupported(record),
        "precision": dict(precision.most_common()),
        "facts": {switch: dict(found.most_common()) for switch, found in sorted(facts.items())},
    }


def _missing(record: RunRecord) -> dict[str, int]:
    """Cases that were not run, by family."""
    there = {result.case for result in record.results}
    if len(there) == record.header.cases:
        return {}
    if record.header.suite_sha256 != suite_digest():
        raise SystemExit(
            f"{record.header.backend}: not all was run, and the suite is another by now: run it again"
        )
    return dict(Counter(case.family for case in selected(record.header.profile) if case.id not in there))


def _unsupported(record: RunRecord) -> dict[str, dict[str, int]]:
    """Why cases are unsupported: what the adapter does not say by family, what the stack lacks by dtype."""
    unsaid: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    for result in record.results:
        if result.verdict == "UNSUPPORTED":
            if UNSAID.search(result.detail):
                unsaid[family_of(result.case)] += 1
            else:
                lacking[_dtype(result)] += 1
    return {"unsaid": dict(unsaid.most_common()), "lacking": dict(lacking.most_common())}


def _dtype(result: Result) -> str:
    # float8 before float16: a case of a cache or a cast in float8 carries the wider dtype in its id too.
    for narrow in ("float8_e4m3fn", "float8_e5m2", "float8-e4m3fn", "float8-e5m2"):
        if narrow in result.case or narrow.replace("_", "").replace("-", "") in result.detail:
            return "float8"
    last = result.case.rpartition("-")[2]
    return last if last in DTYPES else "integers"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _asked(counts: dict[str, int]) -> int:
    return sum(count for verdict, count in counts.items() if verdict not in NOT_ASKED)


def _cell(counts: dict[str, int]) -> str:
    """Passed of asked; what failed in brackets."""
    asked = _asked(counts)
    if not asked:
        return "–"
    failed = sum(counts.get(verdict, 0) for verdict in FAILURES)
    return f"{counts.get('PASS', 0):,} of {asked:,}" + (f" **({failed:,})**" if failed else "")


def page(runs: list[dict[str, Any]]) -> str:
    """Return the page: each profile by itself, the fullest first."""
    parts = [HEAD]
    if len({run["suite_sha256"] for run in runs}) > 1:
        parts.append(
            "The profiles below were run with different editions of the suite, told by their digests.\n"
        )
    for profile in reversed(PROFILES):
        found = [run for run in runs if run["profile"] == profile]
        if found:
            parts += _profile(profile, found)
    return "\n".join(parts)


def _profile(profile: str, runs: list[dict[str, Any]]) -> list[str]:
    names, first = [run["backend"] for run in runs], runs[0]
    dates = sorted({run["started"] for run in runs})
    title = profile.capitalize()
    parts = [
        f"## {title}: verdicts\n",
        f"Suite {first['suite']} (`{first['suite_sha256'][:12]}`), {first['cases']:,} cases, semantics "
        f"{first['semantics']}, seed {first['seed']}, {' to '.join([dates[0], *dates[1:][-1:]])}.\n",
    ]
    verdicts = ["PASS", *FAILURES, "INCONCLUSIVE", *NOT_ASKED]
    verdicts = [name for name in verdicts if any(run["counts"].get(name) for run in runs)]
    counted = all(run["new"] is not None for run in runs)
    rows = [
        [
            run["backend"],
            _version(run),
            *(f"{run['counts'][name]:,}" if run["counts"].get(name) else "" for name in verdicts),
            *([str(run["new"] or "")] if counted else []),
            f"{run['counts'].get('PASS', 0) / max(1, _asked(run['counts'])):.1%}",
        ]
        for run in runs
    ]
    parts.append(
        _table(["backend", "version", *verdicts, *(["new"] if counted else []), "passed of computed"], rows)
    )
    cut = [run for run in runs if run["missing"]]
    if cut:
        parts.append(
            "Not run, by family: "
            + "; ".join(f"{run['backend']}: {_counted(run['missing'])}" for run in cut)
            + ".\n"
        )
    parts += [f"### {title}: families\n", "Passed of those that were computed; in brackets, how many fail.\n"]
    parts.append(
        _table(
            ["family", *names],
            [
                [says, *(_cell(run["families"].get(family, {})) for run in runs)]
                for family, says in FAMILIES.items()
                if any(family in run["families"] for run in runs)
            ],
        )
    )
    parts += _lacking(title, runs)
    parts += _precision(title, runs)
    parts += _silent(title, runs)
    parts += _stacks(title, runs)
    return parts


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "–"


def _lacking(title: str, runs: list[dict[str, Any]]) -> list[str]:
    rows = [
        [run["backend"], _counted(run["unsupported"]["lacking"]), _counted(run["unsupported"]["unsaid"])]
        for run in runs
        if run["counts"].get("UNSUPPORTED")
    ]
    if not rows:
        return []
    return [
        f"### {title}: what is not supported\n",
        "What the stack has no kernel for, by dtype; and what is not asked of it, by family: several ranks, captured "
        "graphs, numbers drawn from a seed, and what its adapter does not say.\n",
        _table(["backend", "the stack lacks", "not asked of it"], rows),
    ]


def _precision(title: str, runs: list[dict[str, Any]]) -> list[str]:
    found = {name for run in runs for name in run["precision"]}
    classes = sorted(found, key=lambda name: (name != "native", name))
    rows = [[name, *(f"{run['precision'].get(name) or ''}" for run in runs)] for name in classes]
    return [
        f"### {title}: precision\n",
        "Cases of float operators by the best class that explains their values; `none`: no class does.\n",
        _table(["class", *(run["backend"] for run in runs)], rows),
    ]


def _silent(title: str, runs: list[dict[str, Any]]) -> list[str]:
    switches = sorted({name for run in runs for name in run["facts"]})
    rows = [
        [f"`{name}`", *(", ".join(run["facts"].get(name, {})) or "–" for run in runs)] for name in switches
    ]
    return [
        f"### {title}: where specifications are silent\n",
        "What each stack was seen to do.\n",
        _table(["question", *(run["backend"] for run in runs)], rows),
    ]


def _stacks(title: str, runs: list[dict[str, Any]]) -> list[str]:
    """What was run on what: elements that all share are told once."""
    elements = [{key: value for key, value in run["stack"].items() if key != "kernel"} for run in runs]
    shared = {
        key: value for key, value in elements[0].items() if all(each.get(key) == value for each in elements)
    }
    rows = [
        [
            run["backend"],
            ", ".join(f"{key} {value}" for key, value in each.items() if key not in shared),
            run["started"],
            f"{run['seconds']:,}",
            f"`{run['stack_sha256'][:12]}`",
            f"`{run['sha256'][:12]}`",
        ]
        for run, each in zip(runs, elements, strict=True)
    ]
    heads = ["backend", "stack", "date", "seconds of cases", "digest of the stack", "digest of the run"]
    told = f"All on {', '.join(f'{key} {value}' for key, value in shared.items())}.\n"
    return [f"### {title}: stacks\n", told, _table(heads, rows)]


def _version(run: dict[str, Any]) -> str:
    stack = run["stack"]
    name = stack.get("framework", "")
    return str(stack.get(name) or stack.get(f"{name}-base-compiler") or stack.get("dougong", "")).partition(
        "-"
    )[0]


def taken(files: list[str], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put runs in the place of those of their profile and backend; of a profile all must be of one suite."""
    found = {(run["profile"], run["backend"]): run for run in before}
    for file in files:
        run = summary(read_run(Path(file)))
        found[run["profile"], run["backend"]] = run
    for profile in PROFILES:
        kinds = {
            (run["suite_sha256"], run["semantics"], run["seed"])
            for run in found.values()
            if run["profile"] == profile
        }
        if len(kinds) > 1:
            raise SystemExit(
                f"the runs of {profile} are not of one suite, semantics and seed: {sorted(kinds)}"
            )
    return list(found.values())


def main() -> int:
    """Take runs in, write the page, or check it."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("runs", nargs="*", metavar="RUN.jsonl")
    words.add_argument("--afresh", action="store_true", help="forget the runs that the page has")
    words.add_argument("--check", action="store_true", help="say whether the page is what the data say")
    given = words.parse_args()
    runs = json.loads(DATA.read_text(encoding="utf-8"))["runs"]
    if given.runs:
        runs = taken(given.runs, [] if given.afresh else runs)
        DATA.write_text(json.dumps({"schema": 2, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    text = page(runs)
    if given.check:
        current = PAGE.read_text(encoding="utf-8") == text
        print("docs/conformance.md is current" if current else "docs/conformance.md is not what the data say")
        return 0 if current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
