"""No change makes predictions of published cases worse, or loses one, without saying so.

``pytest tests/published/test_gate.py --update-golden`` writes the present state down as the one to keep.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dougong.backtest import CaseFile, Outcome, spread

BASELINE = Path(__file__).parent / "baseline.json"
ALLOWED = 1.05
"""The median error may grow by this factor; what is due to rounding and reordering stays far below."""


def state(records: CaseFile, outcomes: list[Outcome]) -> dict[str, Any]:
    """Median error over all figures but first tokens, and the cases that are answered."""
    stated = {case.id for case in records.serving if case.use == "validate"}
    told = [item for item in outcomes if item.id in stated and item.predicted is not None]
    return {
        "schema": 1,
        "median_error_frac": spread([item for item in told if item.metric != "ttft_s"]).median_abs,
        "answered": sorted({item.id for item in told}),
    }


def complaints(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What became worse, in sentences."""
    found: list[str] = []
    error, limit = now["median_error_frac"], before["median_error_frac"] * ALLOWED
    if error is None or error > limit:
        found.append(
            f"the median error is {error:.4f}, was {before['median_error_frac']:.4f}: over {limit:.4f}"
        )
    if lost := sorted(set(before["answered"]) - set(now["answered"])):
        found.append(f"{len(lost)} cases are no longer answered: {', '.join(lost)}")
    return found


def test_predictions_are_no_worse_than_written_down(
    records: CaseFile,
    outcomes: list[Outcome],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = state(records, outcomes)
    if request.config.getoption("--update-golden"):
        BASELINE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        with capsys.disabled():
            sys.stdout.write(
                f"\n{BASELINE.name} now says: median error {now['median_error_frac']:.4f}, "
                f"{len(now['answered'])} cases answered; say in the commit why it changed\n"
            )
    found = complaints(now, json.loads(BASELINE.read_text(encoding="utf-8")))
    assert not found, (
        "; ".join(found) + "; if this is meant: pytest tests/published/test_gate.py --update-golden"
    )


def test_the_gate_shuts() -> None:
    before = {"median_error_frac": 0.2, "answered": ["a", "b"]}
    assert complaints(before, before) == []
    assert complaints({"median_error_frac": 0.2099, "answered": ["a", "b", "c"]}, before) == []
    assert "median error" in complaints({"median_error_frac": 0.2101, "answered": ["a", "b"]}, before)[0]
    assert "no longer answered: b" in complaints({"median_error_frac": 0.1, "answered": ["a"]}, before)[0]
