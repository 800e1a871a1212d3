"""The face of the project: a plan, or a no with its reasons, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from rich.console import Group, RenderableType
from rich.text import Text

from dougong import units
from dougong.plan.types import Infeasible, Interval, Option, Plan, PlanRequest, Pool
from dougong.report.numbers import compact, exact, interval, money, percent, plural, quantity
from dougong.report.parts import listing, pairs, section
from dougong.report.sources import sources_section
from dougong.report.steps import memory_section, operator_section, time_section
from dougong.report.why import notes_section, refusals_section, why_section

TIE = "≈"


def draw_answer(answer: Plan | Infeasible, *, explain: bool = False) -> RenderableType:
    """Draw a plan or a no."""
    return draw_plan(answer, explain=explain) if isinstance(answer, Plan) else draw_infeasible(answer)


def draw_plan(plan: Plan, *, explain: bool = False) -> RenderableType:
    """Draw a plan: one sentence, the winner, the others, where bytes and seconds go, why, on whose word."""
    winner = plan.options[0]
    parts: list[RenderableType] = [
        Text(plan_sentence(plan), style="bold"),
        Text(f"asked: {asked(plan.request)}", style="dim"),
        Text(f"precision: {plan.precision_note}", style="dim"),
        _winner(plan.request, winner),
        _ranked(plan),
        memory_section(winner),
        time_section(winner),
    ]
    if explain:
        parts.append(operator_section(winner))
    parts.append(why_section(plan.explanation))
    if plan.refusals:
        parts.append(refusals_section(plan.refusals))
    if notes := [note for note in plan.notes if note != plan.precision_note]:
        parts.append(notes_section(notes))
    parts += [sources_section(plan.figures), _seal(plan.edition, plan.fingerprint)]
    return Group(*parts)


def draw_infeasible(answer: Infeasible) -> RenderableType:
    """Draw a no: what was asked, why it cannot be, what would help, what comes nearest."""
    request = answer.request
    parts: list[RenderableType] = [
        Text(infeasible_sentence(answer), style="bold"),
        Text(f"asked: {asked(request)}", style="dim"),
    ]
    if answer.refusals:
        parts.append(refusals_section(answer.refusals, "Why not"))
    if answer.nearest is not None:
        short = "breaks a limit" if _over(answer.nearest, request) else "carries less than is asked"
        parts.append(_card("Nearest", request, answer.nearest, short))
    if answer.notes:
        parts.append(notes_section(answer.notes))
    if answer.figures:
        parts.append(sources_section(answer.figures))
    parts.append(_seal(answer.edition, ""))
    return Group(*parts)


def plan_sentence(plan: Plan) -> str:
    """Return the answer in one sentence."""
    winner = plan.options[0]
    cost = winner.usd_per_million_output_tokens
    price = f", {money(cost)} per million output tokens" if cost is not None else ""
    pace = f"TPOT {interval(winner.tpot_s, 's')} and " if has_pace(plan.request) else ""
    return (
        f"Yes: {plan.model_name} on {winner.system}, {winner.mode} on {plural(winner.chips, 'chip')}, gives "
        f"{interval(winner.output_tokens_per_s_per_chip)} output tokens/s per chip at "
        f"{pace}TTFT {interval(winner.ttft_s, 's')}{price}."
    )


def has_pace(request: PlanRequest) -> bool:
    """Return whether there is a time per output token: one token has none."""
    return request.workload.output_tokens > 1


def infeasible_sentence(answer: Infeasible) -> str:
    """Return the no in one sentence, with the reason that decides."""
    systems = " or ".join(answer.request.systems)
    because = _because(answer).rstrip(".")
    model = "/".join(PurePath(answer.request.model).parts[-2:])  # an id, or the end of a path
    return f"No: {model} cannot be served on {systems} as asked{because and ': '}{because}."


_DECIDING = (
    "context",
    "price",
    "one-token",
    "load",
    "pool-link",
    "launchable",
    "memory",
    "devices",
    "links-known",
)
"""Reasons that decide a no, before rules that only narrow what is tried."""


def _because(answer: Infeasible) -> str:
    if answer.nearest is not None and (over := _over(answer.nearest, answer.request)):
        return f"the nearest, {pools_words(answer.nearest.pools)}, has {' and '.join(over)}"
    for reason in _DECIDING:
        if told := dict.fromkeys(item.detail for item in answer.refusals if item.reason == reason):
            return "; ".join(told)
    most = max(answer.refusals, key=lambda refusal: refusal.count, default=None)
    return most.detail if most else ""


def _over(option: Option, request: PlanRequest) -> list[str]:
    limits = (
        ("TTFT", option.ttft_s.value, request.limit.ttft_s),
        ("TPOT", option.tpot_s.value, request.limit.tpot_s),
    )
    told = [
        (name, *units.show_apart(value, limit, "s"))
        for name, value, limit in limits
        if limit is not None and value > limit
    ]
    return [f"{name} {value} where {limit} is the limit" for name, value, limit in told]


def asked(request: PlanRequest) -> str:
    """Return the question in one line."""
    workload, limit = request.workload, request.limit
    tokens = "tokens" if has_pace(request) else "token"
    lengths = f"prompt {_length(workload.prompt_tokens)}, output {_length(workload.output_tokens)} {tokens}"
    said = [lengths if workload.source == "flags" else f"{lengths} ({workload.source})"]
    if workload.prefix_hit_frac:
        said.append(f"{percent(workload.prefix_hit_frac)} of the prompt cached")
    if workload.rate_requests_per_s is not None:
        said.append(f"{_requests(workload.rate_requests_per_s)}/s")
    if workload.users is not None:
        said.append(f"{plural(workload.users, 'user')}")
    limits = (("TTFT", limit.ttft_s), ("TPOT", limit.tpot_s))
    said += [f"{name} ≤ {quantity(value, 's')}" for name, value in limits if value is not None]
    said.append(f"objective {request.objective}")
    if request.mode != "auto":
        said.append(request.mode)
    if request.chips is not None:
        said.append(f"at most {plural(request.chips, 'chip')}")
    if request.draft_tokens:
        accepted = f" accepted at {percent(request.acceptance)}" if request.acceptance is not None else ""
        said.append(f"{plural(request.draft_tokens, 'draft token')}{accepted}")
    said.append(f"engine class {request.engine}")
    if request.launchable is not None:
        said.append(f"launchable by {request.launchable}")
    return " · ".join(said)


def _length(tokens: float) -> str:
    return exact(round(tokens, 1 if tokens < 100 else 0))


def pools_words(pools: Sequence[Pool]) -> str:
    """Return the layouts of a deployment in one cell."""
    return " + ".join(
        f"{'' if pool.phase == 'both' else pool.phase + ' '}{exact(pool.replicas)}× {pool.layout}"
        for pool in pools
    )


def _winner(request: PlanRequest, winner: Option) -> RenderableType:
    return _card("Winner", request, winner, winner.mode)


def _card(title: str, request: PlanRequest, option: Option, aside: str) -> RenderableType:
    pools = listing(
        option.pools,
        ("phase", "word", lambda pool: pool.phase),
        ("layout of a replica", "words", lambda pool: str(pool.layout)),
        ("replicas", "number", lambda pool: exact(pool.replicas)),
        ("chips", "number", _chips),
        ("in flight", "spare", lambda pool: compact(pool.sequences_per_replica)),
        ("tokens a step", "spare", lambda pool: compact(pool.tokens_per_step)),
        ("step", "number", lambda pool: quantity(pool.step_s, "s")),
        ("busy", "number", lambda pool: percent(pool.utilisation)),
    )
    return section(title, pools, Text(""), pairs(_facts(request, option)), aside=f"{option.system}, {aside}")


def _chips(pool: Pool) -> str:
    # A runtime may see several devices, its dies, on one chip.
    whole = float(pool.chips).is_integer()
    return exact(pool.chips) if whole else plural(pool.replicas * pool.layout.devices, "die")


def _facts(request: PlanRequest, option: Option) -> list[tuple[str, str]]:
    per_chip, whole = interval(option.output_tokens_per_s_per_chip), interval(option.output_tokens_per_s)
    idle = option.chips_counted - option.chips
    spare = f", {plural(idle, 'idle chip')} counted" if idle > 0 else ""
    facts = [
        ("TTFT", interval(option.ttft_s, "s") + _against(option.ttft_s, request.limit.ttft_s)),
        ("TPOT", _pace(request, option)),
        ("output", f"{per_chip} tokens/s per chip{spare}; {whole} tokens/s in all"),
        ("load", f"{_requests(option.users)} in flight, {_requests(option.requests_per_s)}/s"),
    ]
    if option.kv_transfer_s:
        facts.append(("KV transfer", quantity(option.kv_transfer_s, "s")))
    return [*facts, ("cost", _cost(option)), ("energy", _energy(option))]


def _requests(count: float) -> str:
    return f"{compact(count)} request{'' if count == 1 else 's'}"


def _pace(request: PlanRequest, option: Option) -> str:
    if not has_pace(request):
        return "none: the only output token comes with the prompt's last step"
    return interval(option.tpot_s, "s") + _against(option.tpot_s, request.limit.tpot_s)


def _cost(option: Option) -> str:
    power, per = option.electricity_usd_per_million_output_tokens, " per million output tokens"
    if option.usd_per_million_output_tokens is None:
        unknown = "unknown: no price of this chip in the catalog; give --usd-per-chip-hour"
        return f"{unknown}; electricity alone {money(power)}{per}" if power is not None else unknown
    held = f", {money(power)} of it for electricity" if power is not None else ""
    return f"{money(option.usd_per_million_output_tokens)}{per}{held}"


def _energy(option: Option) -> str:
    if option.watts_per_chip is None:
        return "unknown: no power of this chip in the catalog; give --watts-per-chip"
    said = [f"{quantity(option.watts_per_chip, 'W')} per chip"]
    if option.joules_per_output_token is not None:
        said.append(f"{quantity(option.joules_per_output_token, 'J')} per output token")
    if option.grams_co2e_per_million_output_tokens is not None:
        said.append(f"{compact(option.grams_co2e_per_million_output_tokens)} gCO2e per million output tokens")
    return ", ".join(said)


def _against(value: Interval, limit: float | None) -> str:
    if limit is None:
        return ""
    if value.value > limit:
        return f", over the limit of {quantity(limit, 's')}"
    # A limit inside the interval may be missed: say so where it is read.
    sure = "" if value.high <= limit else ", though the interval reaches beyond"
    return f", within the limit of {quantity(limit, 's')}{sure}"


def _system(row: tuple[int, Option]) -> str:
    return row[1].system


def _tpot(row: tuple[int, Option]) -> str:
    return quantity(row[1].tpot_s.value, "s")


def _by(plan: Plan) -> str:
    # What the order below goes by; where nobody says a price, cost cannot be it.
    objective, workload = plan.request.objective, plan.request.workload
    loaded = workload.rate_requests_per_s is not None or workload.users is not None
    if objective == "cost" and plan.options[0].usd_per_million_output_tokens is not None:
        return "USD per million output tokens"
    if objective in ("latency", "chips"):
        latency = "TPOT, then TTFT" if has_pace(plan.request) else "TTFT"
        return {"latency": latency, "chips": "chips in use"}[objective]
    return "tokens/s per chip in use" if loaded else "tokens/s per chip at hand"


def _ranked(plan: Plan) -> RenderableType:
    numbered = list(enumerate(plan.options, 1))
    several = len({option.system for option in plan.options}) > 1
    rate = "output_tokens_per_s_per_chip"
    options = listing(
        numbered,
        ("#", "number", lambda row: str(row[0])),
        ("", "word", lambda row: TIE if row[1].tie else ""),
        *([("system", "word", _system)] if several else []),
        ("layout", "words", lambda row: pools_words(row[1].pools)),
        ("chips", "number", lambda row: exact(row[1].chips)),
        ("users", "spare", lambda row: compact(row[1].users)),
        ("TTFT", "number", lambda row: quantity(row[1].ttft_s.value, "s")),
        *([("TPOT", "number", _tpot)] if has_pace(plan.request) else []),
        ("tokens/s per chip", "number", lambda row: interval(getattr(row[1], rate))),
        ("in all", "spare", lambda row: compact(row[1].output_tokens_per_s.value)),
        ("USD/Mtok", "spare", lambda row: quantity(row[1].usd_per_million_output_tokens, "1")),
    )
    ties = f"; {TIE} cannot be told apart from the best" if any(option.tie for option in plan.options) else ""
    ranked = section(
        "Ranked", options, aside=f"by {_by(plan)}, best of {exact(plan.candidates)} candidates{ties}"
    )
    return Group(ranked, *_best_of_each(plan))


def _best_of_each(plan: Plan) -> list[RenderableType]:
    if not plan.best_of_each:
        return []
    # The options of one system may fill the ranking; who asked of several wants to see them all.
    lacking = len(plan.request.systems) - len(plan.best_of_each)
    shown = {option.system for option in plan.options}
    if not lacking and shown.issuperset(option.system for option in plan.best_of_each):
        return []
    listed = listing(
        plan.best_of_each,
        ("system", "word", lambda option: option.system),
        ("layout", "words", lambda option: pools_words(option.pools)),
        ("chips", "number", lambda option: exact(option.chips)),
        ("TTFT", "number", lambda option: quantity(option.ttft_s.value, "s")),
        ("TPOT", "number", lambda option: quantity(option.tpot_s.value, "s")),
        ("tokens/s per chip", "number", lambda option: interval(option.output_tokens_per_s_per_chip)),
        ("USD/Mtok", "spare", lambda option: quantity(option.usd_per_million_output_tokens, "1")),
    )
    return [
        section("Best of each system", listed, aside=f"{lacking} cannot serve it as asked" if lacking else "")
    ]


def _seal(edition: str, fingerprint: str) -> Text:
    said = [
        f"catalog edition {edition}" if edition else "",
        f"fingerprint {fingerprint}" if fingerprint else "",
    ]
    return Text("\n" + " · ".join(part for part in said if part), style="dim")
