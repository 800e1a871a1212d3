"""Probes this machine: each library in a child process, rows as they come, then a fit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dougong.errors import EnvironmentLacking
from dougong.measure.probe.device import DeviceProbe, device_of
from dougong.measure.probe.fit import Fitted, fit
from dougong.measure.probe.rows import Row

_FIELDS = frozenset(one.name for one in fields(Row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A probed machine: its rows, what they came to, what was lacking, and the device asked for beside it."""

    rows: Sequence[Row]
    fitted: Fitted
    threads: int
    lacking: Sequence[str]
    device: DeviceProbe | None = None


def probe(
    *,
    threads: int,
    device: str | None = None,
    quick: bool = False,
    on_row: Callable[[Row], None] | None = None,
) -> Probed:
    """Measure this machine with ``threads`` threads.

    Parameters
    ----------
    device
        Also measure this device through PyTorch; None is the processor alone, without PyTorch.
    quick
        Fewer sizes and shapes.
    on_row
        Told every row as it comes.

    Raises
    ------
    EnvironmentLacking
        If a library that was asked for is not there, or its child fails.
    """
    # What was asked for by name goes first: if it is not here, no minute is lost.
    libraries = [*([("torch", ("--device", device))] if device else []), ("numpy", ()), ("ggml", ())]
    rows: list[Row] = []
    lacking: list[str] = []
    about: dict[str, object] = {}
    for library, more in libraries:
        command = [
            sys.executable,
            "-m",
            "dougong.measure.probe.child",
            library,
            "--threads",
            str(threads),
            *more,
        ]
        try:
            rows += _rows([*command, *(["--quick"] if quick else [])], on_row, about)
        except EnvironmentLacking as error:
            if library == "torch":
                raise
            lacking.append(
                f"{error.message}: {'its kernels are' if library == 'ggml' else 'it is'} not measured"
            )
    processor = [row for row in rows if row.library != "torch" or device == "cpu"]
    measured = [row for row in rows if row.library == "torch"]
    return Probed(
        rows=rows,
        fitted=fit(processor),
        threads=threads,
        lacking=lacking,
        device=device_of(device, about, measured) if device else None,
    )


def _rows(
    command: Sequence[str], on_row: Callable[[Row], None] | None, about: dict[str, object]
) -> list[Row]:
    rows: list[Row] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            for line in child.stdout:
                found: dict[str, Any] = json.loads(line)
                if "lacking" in found:
                    raise EnvironmentLacking(found["lacking"], hint=found["hint"])
                if "about" in found:
                    about |= found["about"]
                    continue
                rows.append(Row(**{name: value for name, value in found.items() if name in _FIELDS}))
                if on_row:
                    on_row(rows[-1])
        except BaseException:
            child.kill()
            raise
        words = child.stderr.read()
    if child.returncode:
        last = words.strip().splitlines()[-1:] or ["without a word"]
        raise EnvironmentLacking(
            f"{command[3]} cannot be measured here: it ended with {child.returncode}: {last[0]}"
        )
    return rows
