"""One operator, one name: no family takes another's."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter

import dougong.ops.definitions as definitions


def test_no_two_operators_share_a_name() -> None:
    modules = [
        importlib.import_module(f"{definitions.__name__}.{found.name}")
        for found in pkgutil.iter_modules(definitions.__path__)
    ]
    names = Counter(each.name for module in modules for each in getattr(module, "DEFINITIONS", ()))
    assert [name for name, count in names.items() if count > 1] == []
    assert set(names) <= set(definitions.DEFINITIONS)
