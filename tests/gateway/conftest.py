from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from dougong.testing.fake_answers import Script
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import Served


@pytest.fixture(scope="session")
def one_engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def engine(one_engine: FakeEngine) -> FakeEngine:
    """An engine that many tests share; each begins with the plain script."""
    one_engine.script(**dataclasses.asdict(Script()))
    return one_engine


@pytest.fixture
def served(engine: FakeEngine) -> Iterator[Served]:
    with Served(engine.url) as gateway:
        yield gateway
