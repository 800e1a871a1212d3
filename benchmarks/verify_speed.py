"""How long a profile takes on a backend, beside the floor: the same calls run by the stack alone, in one process.

``python benchmarks/verify_speed.py [--backend torch-cpu] [--profile smoke]``: prints both and their ratio. What the
ratio holds is making the inputs, the float64 oracle, the bounds, two more runs for determinism, and the pipes.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dougong.backends.registry import recipe
from dougong.backends.worker import make
from dougong.verify.run import Request, run, selected
from dougong.verify.semantics import SEMANTICS


def floor_s(backend: str, profile: str) -> float:
    """Seconds that the stack needs for the calls alone; making them is not counted."""
    how = recipe(backend)
    stack, total = make(how.name, how.entry, how.argument), 0.0
    for case in selected(profile):
        call = case.call(0)
        start = time.perf_counter()
        with suppress(Exception):  # where raising is right, that is the answer
            stack.run(call)
        total += time.perf_counter() - start
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="torch-cpu")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--jobs", type=int, default=2)
    words = parser.parse_args()
    start = time.perf_counter()
    record = run(
        Request(
            recipe=recipe(words.backend), semantics=SEMANTICS["llm-strict"], profile=words.profile,
            jobs=words.jobs, reproducers=0,
        )
    )  # fmt: skip
    whole = time.perf_counter() - start
    alone = floor_s(words.backend, words.profile)
    print(f"{words.backend} {words.profile}: {record.header.cases} cases, {record.counts()}")
    print(
        f"whole run {whole:.1f} s with {words.jobs} jobs; the calls alone {alone:.1f} s; ratio {whole / alone:.1f}"
    )
    print(f"{1000 * whole / record.header.cases:.1f} ms a case")


if __name__ == "__main__":
    main()
