"""``python -m dougong.measure.probe.child LIBRARY``: measures one library and prints a row per line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; what is lacking here is printed as a line of its own."""
    parser = argparse.ArgumentParser(prog="python -m dougong.measure.probe.child")
    parser.add_argument("library", choices=("numpy", "ggml", "torch"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    told = parser.parse_args(arguments)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(told.threads)  # read when the library is loaded, just below

    from dougong.errors import EnvironmentLacking

    try:
        if told.library == "numpy":
            from dougong.measure.probe import numpy_ops

            rows = numpy_ops.measure(told.threads, quick=told.quick)
        elif told.library == "ggml":
            from dougong.measure.probe import ggml_ops

            rows = ggml_ops.measure(told.threads, quick=told.quick)
        else:
            from dougong.measure.probe import torch_ops

            rows = torch_ops.measure(told.threads, quick=told.quick, device=told.device)
        for row in rows:
            print(json.dumps(asdict(row)), flush=True)  # noqa: T201
        if told.library == "torch":
            from dougong.measure.probe.torch_ops import about

            print(json.dumps({"about": about(told.device)}), flush=True)  # noqa: T201
    except EnvironmentLacking as lacking:
        print(json.dumps({"lacking": lacking.message, "hint": lacking.hint}), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
