"""Every published case of the repository, predicted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dougong.backtest import CaseFile, Outcome, read_cases, run
from dougong.backtest.questions import PlanPredictor
from dougong.catalog.store import Catalog

FOLDER = Path(__file__).parent / "cases"


@pytest.fixture(scope="session")
def records() -> CaseFile:
    return read_cases(FOLDER)


@pytest.fixture(scope="session")
def outcomes(records: CaseFile) -> list[Outcome]:
    predictor = PlanPredictor(Catalog.open())
    predictor.prepare(records.cases)
    return run(records.cases, predictor)
