"""Refit the parameters from the shipped facts: ``python -m dougong.calibration``."""

from __future__ import annotations

import sys
from pathlib import Path

from dougong.calibration.facts import load_facts
from dougong.calibration.report import account, chips_toml, parameters_toml, residuals_toml, table


def main() -> None:
    """Print the table of misses and rewrite ``parameters.toml``, ``residuals.toml`` and ``chips.toml``."""
    result = account(load_facts())
    sys.stdout.write(table(result) + "\n")
    for name, text in (
        ("parameters.toml", parameters_toml(result)),
        ("residuals.toml", residuals_toml(result)),
        ("chips.toml", chips_toml(result)),
    ):
        target = Path(__file__).parent / "data" / name
        target.write_text(text, encoding="utf-8")
        sys.stderr.write(f"wrote {target}\n")


if __name__ == "__main__":
    main()
