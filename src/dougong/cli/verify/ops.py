"""``dougong verify ops``: the operator suite on one backend."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import print_json
from dougong.cli.words import Faults, names

if TYPE_CHECKING:
    from dougong.verify.ledger import Entry
    from dougong.verify.records import RunRecord
    from dougong.verify.run import Request
    from dougong.verify.verdict import Result

_PROFILES = ("smoke", "standard", "full")
_SEMANTICS = ("llm-strict", "llm-relaxed", "llm-invariant")
_SHARE_OF_MEMORY = 0.7


@click.command("ops", cls=SectionedCommand, short_help="Run the operator suite on a backend.")
@click.option(
    "--backend",
    cls=Option,
    section="What",
    metavar="NAME",
    required=True,
    help="The stack under test: torch-cpu, torch-npu, reference, … (dougong verify list backends).",
)
@click.option(
    "--profile", cls=Option, section="What", type=click.Choice(_PROFILES), default="smoke",
    help="How much is run: seconds, minutes, or all of it [smoke].",
)  # fmt: skip
@click.option(
    "--semantics", cls=Option, section="What", type=click.Choice(_SEMANTICS), default="llm-strict",
    help="What conforms where specifications are silent [llm-strict].",
)  # fmt: skip
@click.option(
    "--only", cls=Option, section="What", metavar="PATTERN,…", multiple=True,
    help="Only cases whose id begins so or matches the glob; may be repeated.",
)  # fmt: skip
@click.option("--seed", cls=Option, section="What", metavar="N", default="0", help="Seed of every input [0].")
@click.option(
    "--ledger", "ledgers", cls=Option, section="What", metavar="FILE", multiple=True,
    help="Known failures of your own, beside the ledgers that are shipped; may be repeated.",
)  # fmt: skip
@click.option(
    "--python", cls=Option, section="How", metavar="PATH",
    help="The interpreter of an environment that has the stack; else the registry's, or this one.",
)  # fmt: skip
@click.option(
    "--jobs", cls=Option, section="How", metavar="N", default="2", help="Stacks that run side by side [2]."
)
@click.option(
    "--threads", cls=Option, section="How", metavar="N", default="1", help="Threads of each of them [1]."
)
@click.option(
    "--timeout",
    cls=Option,
    section="How",
    metavar="TIME",
    default="60s",
    help="Most time for one call [60s].",
)
@click.option(
    "--memory", cls=Option, section="How", metavar="SIZE",
    help="Most memory of one of them [0.7 of what is free, shared by the jobs].",
)  # fmt: skip
@click.option(
    "--out", cls=Option, section="Output", metavar="FILE",
    help="Stream results to FILE as JSON lines; an unfinished run there is gone on with.",
)  # fmt: skip
@click.option(
    "--json", "as_json", cls=Option, section="Output", is_flag=True, help="Print JSON instead of text."
)
@click.option("--junit", cls=Option, section="Output", metavar="FILE", help="Also write JUnit XML.")
@click.option(
    "--html", cls=Option, section="Output", metavar="FILE", help="Also write one page that a person reads."
)
@click.option(
    "--no-mutants", cls=Option, section="Output", is_flag=True,
    help="Leave out the mutation score where it has not been measured for this suite.",
)  # fmt: skip
def ops(
    backend: str,
    profile: str,
    semantics: str,
    only: tuple[str, ...],
    seed: str,
    ledgers: tuple[str, ...],
    python: str | None,
    jobs: str,
    threads: str,
    timeout: str,
    memory: str | None,
    out: str | None,
    as_json: bool,
    junit: str | None,
    html: str | None,
    no_mutants: bool,
) -> int:
    """Ask a backend for every operator of a language model, and hold each answer against float64.

    Each case runs in a process that is watched: one that crashes, hangs or grows costs its own case. Exit code 0 says
    that the backend conforms, or fails only as its ledger says, 1 that it fails anew, 4 that it or its device is not
    here.
    """
    faults = Faults()
    read = {
        flag: faults.count(flag, text)
        for flag, text in (("--seed", seed), ("--jobs", jobs), ("--threads", threads))
    }
    for flag in ("--jobs", "--threads"):
        if read[flag] == 0:
            faults.add(flag, "at least 1 is wanted")
    timeout_s = faults.quantity("--timeout", timeout, "s", default_unit="s")
    memory_bytes = faults.quantity("--memory", memory, "byte", default_unit="GB")
    for flag, file in (("--out", out), ("--junit", junit), ("--html", html)):
        if file is not None and not Path(file).parent.is_dir():
            faults.add(flag, f"there is no folder {str(Path(file).parent)!r}")
    entries = faults.keep("--ledger", lambda: _ledgers(ledgers))
    faults.raise_if_any()

    from dougong.backends.registry import recipe
    from dougong.cli.verify.report import write
    from dougong.verify.ledger import reckon
    from dougong.verify.run import Request
    from dougong.verify.semantics import semantics_of

    request = Request(
        recipe=recipe(backend, python=python),
        semantics=semantics_of(semantics),
        profile=profile,
        only=names(only),
        seed=read["--seed"] or 0,
        jobs=read["--jobs"] or 1,
        threads=read["--threads"] or 1,
        timeout_s=timeout_s or 60.0,
        memory_bytes=int(memory_bytes or _free_bytes() * _SHARE_OF_MEMORY / (read["--jobs"] or 1)),
    )
    record = _run(request, Path(out) if out else None, no_mutants)
    reckoning = reckon(record, entries or [])
    write([(record, reckoning)], html=html, junit=junit)
    if as_json:
        from dougong.report.verify.dump import dump_run

        print_json(dump_run(record, reckoning))
    else:
        from dougong.report.terminal import show
        from dougong.report.verify.text import draw_run

        show(draw_run(record, reckoning))
    return 0 if reckoning.as_known else 1


def _run(request: Request, out: Path | None, no_mutants: bool) -> RunRecord:
    from dougong.verify.mutation import known_score
    from dougong.verify.run import run, selected

    count = len(selected(request.profile, request.only))
    hidden = not sys.stderr.isatty()
    label = f"{request.recipe.name} {request.profile}"
    with click.progressbar(length=count, label=label, file=sys.stderr, hidden=hidden, show_pos=True) as bar:

        def seen(result: Result, done: int, of: int) -> None:
            bar.update(done - bar.pos)

        return run(request, out=out, seen=seen, mutation=_scorer(no_mutants, known_score))


def _scorer(no_mutants: bool, known: Callable[[], dict[str, object]]) -> Callable[[], dict[str, object]]:
    def score() -> dict[str, object]:
        found = known()
        if found or no_mutants:
            return found
        from dougong.cli.verify.mutants import prove

        return prove()

    return score


def _ledgers(files: tuple[str, ...]) -> list[Entry]:
    from dougong.verify.ledger import read_ledger, shipped

    return [*shipped(), *(entry for file in files for entry in read_ledger(Path(file)))]


def _free_bytes() -> float:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return 8e9
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return float(lines.get("MemAvailable", "8000000 kB").split()[0]) * 1024
