"""Holds published measurements against predictions.

May import every room below ``sim``; imported by ``report`` and ``cli``. Start at :func:`read_cases` (a file
of measurements becomes :class:`Case` records), then :func:`run` (a predictor answers) and :func:`summary`.
"""

from dougong.backtest.case import METRICS, AnyCase, Case, CaseFile, OperatorCase, PhaseLayout, Precision
from dougong.backtest.reader import read_cases
from dougong.backtest.run import Outcome, Predict, leave_one_group_out, run, spread, summary, to_json

__all__ = [
    "METRICS",
    "AnyCase",
    "Case",
    "CaseFile",
    "OperatorCase",
    "Outcome",
    "PhaseLayout",
    "Precision",
    "Predict",
    "leave_one_group_out",
    "read_cases",
    "run",
    "spread",
    "summary",
    "to_json",
]
