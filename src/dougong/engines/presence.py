"""Finds out whether packages and programs are here, without importing any of them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata

from dougong.engines.port import Presence


def look_for(
    modules: Mapping[str, str],
    *,
    version_of: str | None = None,
    programs: Sequence[str] = (),
    remedy: str,
) -> Presence:
    """Say whether modules and programs are found here.

    Parameters
    ----------
    modules
        Top-level module -> the distribution that brings it.
    version_of
        The distribution whose version is told.
    programs
        Names that must be on the search path.
    remedy
        How to get what is lacking.
    """
    lacking = [package for module, package in modules.items() if not has_module(module)]
    lacking += [program for program in programs if shutil.which(program) is None]
    version = version_of and distribution_version(version_of)
    return Presence(
        here=not lacking, version=version, lacking=tuple(lacking), remedy=remedy if lacking else ""
    )


def has_module(name: str) -> bool:
    """Say whether a top-level module would be found."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def distribution_version(name: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
