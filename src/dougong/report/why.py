"""Why the winner wins, and who was turned away for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import RenderableType
from rich.text import Text

from dougong.plan.types import Explanation, Refusal
from dougong.report.numbers import compact, exact, percent, plural
from dougong.report.parts import lines, listing, pairs, section

FAMILIES = 6
"""Families of layouts that are told; the rest stand in the JSON."""


def why_section(explanation: Explanation) -> RenderableType:
    """The binding constraint, what ten percent more would buy, and the families that lost."""
    said: list[tuple[str, str]] = [("held back by", explanation.binding)]
    if explanation.ties:
        said.append(
            ("ties", f"{plural(explanation.ties, 'other')} within the interval: not to be told apart from it")
        )
    parts: list[RenderableType] = [pairs(said)]
    if explanation.sensitivities:
        gains = listing(
            sorted(explanation.sensitivities, key=lambda item: -item.gain_frac),
            ("10 % more", "words", lambda item: item.knob),
            ("buys", "number", lambda item: _gain(item.gain_frac, explanation.measure)),
            ("", "note", lambda item: item.note),
        )
        parts += [Text(""), gains]
    if explanation.families:
        families = listing(
            explanation.families[:FAMILIES],
            ("family", "words", lambda item: item.name),
            ("tokens/s per chip", "number", lambda item: compact(item.best_tokens_per_s_per_chip)),
            ("", "words", lambda item: item.verdict),
        )
        parts += [Text(""), families]
    return section("Why", *parts)


def _gain(fraction: float, measure: str) -> str:
    # More throughput is better, less of everything else is.
    if abs(fraction) < 0.0005:
        return "nothing"
    said = percent(fraction)
    if measure != "tokens/s per chip":
        sign = ("−" if fraction > 0 else "+") if said[0].isdigit() else ""
        return f"{sign}{percent(abs(fraction))} {measure}"
    return f"+{said}" if said[0].isdigit() and fraction > 0 else said


def refusals_section(refusals: Sequence[Refusal], title: str = "Turned away") -> RenderableType:
    """Candidates refused, reason by reason, each with numbers and what would help."""
    # Several systems, or modes, turn candidates away with the same words: one line tells of all.
    alike: dict[Refusal, int] = {}
    for refusal in refusals:
        words = replace(refusal, count=0)
        alike[words] = alike.get(words, 0) + refusal.count
    told = [replace(words, count=count) for words, count in alike.items()]
    table = listing(
        sorted(told, key=lambda refusal: (-refusal.count, refusal.reason)),
        ("candidates", "number", lambda item: exact(item.count)),
        ("reason", "word", lambda item: item.reason),
        ("for instance", "words", _instance),
        ("what would help", "words", lambda item: item.remedy),
    )
    return section(title, table)


def _instance(refusal: Refusal) -> str:
    told = not refusal.example or refusal.example in refusal.detail
    return refusal.detail if told else f"{refusal.example}: {refusal.detail}"


def notes_section(notes: Sequence[str]) -> RenderableType:
    """What the reader should know of the numbers above."""
    return section("Notes", lines(notes))
