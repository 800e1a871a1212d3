"""Several systems side by side, each against the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from dougong.plan.types import Infeasible, Option, Plan
from dougong.report.numbers import UNKNOWN, compact, exact, interval, money, plural, quantity
from dougong.report.parts import GAP, Columns, section
from dougong.report.plan import asked, infeasible_sentence, pools_words
from dougong.report.sources import sources_section
from dougong.report.why import notes_section, refusals_section

Answer = Plan | Infeasible

_NARROW = 16
"""Columns below which a system's column is not read any more."""

METRICS: tuple[tuple[str, Callable[[Option], float | None], Callable[[Option], str]], ...] = (
    (
        "tokens/s per chip",
        lambda option: option.output_tokens_per_s_per_chip.value,
        lambda option: interval(option.output_tokens_per_s_per_chip),
    ),
    (
        "tokens/s in all",
        lambda option: option.output_tokens_per_s.value,
        lambda option: interval(option.output_tokens_per_s),
    ),
    (
        "TPOT",
        lambda option: option.tpot_s.value or None,  # one output token has none
        lambda option: interval(option.tpot_s, "s") if option.tpot_s.value else UNKNOWN,
    ),
    ("TTFT", lambda option: option.ttft_s.value, lambda option: interval(option.ttft_s, "s")),
    ("power", lambda option: _watts(option), lambda option: quantity(_watts(option), "W")),
    ("tokens/s per kW", lambda option: tokens_per_kw(option), lambda option: _compact(tokens_per_kw(option))),
    (
        "USD per million tokens",
        lambda option: option.usd_per_million_output_tokens,
        lambda option: money(option.usd_per_million_output_tokens),
    ),
    (
        "gCO2e per million tokens",
        lambda option: option.grams_co2e_per_million_output_tokens,
        lambda option: _compact(option.grams_co2e_per_million_output_tokens),
    ),
)
"""(name, value for the ratio, words)."""


def tokens_per_kw(option: Option) -> float | None:
    """Output tokens/s per kilowatt of the chips in use [token/s/kW]."""
    watts = _watts(option)
    return option.output_tokens_per_s.value / watts * 1e3 if watts else None


def _watts(option: Option) -> float | None:
    return option.watts_per_chip * option.chips if option.watts_per_chip is not None else None


def _compact(value: float | None) -> str:
    return UNKNOWN if value is None else compact(value)


def draw_comparison(answers: Sequence[Answer]) -> RenderableType:
    """Draw one column per system, and what was refused below."""
    parts: list[RenderableType] = [
        Text(comparison_sentence(answers), style="bold"),
        Text(f"asked: {asked(answers[0].request)}", style="dim"),
        section("Side by side", _table(answers), aside="in brackets: the range; ×: against the first"),
    ]
    parts += [
        refusals_section(answer.refusals, f"Why not {_system(answer)}")
        for answer in answers
        if isinstance(answer, Infeasible) and answer.refusals
    ]
    if notes := _notes(answers):
        parts.append(notes_section(notes))
    uses = {(use.figure.record, use.figure.key): use for answer in answers for use in answer.figures}
    parts += [
        sources_section(list(uses.values())),
        Text(f"\ncatalog edition {answers[0].edition}", style="dim"),
    ]
    return Group(*parts)


def comparison_sentence(answers: Sequence[Answer]) -> str:
    """Return which system gives most per chip, in one sentence."""
    plans = [answer for answer in answers if isinstance(answer, Plan)]
    if not plans and len(answers) > 1:
        return f"No: none of {plural(len(answers), 'system')} can serve {answers[0].request.model} as asked."
    if not plans:
        return infeasible_sentence(answers[0]) if isinstance(answers[0], Infeasible) else ""
    best, why = _best(plans)
    return (
        f"{best.model_name}: {best.options[0].system} {why}; "
        f"{len(plans)} of {plural(len(answers), 'system')} can serve it as asked."
    )


def _best(plans: Sequence[Plan]) -> tuple[Plan, str]:
    # By the objective that was asked, with what it goes by.
    objective = plans[0].request.objective
    if objective == "cost":
        best = min(plans, key=lambda plan: plan.options[0].usd_per_million_output_tokens or 0.0)
        cost = best.options[0].usd_per_million_output_tokens
        return best, f"costs least, {money(cost)} per million output tokens"
    if objective == "latency":
        one = plans[0].request.workload.output_tokens <= 1
        name = "ttft_s" if one else "tpot_s"
        best = min(plans, key=lambda plan: getattr(plan.options[0], name).value)
        return best, f"is quickest, {name[:4].upper()} {interval(getattr(best.options[0], name), 's')}"
    if objective == "chips":
        best = min(plans, key=lambda plan: plan.options[0].chips)
        return best, f"takes fewest, {plural(best.options[0].chips, 'chip')}"
    best = max(plans, key=lambda plan: plan.options[0].output_tokens_per_s_per_chip.value)
    return (
        best,
        f"gives most per chip, {interval(best.options[0].output_tokens_per_s_per_chip)} output tokens/s",
    )


def _system(answer: Answer) -> str:
    return answer.options[0].system if isinstance(answer, Plan) else answer.request.systems[0]


def _notes(answers: Sequence[Answer]) -> list[str]:
    # A note of one system qualifies its column only, so it says whose it is; what all share is said once.
    said = [(f"{_system(answer)}: ", note) for answer in answers for note in answer.notes]
    shared = {note for _, note in said if all(note in answer.notes for answer in answers)}
    own = [f"{whose}{note}" for whose, note in said if note not in shared]
    return list(dict.fromkeys([*own, *(note for _, note in said if note in shared)]))


@dataclass(frozen=True, slots=True)
class _Table:
    """One column per system, as many beside each other as the width takes."""

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    """A label, and a cell per system."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - max(len(row[0]) for row in self.rows)
        beside: list[int] = []
        for place in range(1, len(self.names) + 1):
            taken = sum(max(len(self.names[at - 1]), _NARROW) + GAP for at in (*beside, place))
            if beside and taken > room:
                yield self._part(beside)
                yield Text("")
                beside = []
            beside.append(place)
        yield self._part(beside)

    def _part(self, places: Sequence[int]) -> Columns:
        heads = [("", "word"), *((self.names[at - 1], "words") for at in places)]
        return Columns(heads, [[row[0], *(row[at] for at in places)] for row in self.rows])


def _table(answers: Sequence[Answer]) -> _Table:
    winners = [answer.options[0] if isinstance(answer, Plan) else None for answer in answers]
    rows: list[list[str]] = [
        [
            "layout",
            *(pools_words(winner.pools) if winner else "cannot be served as asked" for winner in winners),
        ],
        ["chips", *(exact(winner.chips) if winner else UNKNOWN for winner in winners)],
        ["users", *(compact(winner.users) if winner else UNKNOWN for winner in winners)],
    ]
    for name, value, words in METRICS:
        first = value(winners[0]) if winners[0] else None
        cells = [
            f"{words(winner)}{_ratio(value(winner), first if place else None)}" if winner else UNKNOWN
            for place, winner in enumerate(winners)
        ]
        rows.append([name, *cells])
    return _Table([_system(answer) for answer in answers], rows)


def _ratio(value: float | None, first: float | None) -> str:
    return f"  ×{compact(value / first)}" if value is not None and first else ""
