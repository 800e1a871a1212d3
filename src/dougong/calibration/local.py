"""A calibration of one's own machine: what was measured on a chip goes before what all chips share.

It lies in a catalog folder beside the chip's record, as ``calibration/NAME.toml``, and is read with it::

    schema = 1
    chip   = "local-cpu"
    how    = "dougong probe, 1 thread"

    [operator]            # of dougong.calibration.Parameters
    gemm_fixed_s = 1e-06

    [engine.llama-cpp]    # of dougong.calibration.engines.EngineClass
    step_s = 0.0004

    [error.tpot_s]        # measured over predicted, of runs the fit had not seen
    low  = 0.95
    high = 1.08
    rows = 12
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import cast

from dougong.calibration.engines import EngineClass, engine_class, engine_classes
from dougong.calibration.intervals import METRICS, Band
from dougong.calibration.parameters import Parameters
from dougong.errors import CatalogError

SCHEMA = 1
FOLDER = "calibration"
MAX_BYTES = 1 << 20

_WORDS = ("id", "title", "examples")
ENGINE_FIELDS = tuple(one.name for one in fields(EngineClass) if one.name not in _WORDS)
OPERATOR_FIELDS = tuple(one.name for one in fields(Parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """What was measured on one chip.

    Attributes
    ----------
    chip, how
        Whose, and by what; shown beside every answer that stands on it.
    operator, engine
        Field to value, in the units of :class:`Parameters` and, by engine class, of :class:`EngineClass`.
    error
        Metric to the range of measured over predicted in runs that the fit had not seen.
    """

    chip: str
    how: str
    operator: Mapping[str, float] = field(default_factory=dict[str, float])
    engine: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    error: Mapping[str, Band] = field(default_factory=dict[str, Band])

    def parameters(self) -> Parameters:
        """Shared parameters with this chip's own before them."""
        return replace(Parameters.load(), **self.operator)

    def engine_class(self, name: str) -> EngineClass:
        """An engine class with this chip's own values before those of the class."""
        return replace(engine_class(name), **self.engine.get(name, {}))

    def toml(self) -> str:
        """The file that :func:`read_local` reads."""
        lines = [f"schema = {SCHEMA}", f'chip = "{self.chip}"', f'how = "{self.how}"', ""]
        if self.operator:
            lines += ["[operator]", *_lines(self.operator), ""]
        for name, values in self.engine.items():
            lines += [f"[engine.{name}]", *_lines(values), ""]
        for metric, band in self.error.items():
            ends = {"low": band.low, "high": band.high, "rows": band.rows}
            lines += [f"[error.{metric}]", *_lines(ends), ""]
        return "\n".join(lines)


def read_local(folders: Sequence[Path]) -> Mapping[str, Local]:
    """Calibrations of ``folders``, by chip; the first folder that has one for a chip wins.

    Raises
    ------
    CatalogError
        With every fault of every file.
    """
    found: dict[str, Local] = {}
    faults: list[str] = []
    for folder in folders:
        for path in sorted((folder / FOLDER).glob("*.toml")):
            one = _read(path, faults)
            if one is not None:
                found.setdefault(one.chip, one)
    if faults:
        raise CatalogError(faults, hint="dougong probe writes a new one")
    return found


def _read(path: Path, faults: list[str]) -> Local | None:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        raw = cast("dict[str, object]", tomllib.loads(content.decode("utf-8")))
    except (OSError, ValueError) as fault:
        faults.append(f"{path}: cannot be read: {fault}")
        return None
    before = len(faults)
    if raw.get("schema") != SCHEMA:
        faults.append(f"{path}: schema: {SCHEMA} is read, not {raw.get('schema')!r}")
    chip, how = raw.get("chip"), raw.get("how", "")
    if not isinstance(chip, str) or not isinstance(how, str):
        faults.append(f"{path}: chip: the id of a chip is wanted, and how: a text")
        return None
    for key in sorted(set(raw) - {"schema", "chip", "how", "operator", "engine", "error"}):
        faults.append(f"{path}: {key}: no such key")
    operator = _numbers(raw.get("operator", {}), OPERATOR_FIELDS, f"{path}: operator", faults)
    engine = {
        name: _numbers(values, ENGINE_FIELDS, f"{path}: engine.{name}", faults)
        for name, values in _tables(raw.get("engine", {}), tuple(engine_classes()), f"{path}: engine", faults)
    }
    error: dict[str, Band] = {}
    for name, values in _tables(raw.get("error", {}), METRICS, f"{path}: error", faults):
        ends = _numbers(values, ("low", "high", "rows"), f"{path}: error.{name}", faults)
        if len(ends) == 3 and ends["low"] <= 1 <= ends["high"]:
            error[name] = Band(ends["low"], ends["high"], int(ends["rows"]), "local")
        else:
            faults.append(f"{path}: error.{name}: low, high and rows are wanted, low <= 1 <= high")
    if len(faults) > before:
        return None
    return Local(chip=chip, how=how, operator=operator, engine=engine, error=error)


def _tables(
    raw: object, known: Sequence[str], where: str, faults: list[str]
) -> list[tuple[str, Mapping[str, object]]]:
    if not isinstance(raw, dict):
        faults.append(f"{where}: a table is wanted")
        return []
    good: list[tuple[str, Mapping[str, object]]] = []
    for name, values in cast("dict[str, object]", raw).items():
        if name not in known or not isinstance(values, dict):
            faults.append(f"{where}: {name}: a table named one of {', '.join(known)} is wanted")
        else:
            good.append((name, cast("Mapping[str, object]", values)))
    return good


def _numbers(raw: object, known: Sequence[str], where: str, faults: list[str]) -> dict[str, float]:
    if not isinstance(raw, dict):
        faults.append(f"{where}: a table is wanted")
        return {}
    good: dict[str, float] = {}
    for name, value in cast("dict[str, object]", raw).items():
        if name not in known:
            faults.append(f"{where}: {name}: no such parameter")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
            faults.append(f"{where}: {name}: a positive number is wanted, not {value!r}")
        else:
            good[name] = float(value)
    return good


def _lines(values: Mapping[str, float]) -> list[str]:
    return [
        f"{name} = {value if name == 'rows' else float(f'{value:.5g}')!r}" for name, value in values.items()
    ]
