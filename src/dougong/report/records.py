"""Catalog records as text: one in full, two side by side, a kind as a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.facts import Figure, Source, Unknown
from dougong.report.numbers import UNKNOWN, compact, exact, parameters, quantity
from dougong.report.parts import Columns, listing, pairs, section
from dougong.report.sheets import Sheet, Value, core_words, experts_words
from dougong.report.sources import printed_words, source_words

Find = Callable[[str], Source | None]


def reading(value: Value | None) -> str:
    """Return our reading of a figure, in base units behind a prefix."""
    if not isinstance(value, Figure):
        return "unknown" if isinstance(value, Unknown) else UNKNOWN
    return parameters(value) if value.dimension == "parameter" else quantity(float(value), value.dimension)


def draw_sheet(sheet: Sheet, find: Find) -> RenderableType:
    """Draw a record: facts, figures as printed with rivals and holes, layers of a model, sources."""
    parts: list[RenderableType] = [
        Text(f"{sheet.title}", style="bold").append(f"  {sheet.kind} {sheet.id}", style="dim")
    ]
    parts.append(pairs(sheet.facts.items()))
    if sheet.values:
        rows = [row for key, value in sheet.values.items() for row in _figure_rows(key, value)]
        columns = [("figure", "word"), ("our reading", "number"), ("as printed, and where", "words")]
        parts.append(section("Figures", Columns([*columns, ("on whose word", "words")], rows)))
    if sheet.layers:
        layers = listing(
            sheet.layers,
            ("layers", "words", lambda layer: layer.name),
            ("count", "number", lambda layer: exact(layer.count)),
            ("attention", "words", lambda layer: core_words(layer.core)),
            (
                "values cached per token",
                "number",
                lambda layer: compact(layer.core.entry_values / layer.core.compress),
            ),
            ("experts", "note", lambda layer: experts_words(layer.experts)),
        )
        parts.append(section("Layers", layers))
    cited = sorted({figure.source for value in sheet.values.values() for figure in _with_rivals(value)})
    if cited:
        parts.append(section("Sources", pairs((name, source_words(name, find(name))) for name in cited)))
    if sheet.note:
        parts.append(section("Note", Text(sheet.note)))
    return Group(*parts)


def _with_rivals(value: Value) -> Iterator[Figure]:
    if isinstance(value, Figure):
        yield value
        for rival in value.rivals:
            yield from _with_rivals(rival)


def _figure_rows(key: str, value: Value) -> Iterator[list[str | Text]]:
    if isinstance(value, Unknown):
        yield [key, Text("unknown", style="yellow"), value.reason, ""]
        return
    yield [key, reading(value), _printed(value), _word(value)]
    for rival in value.rivals:
        yield [Text("  rival", style="dim"), reading(rival), _printed(rival), _word(rival)]


def _printed(figure: Figure) -> str:
    why = figure.why if figure.why and not figure.read_as else ""
    return "; ".join(part for part in (printed_words(figure), figure.at, why) if part)


def _word(figure: Figure) -> str:
    return f"{figure.source} ({figure.grade})"


def draw_difference(left: Sheet, right: Sheet) -> RenderableType:
    """Draw two records side by side: only what differs, figures with their ratio."""
    head = Text(f"{left.title} and {right.title}", style="bold")
    facts = [
        [name, left.facts.get(name, UNKNOWN), right.facts.get(name, UNKNOWN)]
        for name in dict.fromkeys([*left.facts, *right.facts])
        if left.facts.get(name) != right.facts.get(name)
    ]
    values = [
        [key, reading(left.values.get(key)), reading(right.values.get(key)), ratio_words(left, right, key)]
        for key in dict.fromkeys([*left.values, *right.values])
        if _differ(left.values.get(key), right.values.get(key))
    ]
    parts: list[RenderableType] = [head]
    if facts:
        parts.append(
            section("Facts", Columns([("", "word"), (left.id, "words"), (right.id, "words")], facts))
        )
    if values:
        columns = [("figure", "word"), (left.id, "number"), (right.id, "number"), ("ratio", "number")]
        parts.append(section("Figures", Columns(columns, values)))
    if not facts and not values:
        parts.append(Text("no difference"))
    return Group(*parts)


def ratio(left: Sheet, right: Sheet, key: str) -> float | None:
    """Return the right figure over the left one; None where either is unknown."""
    a, b = left.values.get(key), right.values.get(key)
    return float(b) / float(a) if isinstance(a, Figure) and isinstance(b, Figure) and a else None


def ratio_words(left: Sheet, right: Sheet, key: str) -> str:
    """Return the ratio of two figures in words."""
    value = ratio(left, right, key)
    return UNKNOWN if value is None else f"×{compact(value)}"


def _differ(left: Value | None, right: Value | None) -> bool:
    if isinstance(left, Figure) and isinstance(right, Figure):
        return float(left) != float(right)
    return isinstance(left, Figure) or isinstance(right, Figure)


def differences(left: Sheet, right: Sheet) -> list[dict[str, object]]:
    """Return what :func:`draw_difference` shows as records: key, both readings in base units, ratio."""
    return [
        {
            "key": key,
            "left": left.values.get(key),
            "right": right.values.get(key),
            "ratio": ratio(left, right, key),
        }
        for key in dict.fromkeys([*left.values, *right.values])
        if _differ(left.values.get(key), right.values.get(key))
    ]


def draw_list(sheets: Sequence[Sheet]) -> RenderableType:
    """Draw a kind of records, one line each."""
    columns: list[tuple[str, str, Callable[[Sheet], str | Text]]] = [
        ("id", "word", lambda sheet: sheet.id),
        ("name", "words", lambda sheet: sheet.title),
    ]
    columns += [(heading, "spare", cell) for heading, cell in _LISTED[sheets[0].kind]] if sheets else []
    return listing(sheets, *columns)


def _value(key: str) -> Callable[[Sheet], str]:
    return lambda sheet: reading(sheet.values.get(key))


def _fact(name: str) -> Callable[[Sheet], str]:
    return lambda sheet: sheet.facts.get(name, UNKNOWN)


def _sixteen_bits(sheet: Sheet) -> str:
    return reading(sheet.values.get("compute.bf16.dense") or sheet.values.get("compute.fp16.dense"))


def _count(name: str) -> Callable[[Sheet], str]:
    return lambda sheet: parameters(sheet.counts[name])


_LISTED: dict[str, tuple[tuple[str, Callable[[Sheet], str]], ...]] = {
    "chip": (
        ("16-bit dense", _sixteen_bits),
        ("memory", _value("memory.capacity")),
        ("bandwidth", _value("memory.bandwidth")),
        ("scale-up", _value("links.scale_up.bandwidth")),
        ("power", _value("power.tdp")),
    ),
    "system": (("vendor", _fact("vendor")), ("chips", lambda sheet: sheet.facts["chips"].partition(" (")[0])),
    "model": (
        ("vendor", _fact("vendor")),
        ("parameters", _count("parameters")),
        ("active", _count("active")),
        ("layers", _fact("layers")),
        ("context", _fact("context")),
    ),
    "source": (("publisher", _fact("publisher")), ("date", _fact("date")), ("kind", _fact("kind"))),
    "price": (),
}
"""Kind -> what its list shows beside id and name."""
