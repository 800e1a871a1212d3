"""Public test doubles and batteries for outsiders: invented records, a battery for adapters, an engine that breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dougong.testing.check_backend import check_backend
from dougong.testing.check_engine import check_engine
from dougong.testing.records import Shelf, dense_model, figure, moe_model, tiny_chip, tiny_system

if TYPE_CHECKING:
    from dougong.testing.fake_engine import FakeEngine

__all__ = [
    "FakeEngine",
    "Shelf",
    "check_backend",
    "check_engine",
    "dense_model",
    "figure",
    "moe_model",
    "tiny_chip",
    "tiny_system",
]


def __getattr__(name: str) -> Any:
    """Import the fake engine when it is asked for: as a child process it is a module that is run."""
    if name != "FakeEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dougong.testing.fake_engine import FakeEngine

    return FakeEngine
