"""Examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import dougong
from dougong.errors import EnvironmentLacking

MODULES = [
    info.name
    for info in pkgutil.walk_packages(dougong.__path__, "dougong.")
    if not info.name.endswith("__main__") and ".report.pictures" not in info.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except EnvironmentLacking as lacking:
        pytest.skip(lacking.message)
    assert doctest.testmod(module).failed == 0
