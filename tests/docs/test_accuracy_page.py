"""The accuracy page is what its data draw, and every miss it names is looked into."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dougong.backtest.misses import worst
from dougong.backtest.results import read

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    spec = importlib.util.spec_from_file_location("accuracy_page", DOCS / "accuracy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(DOCS))
    return module


def test_the_page_is_what_its_data_draw(accuracy: ModuleType) -> None:
    assert accuracy.PAGE.read_text(encoding="utf-8") == accuracy.page(read(accuracy.RESULTS)), (
        "run: make docs"
    )
    assert accuracy.PICTURE.stat().st_size > 50_000


def test_every_miss_on_the_page_is_looked_into(accuracy: ModuleType) -> None:
    missing = [miss.held.case.id for miss in worst(read(accuracy.RESULTS), accuracy.causes()) if not miss.why]
    assert not missing, f"say in docs/data/causes.toml what is wrong with {missing}"


def test_answers_of_the_peer_are_of_one_version_and_of_rows_on_the_page(accuracy: ModuleType) -> None:
    rows = accuracy.peer.read()
    assert len({row["version"] for row in rows}) == 1
    assert all(bool(row["tpot_ms"]) != bool(row["error"]) for row in rows)
    known = {item.case.id for item in read(accuracy.RESULTS).held}
    assert {row["id"] for row in rows} <= known
