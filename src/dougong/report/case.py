"""One published case taken apart, as text: conditions, figures, memory, time, and what would match."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.backtest.case import AnyCase, Case, OperatorCase
from dougong.backtest.explain import Explained
from dougong.backtest.run import Outcome
from dougong.backtest.views import Match
from dougong.report.backtest import amount, range_of, signed, words_of
from dougong.report.numbers import UNKNOWN, compact, exact, percent, plural, quantity
from dougong.report.parts import lines, listing, pairs, section
from dougong.report.steps import memory_section, operator_section, time_section


def draw_explained(found: Explained) -> RenderableType:
    """Draw a case: what it says, what was predicted, where bytes and seconds go, what would match."""
    case = found.case
    parts: list[RenderableType] = [
        Text(case_sentence(found), style="bold"),
        Text(_place(case), style="dim"),
        section("Conditions", pairs(conditions(found))),
    ]
    if isinstance(case, Case) and case.assumed:
        parts.append(section("Assumed", lines(case.assumed), aside="the source does not say it"))
    if notes := [note for note in (case.note, case.known_miss) if note]:
        parts.append(section("Notes", lines(notes)))
    if found.refused is None:
        parts.append(section("Measured and predicted", _figures(found)))
    if found.matches:
        matches = _matches(found)
        parts.append(
            section("What would match", matches, aside="time of steps; floor: a chip without losses")
        )
    if found.limits:
        parts.append(section("What limits", lines(found.limits)))
    if found.pools:
        parts += [memory_section(found), time_section(found), operator_section(found)]
    return Group(*parts)


def case_sentence(found: Explained) -> str:
    """Return the verdict in one sentence: the figure that lies furthest off, or why there is none."""
    known = [outcome for outcome in found.outcomes if outcome.error_frac is not None]
    if not known:
        return f"{found.case.id}: no prediction, {found.refused or 'nothing is measured'}"
    furthest = max(known, key=lambda outcome: abs(outcome.error_frac or 0.0))
    inside = "inside" if furthest.covered else "outside"
    return (
        f"{found.case.id}: {words_of(furthest.metric)} {amount(furthest.metric, furthest.predicted)} predicted for "
        f"{amount(furthest.metric, furthest.measured)} measured, {signed(furthest.error_frac)}, {inside} its interval"
    )


def _place(case: AnyCase) -> str:
    source = case.source
    return ", ".join(word for word in (source.document, source.section, source.publisher) if word)


def conditions(found: Explained) -> list[tuple[str, str]]:
    """Return every condition that the record of a case states, with its name."""
    case = found.case
    said = list(_serving(case, found) if isinstance(case, Case) else _operator(case))
    return [(name, words) for name, words in said if words]


def _operator(case: OperatorCase) -> Iterator[tuple[str, str]]:
    yield "operator", case.op
    yield "chip", case.chip
    yield "library", case.library
    yield "shape", ", ".join(f"{name} {compact(value, 6)}" for name, value in case.shape.items())
    yield from case.words.items()


def _serving(case: Case, found: Explained) -> Iterator[tuple[str, str]]:
    priced = found.model if found.model and found.model != case.model else ""
    yield "model", f"{case.model}, priced as {priced}" if priced else case.model
    yield "system", case.system
    yield "engine", f"{case.engine} (class {case.engine_class})"
    precision = case.precision
    stored = (("weights", precision.weights), ("experts", precision.experts))
    multiplied = (("activations", precision.activations), ("KV cache", precision.kv))
    stated = ", ".join(f"{name} {dtype}" for name, dtype in (*stored, *multiplied) if dtype)
    yield "precision", stated or "the checkpoint's own"
    for phase, placed in case.layouts.items():
        chips = f" on {exact(case.chips[phase])} chips" if phase in case.chips else ""
        yield "layout" if phase == "all" else f"{phase} layout", f"{placed}{chips}"
    tokens = (
        ("prompt", case.prompt_tokens), ("output", case.output_tokens), ("cached while decoding", case.context_tokens),
        ("prompt tokens of a step", case.prefill_batch_tokens),
    )  # fmt: skip
    yield "tokens", ", ".join(f"{name} {exact(count)}" for name, count in tokens if count)
    yield "load", ", ".join(_load(case))
    if case.prefix_hit_frac:
        yield "prefix cache", f"{percent(case.prefix_hit_frac)} of the prompt"
    if case.draft_tokens:
        accepted = "unstated" if case.acceptance is None else percent(case.acceptance)
        yield "speculation", f"{plural(case.draft_tokens, 'token')} drafted, acceptance {accepted}"
    if case.balanced_experts:
        yield "experts", "load forced even"
    if case.micro_batches:
        yield "micro-batches", "two, one's exchange behind the other's compute"
    yield (
        "limits",
        ", ".join(f"{words_of(name)} ≤ {amount(name, limit)}" for name, limit in case.limits.items()),
    )
    yield "promise", "" if case.tolerance is None else f"within {percent(case.tolerance)}"


def _load(case: Case) -> Iterator[str]:
    if case.concurrency:
        yield f"{exact(case.concurrency)} requests in flight"
    if case.requests:
        yield f"{exact(case.requests)} requests in all"
    if case.rate_requests_per_s:
        yield f"{compact(case.rate_requests_per_s)} requests/s offered"
    if case.batch_per_device:
        yield f"{compact(case.batch_per_device)} sequences per device"
    if case.saturated:
        yield "saturated"


def _figures(found: Explained) -> RenderableType:
    return listing(
        found.outcomes,
        ("", "words", lambda item: words_of(item.metric)),
        ("measured", "number", lambda item: amount(item.metric, item.measured)),
        ("predicted", "number", _predicted),
        ("80 % interval", "number", range_of),
        ("error", "number", lambda item: signed(item.error_frac)),
        ("", "word", _verdict),
    )


def _predicted(outcome: Outcome) -> str:
    return UNKNOWN if outcome.predicted is None else amount(outcome.metric, outcome.predicted)


def _verdict(outcome: Outcome) -> str:
    return "" if outcome.covered is None else "inside" if outcome.covered else "outside"


def _matches(found: Explained) -> RenderableType:
    return listing(
        found.matches,
        ("for", "words", lambda item: words_of(item.metric)),
        (
            "all steps",
            "number",
            lambda item: UNKNOWN if item.every_step is None else f"×{compact(item.every_step)}",
        ),
        ("or", "word", lambda item: f"{item.step} step" if item.step else ""),
        ("priced", "number", lambda item: quantity(item.step_s, "s")),
        ("would match", "number", _alone),
        ("floor", "number", lambda item: quantity(item.floor_s, "s")),
    )


def _alone(match: Match) -> str:
    if match.alone_s is None:
        return UNKNOWN
    below = match.floor_s is not None and match.alone_s < match.floor_s
    return f"{quantity(match.alone_s, 's')}{' (below the floor)' if below else ''}"
