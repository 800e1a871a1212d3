"""Fits engine classes and prediction intervals to files of cases, and writes both into the calibration.

    python -m dougong.backtest.calibrate FILE...

Files are any that :func:`dougong.backtest.read_cases` reads. Serving cases of ``use = validate`` count. Every figure
printed beside "out of fold" is of a fit that did not see the case's fold: its document, its system for rows of one
large document, or its vendor.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dougong.backtest.case import Case
from dougong.backtest.fitting import (
    SHARES,
    SLOWDOWNS,
    TIMES,
    Bench,
    Floats,
    Row,
    bench_of,
    fit_engines,
    out_of_fold,
)
from dougong.backtest.reader import read_cases
from dougong.calibration.engines import EngineClass, engine_starts
from dougong.calibration.intervals import (
    LEAST_FOLDS,
    LEAST_ROWS,
    LEVEL,
    METRICS,
    SIGN_FOLDS,
    kind_of,
    quantiles,
    symmetric,
)
from dougong.catalog.store import Catalog

DATA = Path(__file__).parent.parent / "calibration" / "data"
LARGE = 300
"""A document with more rows than this is folded by system, not left out whole."""


def cases_of(paths: Sequence[str]) -> list[Case]:
    """Serving cases to fit to, each id once, the first file first."""
    seen: dict[str, Case] = {}
    for path in paths:
        files = sorted(Path(path).glob("*.toml")) if Path(path).is_dir() else [Path(path)]
        for file in files:
            for case in read_cases(file).serving:
                if case.use == "validate" and case.refused is None:
                    seen.setdefault(case.id, case)
    return list(seen.values())


def folds(bench: Bench) -> Callable[[Row], str]:
    """How rows are left out: by document, and by chip within a document of many rows."""
    counts: dict[str, int] = {}
    for row in bench.rows:
        counts[row.case.source.document] = counts.get(row.case.source.document, 0) + 1

    def fold(row: Row) -> str:
        document = row.case.source.document
        return f"{document} / {row.case.chip}" if counts[document] > LARGE else document

    return fold


def bands(
    bench: Bench, folded: Floats, unseen: Floats, fold: Callable[[Row], str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Interval factors by metric and engine class, from out-of-fold residuals.

    Parameters
    ----------
    folded, unseen
        Residuals under fits without each row's fold, and without its maker; NaN leaves a row out.
    fold
        The fold of a row.
    """
    kinds = np.array([kind_of(row.metric) for row in bench.rows])
    classes = np.array([row.case.engine_class for row in bench.rows])
    names = np.array([fold(row) for row in bench.rows])
    makers = np.array([row.case.vendor for row in bench.rows])
    known = np.isfinite(folded)

    def ends(rows: NDArray[np.bool_]) -> dict[str, float]:
        mine: list[str] = names[rows].tolist()
        sizes: Counter[str] = Counter(mine)
        # A pool of few rows or folds tells how far, not which way.
        how = quantiles if _enough(rows, names) and len(sizes) >= SIGN_FOLDS else symmetric
        low, high = how(folded[rows].tolist(), [sizes[name] ** -0.5 for name in mine])
        return {"low": low, "high": high, "rows": len(mine)}

    out: dict[str, dict[str, dict[str, float]]] = {}
    for metric in METRICS:
        own = known & (kinds == metric)
        out[metric] = {}
        if not own.any():
            continue
        groups = {name: own & (classes == name) for name in sorted(set(classes[own].tolist()))}
        own_group = [name for name, mine in groups.items() if _enough(mine, names)]
        # What has no group of its own shares one, of rows that miss more than those of well-known classes.
        rest = own & ~np.isin(classes, own_group)
        out[metric]["all"] = ends(rest if _enough(rest, names) else own)
        for name in own_group:
            out[metric][name] = ends(groups[name])
        blind = np.isfinite(unseen) & ((kinds == metric) | ((metric != "ttft_s") & (kinds != "ttft_s")))
        if blind.any():
            votes: Counter[str] = Counter(makers[blind].tolist())
            low, high = symmetric(unseen[blind].tolist(), [1.0 / votes[maker] for maker in makers[blind]])
            out[metric]["unseen-vendor"] = {"low": low, "high": high, "rows": int(blind.sum())}
    return out


def _enough(rows: NDArray[np.bool_], names: NDArray[np.str_]) -> bool:
    return int(rows.sum()) >= LEAST_ROWS and len(set(names[rows].tolist())) >= LEAST_FOLDS


def seen_makers(bench: Bench, fold: Callable[[Row], str], left: NDArray[np.bool_] | None = None) -> list[str]:
    """Makers with cases from enough folds to know how its chips miss; ``left`` marks rows that do not count."""
    found: dict[str, set[str]] = {}
    for i, row in enumerate(bench.rows):
        if (left is None or not left[i]) and row.metric != "ttft_s":
            found.setdefault(row.case.vendor, set()).add(fold(row))
    return sorted(maker for maker, folds_of in found.items() if len(folds_of) >= LEAST_FOLDS)


def engines_text(engines: Mapping[str, EngineClass], bench: Bench, folded: Floats) -> str:
    """``engines.toml`` with each class's rows and residual."""
    lines = [
        "# Engine classes, written by python -m dougong.backtest.calibrate from published measurements.",
        "schema = 1",
        "",
    ]
    for name, engine in engines.items():
        mine = np.array([row.case.engine_class == name and row.metric != "ttft_s" for row in bench.rows])
        known = np.abs(np.expm1(folded[mine & np.isfinite(folded)]))
        documents = {row.case.source.document for row, own in zip(bench.rows, mine, strict=True) if own}
        lines.append(f"[engine.{name}]")
        for field in fields(engine):
            value = getattr(engine, field.name)
            if field.name != "id":
                lines.append(f"{field.name} = {_toml(value)}")
        lines.append(f"rows = {int(mine.sum())}")
        lines.append(f"documents = {len(documents)}")
        if len(known):
            lines.append(
                f"median_error_frac = {float(np.median(known)):.3f}  # out of fold, first tokens apart"
            )
        lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f'"{value}"' if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    )


def intervals_text(table: Mapping[str, Mapping[str, Mapping[str, float]]], vendors: Sequence[str]) -> str:
    """``intervals.toml``."""
    lines = [
        "# Interval factors on a prediction, written by python -m dougong.backtest.calibrate.",
        "schema = 1",
        f"level = {LEVEL}",
        f"vendors = [{', '.join(_toml(vendor) for vendor in vendors)}]",
        "",
    ]
    for metric, groups in table.items():
        for name, ends in sorted(groups.items()):
            lines += [
                f'[band.{metric}."{name}"]',
                f"low = {ends['low']:.4g}",
                f"high = {ends['high']:.4g}",
                f"rows = {int(ends['rows'])}",
                "",
            ]
    return "\n".join(lines)


def describe(name: str, residuals: Floats) -> str:
    """One line of a table of errors."""
    known = residuals[np.isfinite(residuals)]
    if not len(known):
        return f"{name:44} no rows"
    size = np.abs(np.expm1(known))
    return (
        f"{name:44} {len(known):5d} rows  mean {size.mean():6.1%}  median {np.median(size):6.1%}  "
        f"p90 {np.quantile(size, 0.9):6.1%}  bias {np.expm1(np.median(known)):+6.1%}"
    )


def main(paths: Sequence[str]) -> int:
    """Fit, hold out, print, write."""
    catalog = Catalog.open()
    bench = bench_of(cases_of(paths), catalog)
    centres = engine_starts()
    began = partial(print, "fitting without", file=sys.stderr)
    fitted = fit_engines(bench, centres=centres)
    within = bench.residuals(fitted)
    folded = out_of_fold(bench, folds(bench), fitted, centres, began)
    unseen = out_of_fold(bench, lambda row: row.case.vendor, fitted, centres, began)
    for title, residuals in (("in sample", within), ("out of fold", folded), ("vendor unseen", unseen)):
        sys.stdout.write(f"{title}\n")
        for metric in sorted({row.metric for row in bench.rows}):
            chosen = np.array([row.metric == metric for row in bench.rows])
            sys.stdout.write(f"  {describe(metric, residuals[chosen])}\n")
    for name, engine in fitted.items():
        values = ", ".join(f"{key} {getattr(engine, key):.4g}" for key in (*TIMES, *SHARES, *SLOWDOWNS))
        sys.stdout.write(f"{name}: {values}\n")
    table = bands(bench, folded, unseen, folds(bench))
    vendors = seen_makers(bench, folds(bench))
    (DATA / "engines.toml").write_text(engines_text(fitted, bench, folded), encoding="utf-8")
    (DATA / "intervals.toml").write_text(intervals_text(table, vendors), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
