"""The flags of a planning question, and the request they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dougong.cli.completion import (
    complete_choice,
    complete_files,
    complete_folders,
    complete_models,
    complete_systems,
    open_catalog,
    regions,
)
from dougong.cli.lazy import Option
from dougong.cli.output import check_picture
from dougong.cli.words import Faults, names
from dougong.errors import UnknownId
from dougong.workload import Limit, Workload

if TYPE_CHECKING:
    from dougong.catalog.store import Catalog
    from dougong.plan.launcher import Launchers
    from dougong.plan.types import PlanRequest

F = TypeVar("F", bound=Callable[..., Any])
Words = Mapping[str, Any]

PROMPT, OUTPUT = "4096", "1024"
"""Tokens of a request where nothing is said [token]; the answer repeats what was assumed."""

ASSUMED = "lengths assumed where none are given"

MOST = 1e6
"""No price of a chip-hour or kilowatt-hour, no grid and no chip comes near it [USD, g, W]."""

MOST_LOAD = 1e9
"""No service has more users or requests a second."""

LOAD, LIMITS, SEARCH = "Load", "Limits and objective", "What is tried"
RATES, OUTPUTS = "Money and energy", "Output"

# (section, flag, metavar, help); every value is read by us, so that all faults are told at once.
_FLAGS: tuple[tuple[str, str, str, str], ...] = (
    (LOAD, "--prompt", "TOKENS", f"Prompt tokens per request [{PROMPT}]."),
    (LOAD, "--output", "TOKENS", f"Output tokens per request [{OUTPUT}]."),
    (LOAD, "--trace", "FILE", "Take lengths, rate and prefix reuse from a request trace."),
    (LOAD, "--prefix-hit", "SHARE", "Share of the prompt found in a prefix cache, as 0.3 or 30%."),
    (LOAD, "--rate", "R", "Offered load in requests/s, or max: as much as is carried."),
    (LOAD, "--users", "N", "Requests in flight at once, instead of a rate."),
    (LIMITS, "--ttft", "TIME", "Mean time to first token at most, as 2s."),
    (LIMITS, "--tpot", "TIME", "Mean time per output token at most, as 50ms."),
    (LIMITS, "--objective", "WORD", "throughput, cost, latency or chips."),
    (SEARCH, "--mode", "WORD", "auto, colocated or disaggregated."),
    (
        SEARCH,
        "--precision",
        "WORD",
        "auto, native, bf16, fp8, int8, w8a16, w4a16, w4a8, mxfp4, nvfp4, q8_0, q4_1 or q4_0.",
    ),
    (SEARCH, "--kv-dtype", "DTYPE", "Stored dtype of the KV cache [the model's own]."),
    (
        SEARCH,
        "--max-context",
        "TOKENS",
        "Context that the engine extends the model to, as with YaRN [the model's own].",
    ),
    (SEARCH, "--engine", "CLASS", "Engine class of the calibration, as vendor-tuned or early-port."),
    (SEARCH, "--launchable", "ENGINE", "Only what this engine can launch, as vllm or sglang [anything]."),
    (SEARCH, "--chips", "N", "Use at most so many chips."),
    (SEARCH, "--draft-tokens", "K", "Draft tokens per step (speculation)."),
    (SEARCH, "--acceptance", "A", "Chance that a draft token is accepted, as 0.7."),
    (SEARCH, "--imbalance", "X", "Load of the busiest expert device over the mean [the class's own]."),
    (SEARCH, "--top", "N", "So many options in the ranking [5]."),
    (RATES, "--usd-per-chip-hour", "USD", "Price of one chip for an hour [the catalog's]."),
    (RATES, "--usd-per-kwh", "USD", "Price of electricity [the catalog's]."),
    (RATES, "--grid", "G", "Carbon intensity of the grid in gCO2e/kWh [the catalog's]."),
    (RATES, "--watts-per-chip", "W", "All-in power of one chip [the catalog's]."),
    (RATES, "--pue", "X", "Total over chip power of the site [1]."),
    (RATES, "--region", "NAME", "Whose electricity and grid."),
    (OUTPUTS, "--catalog", "DIR", "A folder of your own records; may be repeated."),
    (OUTPUTS, "--plot", "FILE", "Also draw it, to a .png or .svg file."),
    (OUTPUTS, "--json", "", "Print JSON in base units instead of text."),
)
_COMPLETED = {
    "FILE": complete_files,
    "DIR": complete_folders,
    **dict.fromkeys(("WORD", "DTYPE", "CLASS", "ENGINE", "NAME"), complete_choice),
}
"""Metavar -> what the tab key offers."""
_DEFAULTS = {
    "--objective": "throughput",
    "--mode": "auto",
    "--precision": "auto",
    "--engine": "community",
    "--region": "world",
}


def question_options(only: Sequence[str] | None = None) -> Callable[[F], F]:
    """Put the flags of a question on a command, all of them or ``only`` some."""

    def decorate(command: F) -> F:
        for section, flag, metavar, text in reversed(_FLAGS):
            if only is None or flag in only:
                command = _option(section, flag, metavar, text)(command)
        return command

    return decorate


def _option(section: str, flag: str, metavar: str, text: str) -> Callable[[F], F]:
    more: dict[str, Any] = (
        {"metavar": metavar, "multiple": flag == "--catalog"} if metavar else {"is_flag": True}
    )
    if metavar in _COMPLETED:
        more["shell_complete"] = _COMPLETED[metavar]
    if flag in _DEFAULTS:
        more |= {"default": _DEFAULTS[flag], "show_default": True}
    return click.option(flag, cls=Option, section=section, help=text, **more)


def model_argument(command: F) -> F:
    """Put the model on a command."""
    return click.argument("model", shell_complete=complete_models)(command)


def system_option(command: F) -> F:
    """Put the systems on a command."""
    return click.option(
        "--on",
        "systems",
        cls=Option,
        section="Where",
        metavar="SYSTEM",
        multiple=True,
        required=True,
        help='A system, a chip, or "16 x CHIP"; may be repeated, or a list with commas.',
        shell_complete=complete_systems,
    )(command)


def build_request(
    model: str, systems: Sequence[str], words: Words
) -> tuple[PlanRequest, Catalog, Launchers | None]:
    """Turn the words into a request, with its catalog and who is to launch what is planned.

    Raises
    ------
    InputError
        With every fault of the words, unknown ids included.
    """
    from dougong.plan.make import check
    from dougong.plan.types import PlanRequest

    faults = Faults()
    catalog = open_catalog(words["catalog"])
    record = None
    if model.strip():
        record = faults.keep("MODEL", lambda: catalog.model(model))
    else:
        faults.add("MODEL", "no model is named")
    for system in names(systems):
        faults.keep("--on", lambda name=system: catalog.system(name))
    max_context = faults.count("--max-context", words["max_context"])
    request = PlanRequest(
        model=model,
        systems=names(systems),
        workload=within(
            read_workload(words, faults), words, max_context or (record.max_context_tokens if record else 0)
        ),
        limit=read_limit(words, faults),
        objective=words["objective"],
        mode=words["mode"],
        precision=words["precision"],
        kv_dtype=words["kv_dtype"],
        engine=words["engine"],
        launchable=words["launchable"],
        chips=faults.count("--chips", words["chips"]),
        draft_tokens=faults.count("--draft-tokens", words["draft_tokens"]) or 0,
        acceptance=faults.quantity("--acceptance", words["acceptance"], "1"),
        imbalance=faults.quantity("--imbalance", words["imbalance"], "1"),
        top=read_top(words, faults),
        usd_per_chip_hour=_per_hour(faults, "--usd-per-chip-hour", words["usd_per_chip_hour"]),
        usd_per_kwh=_per_kwh(faults, "--usd-per-kwh", words["usd_per_kwh"], "USD/J", "USD/kWh"),
        grid_g_per_kwh=_per_kwh(faults, "--grid", words["grid"], "g/J", "g/kWh"),
        watts_per_chip=faults.quantity(
            "--watts-per-chip", words["watts_per_chip"], "W", default_unit="W", most=MOST
        ),
        pue=_or(faults.quantity("--pue", words["pue"], "1"), 1.0),
        region=words["region"],
        max_context_tokens=max_context,
        edition=catalog.edition(),
    )
    check_vocabulary(words, faults)
    launchers = faults.keep("--launchable", lambda: _launchers(request, catalog))
    check_picture(words["plot"], faults)
    check_region(words["region"], catalog, faults)
    # What could not be read is None here: only what could is judged.
    faults.keep("", lambda: check(request))
    faults.raise_if_any()
    return request, catalog, launchers


def _launchers(request: PlanRequest, catalog: Catalog) -> Launchers | None:
    """Return who is to launch what is planned; None where the request leaves that open.

    Raises
    ------
    UnknownId, PluginError
        No adapter has the name, or it does not load.
    """
    if request.launchable is None:
        return None
    from dougong.engines.launchable import launchers
    from dougong.engines.registry import engine_called, load_engines

    return launchers(engine_called(request.launchable, *load_engines()), request, catalog)


def check_vocabulary(words: Words, faults: Faults) -> None:
    """Check the words that name a precision, a dtype or an engine class."""
    from dougong.calibration.engines import engine_class
    from dougong.catalog.models import DTYPE_BITS
    from dougong.cost.precision import KV_DTYPES, PRECISIONS

    faults.keep("--engine", lambda: engine_class(words["engine"]))
    faults.choice("--precision", words["precision"], PRECISIONS)
    if words.get("kv_dtype") is not None and words["kv_dtype"] not in DTYPE_BITS:
        faults.choice("--kv-dtype", words["kv_dtype"], KV_DTYPES)


def check_region(region: str, catalog: Catalog, faults: Faults) -> None:
    """Check that somebody prints a price or a carbon intensity for the region."""
    known = regions(catalog)
    if region not in known:
        unknown = UnknownId("region", region, known)
        faults.add(
            "--region", unknown.message, unknown.hint if unknown.near else f"known: {', '.join(known)}"
        )


def read_workload(words: Words, faults: Faults) -> Workload:
    """Read lengths and load from flags or a trace; a faulty one is replaced by a harmless one."""
    prompt = faults.quantity("--prompt", words["prompt"] or PROMPT, "token")
    output = faults.quantity("--output", words["output"] or OUTPUT, "token")
    given: dict[str, Any] = {
        "prompt_tokens": _or(prompt, float(PROMPT)),
        "output_tokens": _or(output, float(OUTPUT)),
        "source": "flags" if words["prompt"] and words["output"] else ASSUMED,
    }
    if words["trace"] is not None:
        if words["prompt"] or words["output"]:
            faults.add("--trace", "it brings its own lengths; leave out --prompt and --output")
        from dougong.workload.trace import read_trace

        if trace := faults.keep("--trace", lambda: read_trace(words["trace"])):
            given = {
                "prompt_tokens": trace.prompt_tokens,
                "output_tokens": trace.output_tokens,
                "prefix_hit_frac": trace.prefix_hit_frac,
                "rate_requests_per_s": trace.rate_requests_per_s,
                "source": trace.source,
                "totals": trace.totals,
            }
    if (hit := faults.quantity("--prefix-hit", words.get("prefix_hit"), "1")) is not None:
        given["prefix_hit_frac"] = hit
    if words.get("rate") == "max":
        given["rate_requests_per_s"] = None
    elif (rate := faults.quantity("--rate", words.get("rate"), "request/s", most=MOST_LOAD)) is not None:
        given["rate_requests_per_s"] = rate
    if (users := faults.quantity("--users", words.get("users"), "token", most=MOST_LOAD)) is not None:
        given["users"] = users
        if words.get("rate") is None:
            given["rate_requests_per_s"] = None  # the trace's own rate gives way to what is said
    return faults.keep("", lambda: Workload(**given)) or Workload(prompt_tokens=1.0, output_tokens=1.0)


def within(workload: Workload, words: Words, context_tokens: int) -> Workload:
    """Cut lengths that nobody gave to a model's context (0: not known); what was said is left as it is."""
    most = float(context_tokens)
    said_any = any(words[name] is not None for name in ("prompt", "output", "trace"))
    if said_any or not 2 <= most < workload.full_context:
        return workload
    output = most // 5
    said = f"{ASSUMED}, cut to the model's context"
    return replace(workload, prompt_tokens=most - output, output_tokens=output, source=said)


def read_limit(words: Words, faults: Faults) -> Limit:
    """Read the latency limits; a faulty one is replaced by none."""
    limits = {
        f"{name}_s": faults.quantity(f"--{name}", words[name], "s")
        for name in ("ttft", "tpot")
        if words[name] is not None
    }
    return faults.keep("", lambda: Limit(**limits)) or Limit()


def read_top(words: Words, faults: Faults) -> int:
    """Read how many options are wanted."""
    top = faults.count("--top", words["top"])
    if top is not None and not 1 <= top <= 100:
        faults.add("--top", f"from 1 to 100 options are ranked, not {top}")
    return 5 if top is None else top


def _per_hour(faults: Faults, flag: str, text: str | None) -> float | None:
    return faults.quantity(flag, text, "USD/s", default_unit="USD/h", scale=3600.0, most=MOST)


def _per_kwh(faults: Faults, flag: str, text: str | None, dimension: str, unit: str) -> float | None:
    return faults.quantity(flag, text, dimension, default_unit=unit, scale=3.6e6, most=MOST)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
