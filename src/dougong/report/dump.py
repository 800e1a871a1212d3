"""Records as JSON: base units, the unit in the name, keys in the order of the record, no NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

from dougong.catalog.models import Model
from dougong.facts import Figure, Unknown
from dougong.plan.types import Fit, Infeasible, Layout, Memory, Plan

if TYPE_CHECKING:
    from dougong.backtest.explain import Explained

SCHEMA = 1
"""Raised when a key goes away or changes its meaning; a new key does not raise it."""

_OWN_SCHEMAS = {"plan": 2, "infeasible": 2, "comparison": 2, "fit": 2, "case": 2}
"""By kind, where a kind of answer has gone ahead of the others; 2: memory keys end in ``_bytes``, and
rates per chip are over the chips that count."""

JsonValue = Any

_NOT_THE_ANSWER = frozenset(
    {"elapsed_s", "totals"}
)  # the same request gives the same bytes; a trace is not repeated


def to_json(content: Mapping[str, object]) -> str:
    """Return ``content`` under its schema number as text."""
    schema = _OWN_SCHEMAS.get(str(content.get("kind")), SCHEMA)
    return json.dumps({"schema": schema, **{key: plain(value) for key, value in content.items()}}, indent=2)


def dump_answer(answer: Plan | Infeasible) -> dict[str, JsonValue]:
    """One plan, or a no with its reasons."""
    return {"kind": "plan" if isinstance(answer, Plan) else "infeasible", **_record(answer)}


def dump_fit(fit: Fit) -> dict[str, JsonValue]:
    """The matrix as a list of cells, model by model."""
    cells = [
        fit.cells[model, system]
        for model in fit.models
        for system in fit.systems
        if (model, system) in fit.cells
    ]
    return {
        "kind": "fit",
        **_record(fit, without=frozenset({"cells"})),
        "cells": [plain(cell) for cell in cells],
    }


def dump_explained(found: Explained) -> dict[str, JsonValue]:
    """One published case taken apart."""
    figures = [outcome.row() for outcome in found.outcomes]
    return {"kind": "case", **_record(found, without=frozenset({"outcomes"})), "figures": plain(figures)}


def plain(value: object) -> JsonValue:
    """Turn a record, a figure, or a container of them, into what JSON has."""
    if isinstance(value, Figure):
        return _figure(value)
    if isinstance(value, Unknown):
        return {"value": None, "unknown": value.reason}
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value)
        return {str(key): plain(item) for key, item in items.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in cast("tuple[object, ...]", value)]
    if hasattr(value, "item"):  # a number of numpy that slipped into a record
        return plain(cast(Any, value).item())
    raise TypeError(f"no JSON for {type(value).__name__}")


def _record(value: object, without: frozenset[str] = frozenset()) -> dict[str, JsonValue]:
    names = [field.name for field in fields(cast(Any, value)) if field.name not in without | _NOT_THE_ANSWER]
    found = {name: plain(getattr(value, name)) for name in names}
    # What a reader would otherwise have to compute, by the same definition.
    if isinstance(value, Layout):
        found |= {"text": str(value), "devices": value.devices}
    elif isinstance(value, Memory):
        found |= {"used_bytes": plain(value.used_bytes)}
    elif isinstance(value, Model):
        found |= _counts(value)
    return found


def _counts(model: Model) -> dict[str, JsonValue]:
    from dougong.cost.memory import kv_bytes_per_token  # numpy is not wanted by who dumps a chip

    return {
        "parameters": model.parameters(),
        "active_parameters": model.active_parameters(),
        "kv_bytes_per_token": kv_bytes_per_token(model),
    }


def _figure(figure: Figure) -> dict[str, JsonValue]:
    written = {
        name: getattr(figure, name)
        for name in (
            "record",
            "key",
            "printed",
            "read_as",
            "why",
            "per",
            "direction",
            "source",
            "at",
            "grade",
        )
        if getattr(figure, name)
    }
    rivals = {"rivals": [_figure(rival) for rival in figure.rivals]} if figure.rivals else {}
    return {"value": plain(float(figure)), "dimension": figure.dimension, **written, **rivals}
