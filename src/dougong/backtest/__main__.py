"""Run published cases through the planner: ``python -m dougong.backtest FILE_OR_FOLDER [--json]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dougong.backtest.accuracy import accuracy_page
from dougong.backtest.questions import PlanPredictor
from dougong.backtest.reader import read_cases
from dougong.backtest.run import run, to_json
from dougong.catalog.store import Catalog
from dougong.errors import InputError


def main(arguments: Sequence[str]) -> int:
    """Print the accuracy page, or JSON; rows that cannot be read go to stderr."""
    places = [Path(word) for word in arguments if word != "--json"]
    if not places:
        sys.stderr.write("usage: python -m dougong.backtest FILE_OR_FOLDER... [--json]\n")
        return 2
    try:
        files = [read_cases(place) for place in places]
        cases = [case for file in files for case in file.cases]
        predictor = PlanPredictor(Catalog.open())
        predictor.prepare(cases)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for file in files:
        sys.stderr.writelines(f"{file.path}: {fault}\n" for fault in file.faults)
    outcomes = run(cases, predictor)
    text = (
        json.dumps(to_json(outcomes), indent=1) if "--json" in arguments else accuracy_page(cases, outcomes)
    )
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    return 2 if any(file.faults for file in files) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
