"""What all tests share: the switch that rewrites golden files, and how hard Hypothesis tries."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# A probe of the tester's own machine must not enter what is tested.
os.environ.setdefault("DOUGONG_STATE", str(Path(tempfile.gettempdir()) / "dougong-tests-state"))

settings.register_profile("dev", max_examples=40, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the golden files instead of comparing"
    )
