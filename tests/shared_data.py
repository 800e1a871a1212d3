"""Where the optional folder of big published files lies, if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(*parts: str) -> Path:
    """Return a path in the folder, or skip the test that asked."""
    beside = Path(__file__).parent.parent.parent / "shared" / "data"
    path = Path(os.environ.get("DOUGONG_SHARED_DATA", beside)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path.name} is not here; set DOUGONG_SHARED_DATA to the folder that holds it")
    return path
