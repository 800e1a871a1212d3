"""Backends that do what no backend should; run in processes of their own."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dougong.backends import Answer, Array, Call, Unsupported
from dougong.backends.reference.backend import ReferenceBackend
from dougong.errors import EnvironmentLacking


class Hostile(ReferenceBackend):
    """Honest, except where the call has seven rows."""

    def __init__(self, how: str) -> None:
        if how == "lacking":
            raise EnvironmentLacking("there is no chip", hint="buy one")
        self.how, self.runs = how, -1
        self.buffers: dict[tuple[int, ...], Array] = {}

    def describe(self) -> Mapping[str, str]:
        return {**super().describe(), "device": "npu" if self.how == "lies" else "cpu"}

    def run(self, call: Call) -> Answer:
        answer = super().run(call)
        if len(call.inputs["x"]) != 7:
            return replace(answer, device="npu") if self.how == "lies" else answer
        return getattr(self, f"do_{self.how}")(call, answer)

    def do_raises(self, call: Call, answer: Answer) -> Answer:
        raise RuntimeError("kernel launch failed")

    def do_unsupported(self, call: Call, answer: Answer) -> Answer:
        raise Unsupported("no rows of seven")

    def do_hangs(self, call: Call, answer: Answer) -> Answer:
        time.sleep(3600)
        return answer

    def do_segfaults(self, call: Call, answer: Answer) -> Answer:
        ctypes.string_at(0)
        return answer

    def do_leaves(self, call: Call, answer: Answer) -> Answer:
        os._exit(0)

    def do_exits(self, call: Call, answer: Answer) -> Answer:
        sys.exit(3)

    def do_prints(self, call: Call, answer: Answer) -> Answer:
        os.write(1, b"noise\n" * 100_000)
        sys.stdout.write("more noise\n")
        return answer

    def do_grows(self, call: Call, answer: Answer) -> Answer:
        kept = []
        while True:
            kept.append(np.ones(1 << 22))
            time.sleep(0.002)

    def do_dtype(self, call: Call, answer: Answer) -> Answer:
        return replace(answer, outputs={"y": answer.outputs["y"].astype(np.float64)})

    def do_shape(self, call: Call, answer: Answer) -> Answer:
        return replace(answer, outputs={"y": answer.outputs["y"][:, :-1]})

    def do_missing(self, call: Call, answer: Answer) -> Answer:
        return replace(answer, outputs={})

    def do_mutates(self, call: Call, answer: Answer) -> Answer:
        call.inputs["x"][-1, -1] += 1
        return answer

    def do_overruns(self, call: Call, answer: Answer) -> Answer:
        x = call.inputs["x"]
        end = x.ctypes.data + x.nbytes
        ctypes.memset(end + 8, 0, 4)
        return answer

    def do_reuses(self, call: Call, answer: Answer) -> Answer:
        y = answer.outputs["y"]
        buffer = self.buffers.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return replace(answer, outputs={"y": buffer})

    def do_wavers(self, call: Call, answer: Answer) -> Answer:
        y = answer.outputs["y"]
        self.runs += 1
        y[0, 0] = np.nextafter(y[0, 0], np.float32(99 if self.runs < 2 else -99))
        return answer

    def do_lies(self, call: Call, answer: Answer) -> Answer:
        return answer

    def do_falls(self, call: Call, answer: Answer) -> Answer:
        return replace(answer, fallback="linear ran on the CPU")
