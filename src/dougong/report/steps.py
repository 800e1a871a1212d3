"""Where the memory and the time go: bars per pool, per operator group, and the table of operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import RenderableType
from rich.text import Text

from dougong.plan.types import Memory, OperatorCost, Pool, StepReport
from dougong.report.numbers import UNKNOWN, compact, exact, percent, quantity
from dougong.report.parts import bar, listing, pairs, section


class Pooled(Protocol):
    """What has pools: an option of a plan, or a published case taken apart."""

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Replicas by phase."""
        ...


MEMORY_WIDTH = 50
MEMORY_PARTS = (
    ("weights_bytes", "weights", "█", "blue"),
    ("kv_cache_bytes", "KV cache", "▓", "cyan"),
    ("activations_bytes", "activations", "▒", "green"),
    ("communication_bytes", "communication", "░", "yellow"),
    ("reserve_bytes", "reserve", "▪", "magenta"),
)
"""(attribute, name, glyph, colour), in the order of the bar."""

BOUND_STYLES = {
    "compute": "red",
    "memory": "blue",
    "scale_up": "green",
    "scale_out": "yellow",
    "host": "magenta",
}


def bound_words(bound: str) -> str:
    """Return a roofline bound as people write it."""
    return bound.replace("_", "-")


def memory_section(option: Pooled) -> RenderableType:
    """Memory of the fullest device of each pool, as a bar with its numbers."""
    rows: list[tuple[str, Text]] = []
    for pool in option.pools:
        rows += [(pool.phase, _memory_bar(pool.memory)), ("", _memory_legend(pool.memory)), ("", Text())]
    return section("Memory", pairs(rows[:-1]), aside="of the fullest device of a replica")


def _memory_bar(memory: Memory) -> Text:
    drawn = Text()
    for attribute, _, glyph, style in MEMORY_PARTS:
        drawn.append(glyph * _cells(getattr(memory, attribute), memory), style=style)
    drawn.append("." * max(MEMORY_WIDTH - len(drawn), 0), style="dim")
    drawn.append(f"  {quantity(memory.used_bytes, 'byte')} of {quantity(memory.capacity_bytes, 'byte')}")
    return drawn.append(
        f" ({percent(memory.used_bytes / memory.capacity_bytes)})" if memory.capacity_bytes else ""
    )


def _memory_legend(memory: Memory) -> Text:
    legend = Text()
    for attribute, name, glyph, style in MEMORY_PARTS:
        legend.append(glyph, style=style).append(f" {name} {quantity(getattr(memory, attribute), 'byte')}  ")
    return legend


def _cells(size: float, memory: Memory) -> int:
    whole = max(memory.capacity_bytes, memory.used_bytes)
    return max(round(size / whole * MEMORY_WIDTH), 1 if size > 0 else 0) if whole else 0


def time_section(option: Pooled) -> RenderableType:
    """Time of each pool's steps by operator group, with what bounds it."""
    parts: list[RenderableType] = []
    for pool in option.pools:
        for step in pool.steps:
            parts += [_step_title(pool, step), _groups(step), Text("")]
    return section("Time of a step", *parts[:-1], aside="by operator group, one device")


def _step_title(pool: Pool, step: StepReport) -> Text:
    where = step.phase if pool.phase in ("both", step.phase) else f"{pool.phase}, {step.phase}"
    return Text(f"{where} step, {quantity(step.seconds, 's')}")


def _groups(step: StepReport) -> RenderableType:
    ordered = sorted(step.groups.items(), key=lambda item: (-item[1][0], item[0]))
    longest = max((seconds for seconds, _ in step.groups.values()), default=0.0) or 1.0
    whole = step.seconds or 1.0
    return listing(
        ordered,
        ("group", "word", lambda item: item[0].replace("_", " ")),
        (
            "",
            "word",
            lambda item: bar(max(item[1][0], 0.0) / longest, style=BOUND_STYLES.get(item[1][1], "")),
        ),
        ("time", "number", lambda item: quantity(item[1][0], "s")),
        ("share", "number", lambda item: percent(item[1][0] / whole)),
        ("bound", "word", lambda item: bound_words(item[1][1])),
    )


def operator_section(option: Pooled) -> RenderableType:
    """Every operator of every step, and the shapes and formulas they are priced with."""
    parts: list[RenderableType] = []
    for pool in option.pools:
        for step in pool.steps:
            parts += [_step_title(pool, step), _operators(step.operators), Text("")]
            parts += [_formulas(step.operators), Text("")]
    return section("Operators", *parts[:-1], aside="of one step on one device, all layers together")


def _formulas(operators: Sequence[OperatorCost]) -> RenderableType:
    users: dict[str, list[str]] = {}
    for operator in operators:
        users.setdefault(operator.formula, []).append(operator.name)
    return pairs((", ".join(dict.fromkeys(names)), formula) for formula, names in users.items() if formula)


def _achieved(fraction: float) -> str:
    return percent(fraction) if fraction else UNKNOWN


def _operators(operators: Sequence[OperatorCost]) -> RenderableType:
    return listing(
        operators,
        ("operator", "word", lambda item: item.name),
        ("times", "spare", lambda item: exact(item.count)),
        ("time", "number", lambda item: quantity(item.seconds, "s")),
        ("share", "number", lambda item: percent(item.share)),
        ("bound", "word", lambda item: bound_words(item.bound)),
        ("FLOP", "spare", lambda item: compact(item.flop)),
        ("bytes", "spare", lambda item: quantity(item.bytes, "byte")),
        ("message", "spare", lambda item: quantity(item.message_bytes, "byte")),
        ("dtype", "word", lambda item: item.dtype),
        ("of peak", "number", lambda item: _achieved(item.compute_frac)),
        ("of bandwidth", "number", lambda item: _achieved(item.memory_frac)),
    )
