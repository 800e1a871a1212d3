"""What a fit says of cases it saw and of cases it never saw, in a file small enough to keep.

The accuracy page is drawn from such a file alone, so that it can be drawn anew without the rows of others.

Notes
-----
Every fitted figure has four predictions: *in sample*, by the shipped classes; *out of fold*, by classes that never saw
its document (its chip, within a document of many rows); *vendor unseen*, by classes that never saw a chip of its
maker; and *bare*, the roofline. Intervals stand on the prediction out of fold, and their factors come from the
residuals of the other folds: no measurement helps to draw the interval that is to hold it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from dougong.backtest.calibrate import bands, folds, seen_makers
from dougong.backtest.case import AnyCase, Case
from dougong.backtest.fitting import Bench, Floats, Row, out_of_fold
from dougong.backtest.roofline import times
from dougong.backtest.run import Outcome, reasons
from dougong.calibration.engines import EngineClass
from dougong.calibration.intervals import Band, band, kind_of
from dougong.errors import InputError

SCHEMA = 1
_DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A case as it is grouped."""

    id: str
    document: str
    chip: str
    family: str
    engine_class: str
    regime: str
    mode: str  # colocated | disaggregated | one phase

    @property
    def vendor(self) -> str:
        """Maker of the chip."""
        return self.chip.split("-", 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One figure with its predictions, in base units; None where there is none of a kind."""

    case: Filed
    metric: str
    measured: float
    in_sample: float
    out_of_fold: float | None = None
    vendor_unseen: float | None = None
    low: float | None = None  # of the prediction out of fold
    high: float | None = None
    unseen_low: float | None = None  # of the prediction whose fit saw no chip of the maker
    unseen_high: float | None = None
    bare: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Cases without a prediction for one reason."""

    why: str
    cases: int
    ids: tuple[str, ...]  # the first few


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All figures of a run, the refused, and the worst cases in words."""

    held: tuple[Held, ...]
    refused: tuple[Refused, ...]
    told: Mapping[str, str]  # id -> the case in words, for those that miss most


_MOST_TOLD, _MOST_IDS = 150, 8
_FILED = tuple(field.name for field in fields(Filed))
_NUMBERS = (
    "measured", "in_sample", "out_of_fold", "vendor_unseen", "low", "high", "unseen_low", "unseen_high", "bare",
)  # fmt: skip


def measure(
    cases: Sequence[AnyCase],
    outcomes: Sequence[Outcome],
    bench: Bench,
    fitted: Mapping[str, EngineClass],
    centres: Mapping[str, EngineClass],
    began: Callable[[str], None] = lambda fold: None,
) -> Results:
    """Fit without each fold and gather what every fit says.

    Parameters
    ----------
    cases, outcomes
        What was asked, and the predictions of the shipped calibration.
    bench
        The same cases as array programs.
    fitted, centres
        The shipped classes, and where their fit is pulled to.
    began
        Hears of each fold as its fit begins: every fold of :func:`dougong.backtest.calibrate.folds`, then every maker.
    """
    fold = folds(bench)
    folded = out_of_fold(bench, fold, fitted, centres, began)
    unseen = out_of_fold(bench, lambda row: row.case.vendor, fitted, centres, began)
    bare = _bare(bench)
    ends = _held_out_bands(bench, folded, unseen, fold)
    strange = _held_out_bands(bench, folded, unseen, lambda row: row.case.vendor)
    fresh: dict[tuple[str, str], dict[str, float | None]] = {}
    for i, row in enumerate(bench.rows):
        guess, blind = (row.measured * math.exp(residual[i]) for residual in (folded, unseen))
        numbers = {
            "out_of_fold": guess,
            "vendor_unseen": blind,
            "low": guess * ends[i].low,
            "high": guess * ends[i].high,
            "unseen_low": blind * strange[i].low,
            "unseen_high": blind * strange[i].high,
            "bare": bare[i],
        }
        fresh[row.case.id, row.metric] = {
            name: float(value) if math.isfinite(value) else None for name, value in numbers.items()
        }
    named = {case.id: case for case in cases if isinstance(case, Case) and case.use == "validate"}
    held = [
        Held(
            case=filed(named[item.id]), metric=item.metric, measured=item.measured, in_sample=item.predicted,
            **fresh.get((item.id, item.metric), {}),
        )
        for item in outcomes
        if item.predicted is not None and item.id in named
    ]  # fmt: skip
    return Results(
        held=tuple(held),
        refused=tuple(_refusals(item for item in outcomes if item.id in named)),
        told={item.case.id: str(named[item.case.id]) for item in furthest(held)[:_MOST_TOLD]},
    )


def filed(case: Case) -> Filed:
    """A case as it is grouped."""
    mode = "disaggregated" if len(case.layouts) > 1 else "colocated" if "all" in case.layouts else case.regime
    return Filed(
        id=case.id, document=case.source.document, chip=case.chip, family=case.family,
        engine_class=case.engine_class, regime=case.regime, mode=mode,
    )  # fmt: skip


def furthest(held: Iterable[Held]) -> list[Held]:
    """Figures by how far the prediction out of fold lies off, as a ratio, furthest first; first tokens apart."""
    known = [item for item in held if item.out_of_fold and item.metric != "ttft_s"]
    return sorted(
        known, key=lambda item: (-abs(math.log((item.out_of_fold or 1.0) / item.measured)), item.case.id)
    )


_SILENT = Band(low=math.nan, high=math.nan, rows=0, group="no other fold")


def _held_out_bands(bench: Bench, folded: Floats, unseen: Floats, fold: Callable[[Row], str]) -> list[Band]:
    """The interval factors of each row from the residuals of other folds, as a shipped prediction would take them."""
    names = np.array([fold(row) for row in bench.rows])
    document = folds(bench)
    ends: dict[int, Band] = {}
    for name in sorted(set(names.tolist())):
        left = names == name
        table: dict[str, Any] = {
            "vendors": seen_makers(bench, document, left),
            "band": bands(bench, np.where(left, np.nan, folded), np.where(left, np.nan, unseen), fold),
        }
        for i in np.flatnonzero(left):
            case, kind = bench.rows[i].case, kind_of(bench.rows[i].metric)
            told = "all" in table["band"][kind]
            ends[int(i)] = band(kind, case.engine_class, case.chip, table) if told else _SILENT
    return [ends[i] for i in range(len(bench.rows))]


def _bare(bench: Bench) -> Floats:
    found = [dict(zip(("ttft_s", "tpot_s"), times(program), strict=True)) for program in bench.programs]
    return np.array(
        [
            found[row.program][row.metric][row.place] if row.metric in found[row.program] else np.nan
            for row in bench.rows
        ]
    )


def _refusals(outcomes: Iterable[Outcome]) -> Iterable[Refused]:
    for why, items in reasons(outcomes).items():
        ids = tuple(dict.fromkeys(item.id for item in items))
        yield Refused(why=why, cases=len(ids), ids=ids[:_MOST_IDS])


def write(results: Results, path: Path) -> None:
    """Write results: one line per case and figure, words once."""
    words: dict[str, int] = {}

    def number(word: str) -> int:
        return words.setdefault(word, len(words))

    cases = {item.case.id: item.case for item in results.held}
    places = {name: at for at, name in enumerate(cases)}
    rows = [[case.id, *(number(getattr(case, name)) for name in _FILED[1:])] for case in cases.values()]
    figures = [
        [places[item.case.id], number(item.metric), *(_short(getattr(item, name)) for name in _NUMBERS)]
        for item in results.held
    ]
    refused = [[item.why, item.cases, list(item.ids)] for item in results.refused]
    parts = {"words": list(words), "cases": rows, "figures": figures, "refused": refused}
    head = {"schema": SCHEMA, "case": _FILED, "figure": ("case", "metric", *_NUMBERS), "told": results.told}
    text = json.dumps(head, ensure_ascii=False, indent=1)[:-2]
    for name, lines in parts.items():
        listed = ",\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
        text += f',\n "{name}": [\n{listed}\n]'
    path.write_text(text + "\n}\n", encoding="utf-8")


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def read(path: Path) -> Results:
    """Read results.

    Raises
    ------
    InputError
        If the file is missing or of another schema.
    """
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no results ({error})") from error
    if raw.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema is {raw.get('schema')!r}, this version reads {SCHEMA}")
    words: list[str] = raw["words"]
    lines: list[list[Any]] = raw["cases"]
    cases = [
        Filed(id=line[0], **dict(zip(_FILED[1:], (words[int(at)] for at in line[1:]), strict=True)))
        for line in lines
    ]
    figures: list[list[Any]] = raw["figures"]
    held = [
        Held(
            case=cases[int(line[0])], metric=words[int(line[1])], **dict(zip(_NUMBERS, line[2:], strict=True))
        )
        for line in figures
    ]
    turned: list[tuple[str, int, list[str]]] = raw["refused"]
    refused = [Refused(why=why, cases=count, ids=tuple(ids)) for why, count, ids in turned]
    return Results(held=tuple(held), refused=tuple(refused), told=raw["told"])
