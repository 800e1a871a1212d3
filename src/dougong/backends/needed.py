"""Imports of a stack that may not be here."""

from __future__ import annotations

import importlib
import os
from typing import Any

from dougong.errors import EnvironmentLacking


def needed(module: str, pip: str) -> Any:
    """Import a module of a stack.

    Parameters
    ----------
    pip
        What to install it by: ``apache-tvm onnx``.

    Raises
    ------
    EnvironmentLacking
        Where it is not here or does not load, with how to get it.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise EnvironmentLacking(
            f"{module} does not load: {error}",
            hint=f"pip install {pip}, or name its interpreter with --python PATH",
        ) from error


def threads() -> int:
    """Return how many threads the runner grants, by the usual variable of the environment."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) else 1
