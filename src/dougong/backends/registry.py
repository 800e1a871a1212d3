"""Which backends there are, and how each is started: entry points, and a file that names an interpreter per backend.

``~/.config/dougong/backends.toml``::

    [backends.onnxruntime]
    python = "/opt/ort/bin/python"              # an environment that has the stack, numpy and ml_dtypes
    entry  = "our_package.backend:Backend"      # only where no package here offers it
    environment = { OMP_NUM_THREADS = "4" }
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from dougong.errors import EnvironmentLacking, InputError, UnknownId
from dougong.places import config_dir
from dougong.plugins import discover

GROUP = "dougong.backends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to start a backend.

    Attributes
    ----------
    entry
        The object that makes it: ``module:attribute``.
    argument
        What it is made of: the rest of its name (``cpu`` of ``torch-cpu``), or nothing.
    python
        The interpreter whose environment has the stack.
    """

    name: str
    entry: str
    argument: str = ""
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def registry_file() -> Path:
    """Return where the user's registry is."""
    return config_dir() / "backends.toml"


def recipe(name: str, *, python: str | None = None, file: Path | None = None) -> Recipe:
    """Find how to start a backend.

    Parameters
    ----------
    name
        As on the command line: the name of an entry point, or one and what follows a dash: ``torch-npu:1``.
    python
        Another interpreter than the registry's or this one.

    Raises
    ------
    UnknownId
        With near names.
    EnvironmentLacking
        Where the interpreter is not there.
    """
    own = _own(file or registry_file())
    offers = {offer.name: offer.value for offer in discover(GROUP).values()}
    head = _head(name, {*own, *offers})
    mine = own.get(name, own.get(head, {}))
    entry = str(mine.get("entry", offers.get(head, "")))
    if not head or not entry:
        known = sorted({*own, *offers})
        raise UnknownId(
            "backend", name, known, hint=f"there are: {', '.join(known)} (torch-DEVICE for any device)"
        )
    made = Recipe(
        name=name,
        entry=entry,
        argument=name[len(head) + 1 :],
        python=python or str(mine.get("python", sys.executable)),
        environment={str(key): str(value) for key, value in mine.get("environment", {}).items()},
    )
    if not Path(made.python).exists():
        raise EnvironmentLacking(
            f"{name}: there is no interpreter {made.python!r}", hint="name one with --python PATH"
        )
    return replace(made, python=str(Path(made.python)))


def names(file: Path | None = None) -> dict[str, str]:
    """List the backends there are, each with who offers it."""
    offered = {offer.name: offer.package for offer in discover(GROUP).values()}
    return {**offered, **{name: str(file or registry_file()) for name in _own(file or registry_file())}}


def _head(name: str, known: set[str]) -> str:
    parts = name.split("-")
    heads = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((head for head in heads if head in known), "")


def _own(file: Path) -> dict[str, dict[str, Any]]:
    if not file.is_file():
        return {}
    try:
        read = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from error
    backends = cast(object, read.get("backends", {}))
    if not isinstance(backends, dict) or not all(
        isinstance(each, dict) for each in cast("dict[str, object]", backends).values()
    ):
        raise InputError(f"{file}: [backends.NAME] tables are wanted")
    return cast("dict[str, dict[str, Any]]", backends)
