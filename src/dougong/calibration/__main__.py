"""Refit the parameters from the shipped facts: ``python -m dougong.calibration``."""

from __future__ import annotations

import sys
from pathlib import Path

from dougong.calibration.facts import load_facts
from dougong.calibration.report import account, as_toml, table


def main() -> None:
    """Print the table of misses and rewrite ``data/parameters.toml``."""
    result = account(load_facts())
    sys.stdout.write(table(result) + "\n")
    target = Path(__file__).parent / "data" / "parameters.toml"
    target.write_text(as_toml(result), encoding="utf-8")
    sys.stderr.write(f"wrote {target}\n")


if __name__ == "__main__":
    main()
