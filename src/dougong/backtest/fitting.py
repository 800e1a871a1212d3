"""Fits the engine classes to end-to-end measurements, and tells how well that carries over.

A class has thirteen physical parameters shared by all its cases; none belongs to a case, a model or a chip. They are
fitted in their logarithms, or those of their excess over one, with a pull towards where the class started: what a
handful of cases cannot tell stays where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dougong.backtest.case import Case
from dougong.backtest.questions import PlanPredictor
from dougong.calibration.engines import EngineClass, engine_classes, engine_starts
from dougong.calibration.fitting import minimise
from dougong.catalog.store import Catalog
from dougong.plan.evaluate import Prepared, answer, prepare

Floats = NDArray[np.float64]

TIMES = ("step_s", "prefill_s", "layer_s", "sequence_s", "request_s")
"""Fitted in their logarithm."""
SHARES = ("fixed_frac", "overlap_frac", "widening_frac", "lockstep_frac")
"""Fitted in the logarithm of their odds, so they stay between 0 and 1."""
SLOWDOWNS = ("compute_slowdown", "memory_slowdown", "link_slowdown", "expert_slowdown")
"""Fitted in the logarithm of their excess over one: a stack is not faster than its kernels."""
WEIGHTS: Mapping[str, float] = {"ttft_s": 0.2}
"""Weight of a metric's residual; first tokens carry queues that no closed form knows. Others weigh one."""
PULL = 0.3
SCALE = 0.2
ROUNDS = 40
SETTLED = 1e-5
"""Gain of a step over the cost at which a descent ends: parameters then move by less than a hundredth."""
DIGITS = 4
_LEAST, _SHORTEST = 1e-3, 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one case in the array programs."""

    case: Case
    metric: str
    measured: float
    program: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Cases made ready to be priced again and again."""

    programs: tuple[Prepared, ...]
    rows: tuple[Row, ...]

    def residuals(self, engines: Mapping[str, EngineClass], only: Sequence[str] | None = None) -> Floats:
        """``log(predicted / measured)`` of every row; NaN for engine classes not in ``only``."""
        answers = [
            None
            if only is not None and program.questions[0].engine not in only
            else answer(program, None, engines)
            for program in self.programs
        ]
        out = np.full(len(self.rows), np.nan)
        for i, row in enumerate(self.rows):
            given = answers[row.program]
            if given is not None:
                value = getattr(given[row.place], row.metric)
                out[i] = np.log(value / row.measured) if value and value > 0 else np.nan
        return out


def bench_of(cases: Iterable[Case], catalog: Catalog) -> Bench:
    """Ready the cases that can be asked; ladders of batches (a load told by its limit only) are left out."""
    asked = PlanPredictor(catalog).gather(cases)
    pairs = [(case, ask) for case, ask in asked.asks if ask.limit_s is None]
    programs = prepare([ask.question for _, ask in pairs], asked.models, asked.systems)
    rows: list[Row] = []
    for number, program in enumerate(programs):
        for place, index in enumerate(program.index):
            case, ask = pairs[index]
            rows += [
                Row(case=case, metric=metric, measured=case.measured[metric], program=number, place=place)
                for metric in ask.metrics
                if case.measured[metric] > 0
            ]
    return Bench(programs=tuple(programs), rows=tuple(rows))


def encode(engine: EngineClass) -> Floats:
    """Parameters of a class as the numbers that are fitted."""
    times = [np.log(max(getattr(engine, name), _SHORTEST)) for name in TIMES]
    shares = [np.clip(getattr(engine, name), _LEAST, 1.0 - _LEAST) for name in SHARES]
    odds = [np.log(share / (1.0 - share)) for share in shares]
    return np.array(times + odds + [np.log(max(getattr(engine, name) - 1.0, _LEAST)) for name in SLOWDOWNS])


def decode(engine: EngineClass, theta: Floats, *, digits: int | None = None) -> EngineClass:
    """The class with fitted numbers in place, rounded to ``digits`` significant ones."""
    times, shares, slow = np.split(theta, [len(TIMES), len(TIMES) + len(SHARES)])
    values = [*np.exp(times), *(1.0 / (1.0 + np.exp(-shares))), *(1.0 + np.exp(slow))]
    names = (*TIMES, *SHARES, *SLOWDOWNS)
    return replace(
        engine,
        **{
            name: float(value if digits is None else f"{value:.{digits}g}")
            for name, value in zip(names, values, strict=True)
        },
    )


def fit_class(
    bench: Bench,
    name: str,
    keep: Callable[[Row], bool],
    centre: EngineClass,
    begin: EngineClass | None = None,
) -> EngineClass:
    """Fit one engine class to the rows that ``keep`` admits.

    Parameters
    ----------
    centre
        Where the pull leads, and what is returned without rows.
    begin
        Where the descent starts: a fit to nearly the same rows saves most of it.
    """
    mine = np.array([row.case.engine_class == name and keep(row) for row in bench.rows])
    if not mine.any():
        return centre
    weight = np.array([WEIGHTS.get(row.metric, 1.0) for row in bench.rows])[mine]

    def residual(theta: Floats) -> Floats:
        found = bench.residuals({**engine_classes(), name: decode(centre, theta)}, [name])[mine]
        return np.where(np.isfinite(found), found, 0.0) * weight

    start = encode(centre)
    theta = minimise(
        residual,
        encode(begin) if begin else start,
        start,
        pull=PULL,
        scale=SCALE,
        rounds=ROUNDS,
        settled=SETTLED,
    )
    return decode(centre, theta, digits=DIGITS)


def fit_engines(
    bench: Bench,
    keep: Callable[[Row], bool] = lambda row: True,
    centres: Mapping[str, EngineClass] | None = None,
    begin: Mapping[str, EngineClass] | None = None,
) -> dict[str, EngineClass]:
    """Fit every engine class to the rows that ``keep`` admits."""
    centres = centres or engine_starts()
    return {
        name: fit_class(bench, name, keep, centre, None if begin is None else begin[name])
        for name, centre in centres.items()
    }


def out_of_fold(
    bench: Bench,
    group: Callable[[Row], str],
    fitted: Mapping[str, EngineClass],
    centres: Mapping[str, EngineClass],
    began: Callable[[str], None] = lambda fold: None,
) -> Floats:
    """Residual of every row under a fit that never saw the row's group.

    Only the classes that a group has rows of are fitted again, starting from the fit to everything. ``began`` hears
    of each group as its fit begins.
    """
    groups = np.array([group(row) for row in bench.rows])
    out = np.full(len(bench.rows), np.nan)
    for value in sorted(set(groups.tolist())):
        began(value)
        left = groups == value
        touched = sorted({bench.rows[i].case.engine_class for i in np.flatnonzero(left)})
        engines = dict(fitted)
        for name in touched:
            engines[name] = fit_class(
                bench, name, lambda row, value=value: group(row) != value, centres[name], fitted[name]
            )
        out[left] = bench.residuals(engines, touched)[left]
    return out
