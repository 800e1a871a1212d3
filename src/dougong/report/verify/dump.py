"""Runs and trials as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dougong.verify.ledger import Reckoning
from dougong.verify.mutation import Trial
from dougong.verify.records import RunRecord, result_to_json


def dump_run(record: RunRecord, reckoning: Reckoning) -> dict[str, Any]:
    """Return a run, held against its ledgers; every failure in full."""
    header = {key: value for key, value in record.header.to_json().items() if key not in ("kind", "schema")}
    return {
        "kind": "run",
        **header,
        "conforms": reckoning.conforms,
        "as_known": reckoning.as_known,
        "finished": reckoning.finished,
        "counts": record.counts(),
        "families": record.by_family(),
        "mutation": dict(record.mutation),
        "seconds": round(record.seconds, 3),
        "failures": [result_to_json(result) for result in reckoning.unexpected],
        "expected_failures": [
            {**result_to_json(result), "reason": entry.reason, "link": entry.link, "since": entry.since}
            for result, entry in reckoning.expected
        ],
        "unexpected_passes": [
            {"case": result.case, "cases": entry.cases, "reason": entry.reason}
            for result, entry in reckoning.passed
        ],
        "facts": facts(record),
    }


def dump_trials(found: Sequence[Trial], total: Mapping[str, object]) -> dict[str, Any]:
    """Return what became of every mutant."""
    return {
        "kind": "mutants",
        **total,
        "trials": [
            {
                "mutant": trial.mutant.name,
                "fault": trial.mutant.fault,
                "caught_by": trial.caught.case if trial.caught else None,
                "verdict": str(trial.caught.verdict) if trial.caught else None,
                "check": trial.caught.check if trial.caught else None,
                "tried": trial.tried,
            }
            for trial in found
        ],
    }


def facts(record: RunRecord) -> dict[str, dict[str, int]]:
    """Count, by switch or relation, how the stack was seen to answer."""
    found: dict[str, dict[str, int]] = {}
    for result in record.results:
        for name, answer in result.facts.items():
            counts = found.setdefault(name, {})
            counts[answer] = counts.get(answer, 0) + 1
    return {name: dict(sorted(counts.items())) for name, counts in sorted(found.items())}
