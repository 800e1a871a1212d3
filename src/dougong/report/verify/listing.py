"""What the suite has, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.ops.definition import FAMILIES
from dougong.ops.definitions import DEFINITIONS
from dougong.ops.semantics import SWITCHES
from dougong.report.parts import Columns
from dougong.verify.families import cases
from dougong.verify.mutants import MUTANTS
from dougong.verify.run import selected
from dougong.verify.semantics import SEMANTICS

Rows = list[tuple[str, ...]]


def rows_of(kind: str, profile: str, only: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    """Return the headings and rows of a kind."""
    if kind == "cases":
        found = selected(profile, only)
        return ("case", "profile", "edge", "geometry", "provenance"), [
            (case.id, case.profile, case.edge, case.geometry, ", ".join(case.provenance)) for case in found
        ]
    return _LISTS[kind]()


def draw_rows(columns: Sequence[str], rows: Rows) -> RenderableType:
    """Draw them, with their number below."""
    kinds = ["word", *("words" for _ in columns[1:])]
    plain = [tuple(str(cell) for cell in row) for row in rows]
    return Group(
        Columns(list(zip(columns, kinds, strict=True)), plain), Text(f"{len(rows):,} in all", style="dim")
    )


def _backends() -> tuple[tuple[str, ...], Rows]:
    from dougong.backends.registry import names

    return ("backend", "offered by"), [(name, by) for name, by in names().items()]


def _families() -> tuple[tuple[str, ...], Rows]:
    counts = Counter((case.family, case.profile) for case in cases())
    operators = Counter(definition.family for definition in DEFINITIONS.values())
    mutants = Counter(mutant.caught_by.partition("/")[0] for mutant in MUTANTS)
    rows = [
        (
            name,
            says,
            str(operators[name]),
            str(counts[name, "smoke"]),
            str(counts[name, "smoke"] + counts[name, "standard"]),
            str(sum(counts[name, profile] for profile in ("smoke", "standard", "full"))),
            str(mutants[name]),
        )
        for name, says in FAMILIES.items()
    ]
    return ("family", "of", "operators", "smoke", "standard", "full", "mutants"), rows


def _mutants() -> tuple[tuple[str, ...], Rows]:
    return ("mutant", "fault", "meant for", "provenance"), [
        (mutant.name, mutant.fault, mutant.caught_by, ", ".join(mutant.provenance)) for mutant in MUTANTS
    ]


def _switches() -> tuple[tuple[str, ...], Rows]:
    profiles = tuple(SEMANTICS)
    rows = [
        (name, switch.question, *(" or ".join(SEMANTICS[profile].accepts[name]) for profile in profiles))
        for name, switch in SWITCHES.items()
    ]
    return ("switch", "question", *profiles), rows


_LISTS: dict[str, Callable[[], tuple[tuple[str, ...], Rows]]] = {
    "backends": _backends,
    "families": _families,
    "mutants": _mutants,
    "switches": _switches,
}
