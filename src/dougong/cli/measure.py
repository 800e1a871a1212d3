"""``dougong measure``: load a live endpoint and say what it does."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dougong.cli.completion import complete_choice, complete_files
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import check_picture, print_json, write_picture
from dougong.cli.words import Faults
from dougong.errors import EnvironmentLacking, InputError

if TYPE_CHECKING:
    from dougong.measure.load import Load, Shape
    from dougong.measure.run import Progress

LOAD, LENGTHS, END, SERVER, OUTPUTS = "Load", "Lengths", "When it ends", "Endpoint", "Output"

PROMPT, OUTPUT, SECONDS = "512", "128", "60s"
MOST_USERS, MOST_TOKENS, MOST_RATE = 100_000, 1_000_000, 100_000.0
DRAWN = 1009
"""Lengths drawn from a range before they repeat."""
KEY_VARIABLE = "OPENAI_API_KEY"

_FLAGS: tuple[tuple[str, str, str, str], ...] = (
    (LOAD, "--users", "N", "Requests in flight at once: closed loop [1]."),
    (LOAD, "--rate", "R", "Requests per second, sent when they are due: open loop."),
    (LOAD, "--trace", "FILE", "Lengths, times and shared prefixes of a request trace."),
    (LOAD, "--arrivals", "WORD", "poisson or constant, for --rate."),
    (
        LENGTHS,
        "--prompt",
        "TOKENS",
        f"Prompt tokens per request, template included, as 512 or 256-768 [{PROMPT}].",
    ),
    (LENGTHS, "--output", "TOKENS", f"Output tokens per request, as 128 or 64-192 [{OUTPUT}]."),
    (END, "--duration", "TIME", f"Send nothing after this time [{SECONDS}, where no --requests is given]."),
    (END, "--requests", "N", "Send so many requests."),
    (END, "--warmup", "TIME", "Do not count what arrives before [until the first wave has ended]."),
    (END, "--timeout", "TIME", "Give a request up after this time."),
    (LOAD, "--ttft", "TIME", "Limit for goodput, as 2s."),
    (LOAD, "--tpot", "TIME", "Limit for goodput, as 50ms."),
    (LOAD, "--seed", "N", "Same seed: same bytes at the same times, which a prefix cache knows [a new one]."),
    (SERVER, "--model", "NAME", "Model of the endpoint [the only one there is]."),
    (SERVER, "--api", "WORD", "chat or completions."),
    (SERVER, "--api-key-file", "FILE", f"File with the key [the variable {KEY_VARIABLE}]."),
    (OUTPUTS, "--plan", "FILE", "Hold the run against this plan, of `dougong plan … --json`."),
    (OUTPUTS, "--out", "FILE", "Write every request to this file of JSON lines."),
    (OUTPUTS, "--plot", "FILE", "Also draw it, to a .png or .svg file."),
    (OUTPUTS, "--json", "", "Print JSON in base units instead of text."),
)
_DEFAULTS = {"--arrivals": "poisson", "--api": "chat", "--timeout": "600s"}


def _flags(command: Any) -> Any:
    for section, flag, metavar, text in reversed(_FLAGS):
        more: dict[str, Any] = {"metavar": metavar} if metavar else {"is_flag": True}
        if metavar == "FILE":
            more["shell_complete"] = complete_files
        elif metavar == "WORD":
            more["shell_complete"] = complete_choice
        if flag in _DEFAULTS:
            more |= {"default": _DEFAULTS[flag], "show_default": True}
        command = click.option(flag, cls=Option, section=section, help=text, **more)(command)
    return command


@click.command("measure", cls=SectionedCommand, short_help="Load a live endpoint and say what it does.")
@click.argument("url")
@_flags
def measure(url: str, **words: Any) -> int:
    """Load the OpenAI-compatible endpoint at URL and say what it does: TTFT, TPOT, ITL, rates and goodput.

    Latencies count from when a request was due, tokens as the engine counts them, and each figure has its confidence
    interval. The filling of the run and its draining are not counted. Prompts are random words of the wanted length.
    Exit code 1 says that no request was answered.
    """
    faults = Faults()
    load = read_load(words, faults)
    ttft_limit_s, tpot_limit_s = (faults.quantity(f"--{n}", words[n], "s") for n in ("ttft", "tpot"))
    warmup_s = faults.quantity("--warmup", words["warmup"], "s")
    timeout_s = faults.quantity("--timeout", words["timeout"], "s")
    faults.choice("--api", words["api"], ("chat", "completions"))
    check_picture(words["plot"], faults)
    check_out(words["out"], faults)
    if words["plan"] is not None and not Path(words["plan"]).exists():
        faults.add("--plan", f"there is no file {words['plan']!r}")
    key = faults.keep("--api-key-file", lambda: read_key(words["api_key_file"]))
    faults.raise_if_any()
    assert load is not None

    from dougong.measure.endpoint import base_url
    from dougong.measure.run import kept_up
    from dougong.measure.run import measure as run_load
    from dougong.metrics import summarise, write_run

    base = base_url(url)
    allow_connections(load.users or 0)
    line = LiveLine(load)
    with line:
        run = run_load(
            base, load, model=words["model"], api=words["api"], api_key=key, timeout_s=timeout_s or 600.0,
            on_met=line.met, on_progress=line.update,
        )  # fmt: skip
    if not run.records:
        raise InputError("nothing was sent", hint="a longer --duration, or more --requests")
    if words["out"]:
        write_run(words["out"], run.records, header=run.header())
        click.echo(f"written: {words['out']} ({len(run.records):,} requests)", err=True)
    summary = summarise(run.records, ttft_limit_s=ttft_limit_s, tpot_limit_s=tpot_limit_s, warmup_s=warmup_s)
    late = kept_up(run.overhead, summary.ttft_s.quantiles[0.5].value if summary.ttft_s else None)
    beside = None
    if words["plan"]:
        from dougong.measure.against import against

        beside = against(words["plan"], summary, users=load.users, rate=load.rate_requests_per_s)
    if words["plot"]:
        from dougong.report.pictures.measure import measured_picture

        write_picture(words["plot"], lambda path: measured_picture(run, summary, path))
    from dougong.report.measure import draw_measured, dump_measured

    if words["json"]:
        print_json(dump_measured(run, summary, late=late, beside=beside))
    else:
        from dougong.report.terminal import show

        show(draw_measured(run, summary, late=late, beside=beside))
    return 0 if summary.by_status.get("ok") else 1


def read_load(words: Mapping[str, Any], faults: Faults) -> Load | None:
    """Read what is sent and when; None where it cannot be said."""
    from dougong.measure.load import Load

    prompt, output = (
        _tokens(f"--{name}", words[name] or text, faults)
        for name, text in (("prompt", PROMPT), ("output", OUTPUT))
    )
    users = faults.count("--users", words["users"])
    rate = faults.quantity("--rate", words["rate"], "request/s", most=MOST_RATE)
    requests = faults.count("--requests", words["requests"])
    duration_s = faults.quantity("--duration", words["duration"], "s")
    # A seed that was sent before is found in the prefix caches of engines.
    seed = secrets.randbelow(10**9) if words["seed"] is None else faults.count("--seed", words["seed"]) or 0
    arrivals = faults.choice("--arrivals", words["arrivals"], ("poisson", "constant"))
    if users is not None and rate is not None:
        faults.add("--rate", "open loop (--rate) and closed loop (--users) contradict each other: give one")
    for flag, value in (
        ("--users", users),
        ("--rate", rate),
        ("--requests", requests),
        ("--duration", duration_s),
    ):
        if value is not None and value <= 0:
            faults.add(flag, "more than nothing is wanted")
    if users is not None and users > MOST_USERS:
        faults.add("--users", f"at most {MOST_USERS:,} are driven from one machine, not {users:,}")
    given: dict[str, Any] = {"shapes": _drawn(prompt, output, seed)}
    if words["trace"] is not None:
        if words["prompt"] or words["output"]:
            faults.add("--trace", "it brings its own lengths; leave out --prompt and --output")
        given = (
            faults.keep("--trace", lambda: _of_trace(words["trace"], paced=users is None and rate is None))
            or given
        )
    timed = given.get("arrivals") == "trace"
    if not timed:
        given |= {"arrivals": arrivals, "users": users if users or rate else 1, "rate_requests_per_s": rate}
        if requests is None and duration_s is None:
            duration_s = faults.quantity("--duration", SECONDS, "s")
    if faults.found:
        return None
    return faults.keep("", lambda: Load(**given, requests=requests, duration_s=duration_s, seed=seed))


def _tokens(flag: str, text: str, faults: Faults) -> tuple[int, int]:
    """Least and most tokens of a length: one number, or two with a hyphen."""
    ends = [faults.count(flag, part) for part in text.split("-", 1)]
    for value in ends:
        if value is not None and not 1 <= value <= MOST_TOKENS:
            faults.add(flag, f"from 1 to {MOST_TOKENS:,} tokens, not {value:,}")
    low, high = ends[0] or 1, ends[-1] or 1
    if low > high:
        faults.add(flag, f"{text!r} ends before it begins")
    return low, high


def _drawn(prompt: tuple[int, int], output: tuple[int, int], seed: int) -> tuple[Shape, ...]:
    """Lengths drawn evenly between their ends; one shape where they are the same."""
    from random import Random

    from dougong.measure.load import Shape

    if prompt[0] == prompt[1] and output[0] == output[1]:
        return (Shape(prompt[0], output[0]),)
    random = Random(f"lengths {seed}")
    return tuple(Shape(random.randint(*prompt), random.randint(*output)) for _ in range(DRAWN))


def _of_trace(file: str, *, paced: bool) -> dict[str, Any]:
    from dougong.measure.load import Shape
    from dougong.workload.trace import read_requests

    requests = read_requests(Path(file))
    times = [request.arrival_s for request in requests]
    known = [time for time in times if time is not None]
    if paced and len(known) < len(times):
        raise InputError("the trace has no times: say how it is sent", hint="--rate or --users")
    if paced:
        order = sorted(range(len(requests)), key=lambda at: known[at])
        requests = [requests[at] for at in order]
        known = sorted(known)
    shapes = [Shape(r.prompt_tokens, max(r.output_tokens, 1), r.blocks) for r in requests]
    return {"shapes": shapes} | (
        {"arrivals": "trace", "times_s": [time - known[0] for time in known]} if paced else {}
    )


def read_key(file: str | None) -> str | None:
    """The API key of a file, or of the environment; it is sent and never shown."""
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"{file!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file!r} is not text") from None
    if not key or len(key) > 4096 or not key.isprintable() or " " in key:
        raise InputError(f"{file!r} holds no key: one word on one line is wanted")
    return key


def check_out(file: str | None, faults: Faults) -> None:
    """Fault a file that could not be written, before anything is measured."""
    if file is not None and not Path(file).parent.is_dir():
        faults.add("--out", f"there is no folder {str(Path(file).parent)!r}")


def allow_connections(users: int) -> None:
    """Raise the limit of open files for as many connections as there are users."""
    try:
        import resource
    except ImportError:  # no such limit on this platform
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(users + 256, 65_536)
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, soft), hard))
        if limit < users + 64:
            raise EnvironmentLacking(
                f"{users:,} users need {users + 64:,} open files, and this process may have {limit:,}",
                hint="raise the limit: ulimit -n",
            )


class LiveLine:
    """One line on a terminal that tells how far the run is; elsewhere a line at the beginning only."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.drawn = False
        self.tty = sys.stderr.isatty()

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self.drawn:
            click.echo("", err=True)

    def met(self, endpoint: Any, notes: Any) -> None:
        """Say whom the load goes to."""
        server = f" ({endpoint.server})" if endpoint.server else ""
        click.echo(f"{endpoint.model} at {endpoint.path}{server}: {self.load.words}", err=True)
        for note in notes:
            click.echo(f"note: {note}", err=True)

    def update(self, at: Progress) -> None:
        """Draw the line anew."""
        if not self.tty:
            return
        of = f" of {self.load.duration_s:g}" if self.load.duration_s else ""
        all_ = f" of {self.load.requests:,}" if self.load.requests else ""
        failed = f", {at.failed:,} failed" if at.failed else ""
        click.echo(
            f"\r\x1b[2K{at.elapsed_s:.0f}{of} s  {at.ended:,}{all_} ended{failed}  {at.in_flight:,} in flight  "
            f"{at.tokens / max(at.elapsed_s, 1e-9):,.0f} tokens/s",
            err=True,
            nl=False,
        )
        self.drawn = True
