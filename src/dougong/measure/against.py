"""A measured run beside the plan that predicted it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dougong.catalog.streams import open_bytes
from dougong.errors import InputError
from dougong.metrics import Estimate, Summary

MAX_BYTES = 32 << 20
SCHEMAS = (1, 2)
"""Of a plan; the keys that are read here are the same in both."""
_NEAR_FRAC = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, predicted and measured.

    Attributes
    ----------
    name, dimension
        What it is, and its unit.
    predicted, low, high
        The plan's value and interval.
    measured
        The run's, with its confidence interval; None where the run cannot tell.
    """

    name: str
    dimension: str
    predicted: float
    low: float
    high: float
    measured: Estimate | None

    @property
    def error_frac(self) -> float | None:
        """``predicted / measured - 1`` [1]; None where nothing was measured."""
        if self.measured is None or not self.measured.value > 0:
            return None
        return self.predicted / self.measured.value - 1

    @property
    def inside(self) -> bool | None:
        """Whether the measured value lies in the predicted interval."""
        return None if self.measured is None else self.low <= self.measured.value <= self.high


@dataclass(frozen=True, slots=True)
class Against:
    """A plan beside a run: who predicted, the figures, and where the two were not asked the same."""

    plan: str
    rows: Sequence[Row]
    differences: Sequence[str]


def against(path: str | Path, summary: Summary, *, users: int | None, rate: float | None) -> Against:
    """Hold a run against the best option of a plan (``dougong plan … --json > plan.json``).

    Raises
    ------
    InputError
        If the file is no plan of this schema.
    """
    plan = _plan(Path(path))
    option = _mapping(cast("list[object]", plan["options"])[0])
    asked = _mapping(_mapping(plan.get("request")).get("workload"))
    means = {
        "ttft_s": ("TTFT, mean", "s", summary.ttft_s and summary.ttft_s.mean),
        "tpot_s": ("TPOT, mean", "s", summary.tpot_s and summary.tpot_s.mean),
        "output_tokens_per_s": ("output", "token/s", summary.output_tokens_per_s),
    }
    rows: list[Row] = []
    for key, (name, dimension, measured) in means.items():
        interval = _mapping(option.get(key))
        value, low, high = (_number(interval.get(end)) for end in ("value", "low", "high"))
        if value is not None and low is not None and high is not None:
            rows.append(Row(name, dimension, value, low, high, measured))
    pairs = (
        ("prompt tokens", _number(asked.get("prompt_tokens")), summary.prompt_tokens),
        ("output tokens", _number(asked.get("output_tokens")), summary.output_tokens),
        ("users", _number(option.get("users")), summary.in_flight if users is None else float(users)),
        ("requests/s", _number(asked.get("rate_requests_per_s")), rate),
    )
    differences = [
        f"{name}: the plan's {said:g}, the run's {seen:.4g}"
        for name, said, seen in pairs
        if said is not None and seen is not None and not _near(said, seen)
    ]
    who = f"{plan.get('model_name') or 'the model'} on {option.get('system')}"
    return Against(who, tuple(rows), tuple(differences))


def _plan(path: Path) -> Mapping[str, object]:
    try:
        with open_bytes(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; a plan is a few hundred kilobytes")
    try:
        plan = _mapping(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {str(error)[:80]}") from None
    hint = "dougong plan … --json > plan.json"
    if plan.get("kind") == "infeasible":
        raise InputError(f"{path}: a no predicts nothing", hint=hint)
    if plan.get("kind") != "plan" or not isinstance(plan.get("options"), list) or not plan["options"]:
        raise InputError(f"{path}: no plan", hint=hint)
    if plan.get("schema") not in SCHEMAS:
        raise InputError(f"{path}: schema {plan.get('schema')!r} is not read; {SCHEMAS[-1]} is", hint=hint)
    return plan


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _NEAR_FRAC * max(abs(one), abs(other), 1e-12)


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
