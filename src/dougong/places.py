"""Where things are kept between runs: what can be fetched again, what was measured and logged, what a user chose."""

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


def config_dir() -> Path:
    """Return the folder of what a user chose: the same ``~/.config`` on every platform, or XDG's."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "dougong"


def _folder(variable: str, elsewhere: str, mac: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / mac
    return _xdg(variable, elsewhere)


def _xdg(variable: str, elsewhere: str) -> Path:
    told = os.environ.get(variable, "")  # the specification: a path that is not absolute is ignored
    return Path(told) if Path(told).is_absolute() else Path.home() / elsewhere
