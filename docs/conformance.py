"""Writes docs/conformance.md from runs of one suite on several stacks.

``python docs/conformance.py RUN.jsonl…`` takes what the page needs from the runs (docs/data/conformance.json) and
writes it; without files it writes the page again, and ``--check`` says whether it is current.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from dougong.ops.definition import FAMILIES
from dougong.verify.records import RunRecord, family_of, read_run

HERE = Path(__file__).parent
DATA, PAGE = HERE / "data" / "conformance.json", HERE / "conformance.md"
FAILURES = ("DEVIATES", "WRONG", "ERROR", "CRASH", "TIMEOUT", "FALLBACK")
NOT_ASKED = ("UNSUPPORTED", "NOT-RUN")
PRECISION_FAMILIES = ("gemm", "norm", "rope", "attention", "paged_attention", "softmax", "reduction", "moe")
HEAD = """# Conformance of stacks

The operators of a language model, each held against float64, on the stacks that run on one CPU.
Same suite, same profile, same seed: a number of one column may be held against that of another.
What a stack does not offer, or what its adapter has no words for, is counted beside and never as passed.
A run that was cut short counts the rest as NOT-RUN.

A precision class is told by the values, not by the name of the dtype (see [nomenclature](concepts/nomenclature.md)).
Defects are told one by one in [findings](findings.md).
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
        "sha256": record.sha256,
        "counts": record.counts(),
        "families": record.by_family(),
        "precision": dict(precision.most_common()),
        "facts": {switch: dict(found.most_common()) for switch, found in sorted(facts.items())},
    }


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _cell(counts: dict[str, int]) -> str:
    """Passed of asked; what failed in brackets."""
    asked = sum(count for verdict, count in counts.items() if verdict not in NOT_ASKED)
    if not asked:
        return "–"
    failed = sum(counts.get(verdict, 0) for verdict in FAILURES)
    return f"{counts.get('PASS', 0)} of {asked}" + (f" **({failed})**" if failed else "")


def page(runs: list[dict[str, Any]]) -> str:
    """Return the page."""
    names = [run["backend"] for run in runs]
    first = runs[0]
    parts = [
        HEAD,
        f"Suite {first['suite']} (`{first['suite_sha256'][:12]}`), profile {first['profile']}, "
        f"{first['cases']:,} cases, semantics {first['semantics']}, seed {first['seed']}, {first['started']}.\n",
        "## Verdicts\n",
    ]
    verdicts = ["PASS", *FAILURES, "INCONCLUSIVE", *NOT_ASKED]
    verdicts = [name for name in verdicts if any(run["counts"].get(name) for run in runs)]
    rows = [
        [f"{run['backend']}", _version(run), *(str(run["counts"].get(name, 0) or "") for name in verdicts)]
        for run in runs
    ]
    parts.append(_table(["backend", "version", *verdicts], rows))
    parts += ["## Families\n", "Passed of those that were computed; in brackets, how many fail.\n"]
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
    parts += [
        "## Precision\n",
        "Cases of float operators by the best class that explains their values; `none`: no class does.\n",
    ]
    classes = sorted(
        {name for run in runs for name in run["precision"]}, key=lambda name: (name != "native", name)
    )
    parts.append(
        _table(
            ["class", *names],
            [[name, *(str(run["precision"].get(name, "")) for run in runs)] for name in classes],
        )
    )
    parts += ["## Where specifications are silent\n", "What each stack was seen to do.\n"]
    switches = sorted({name for run in runs for name in run["facts"]})
    parts.append(
        _table(
            ["question", *names],
            [
                [f"`{name}`", *(", ".join(run["facts"].get(name, {})) or "–" for run in runs)]
                for name in switches
            ],
        )
    )
    parts += ["## Stacks\n"]
    parts.append(
        _table(
            ["backend", "stack", "digest of the stack", "digest of the run"],
            [
                [
                    run["backend"],
                    ", ".join(f"{key} {value}" for key, value in run["stack"].items() if key != "kernel"),
                    f"`{run['stack_sha256'][:12]}`",
                    f"`{run['sha256'][:12]}`",
                ]
                for run in runs
            ],
        )
    )
    return "\n".join(parts)


def _version(run: dict[str, Any]) -> str:
    stack = run["stack"]
    name = stack.get("framework", "")
    return str(stack.get(name) or stack.get(f"{name}-base-compiler") or stack.get("dougong", "")).partition(
        "-"
    )[0]


def main() -> int:
    """Take runs in, write the page, or check it."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("runs", nargs="*", metavar="RUN.jsonl")
    words.add_argument("--check", action="store_true", help="say whether the page is what the data say")
    given = words.parse_args()
    if given.runs:
        found = [summary(read_run(Path(run))) for run in given.runs]
        keys = ("suite_sha256", "profile", "semantics", "seed")
        if len({tuple(run[key] for key in keys) for run in found}) > 1:
            print("these runs are not of one suite, profile, semantics and seed", file=sys.stderr)
            return 2
        DATA.write_text(json.dumps({"schema": 1, "runs": found}, indent=1) + "\n", encoding="utf-8")
    text = page(json.loads(DATA.read_text(encoding="utf-8"))["runs"])
    if given.check:
        current = PAGE.read_text(encoding="utf-8") == text
        print("docs/conformance.md is current" if current else "docs/conformance.md is not what the data say")
        return 0 if current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
