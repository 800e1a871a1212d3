"""Where things are kept between runs: one folder for what can be fetched again, one for logs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder of models: ``DOUGONG_CACHE``, else the platform's own cache folder."""
    if told := os.environ.get("DOUGONG_CACHE"):
        return Path(told).expanduser()
    return _folder("XDG_CACHE_HOME", ".cache", "Library/Caches") / "dougong"


def state_dir() -> Path:
    """Return the folder of logs and records: ``DOUGONG_STATE``, else the platform's own state folder."""
    if told := os.environ.get("DOUGONG_STATE"):
        return Path(told).expanduser()
    return _folder("XDG_STATE_HOME", ".local/state", "Library/Application Support") / "dougong"


def _folder(variable: str, elsewhere: str, mac: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / mac
    told = os.environ.get(variable, "")
    return Path(told) if Path(told).is_absolute() else Path.home() / elsewhere
