"""The battery for adapters tells what an adapter breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from dougong.backends import Answer, Call, Unsupported
from dougong.backends.reference.backend import ReferenceBackend
from dougong.testing import check_backend


class Small(ReferenceBackend):
    """Two operators of the reference; the honest start of an adapter."""

    def run(self, call: Call) -> Answer:
        if call.op not in ("linear", "softmax"):
            raise Unsupported(call.op)
        return super().run(call)


class Silent(Small):
    def describe(self) -> Mapping[str, str]:
        return {"framework": "x"}


class Writing(Small):
    def run(self, call: Call) -> Answer:
        answer = super().run(call)
        next(iter(call.inputs.values()))[...] = 0
        return answer


class Elsewhere(Small):
    def run(self, call: Call) -> Answer:
        return replace(super().run(call), device="npu:0")


class Knowing(Small):
    def run(self, call: Call) -> Answer:
        if call.op == "no_such_operator":
            return Answer(outputs={"y": np.zeros(1)}, device="cpu")
        return super().run(call)


def test_an_adapter_that_keeps_it_has_no_faults() -> None:
    assert check_backend(Small) == []
    assert check_backend(Small, operators=3) == ["it offers 2 operators, and 3 are wanted"]


@pytest.mark.parametrize(
    ("adapter", "says"),
    [(Silent, "device"), (Writing, "wrote to"), (Elsewhere, "computed on 'npu:0'"), (Knowing, "cannot know")],
)
def test_each_breach_is_told(adapter: type[Small], says: str) -> None:
    assert any(says in fault for fault in check_backend(adapter)), check_backend(adapter)
