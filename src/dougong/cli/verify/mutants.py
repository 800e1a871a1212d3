"""``dougong verify mutants``: the suite proven on wrong backends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dougong.cli.lazy import SectionedCommand
from dougong.cli.output import print_json
from dougong.cli.words import Faults, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dougong.verify.mutant import Mutant
    from dougong.verify.mutation import Trial


@click.command("mutants", cls=SectionedCommand, short_help="Prove the suite on deliberately wrong backends.")
@click.option("--only", metavar="NAME,…", multiple=True, help="Only mutants whose name begins so.")
@click.option(
    "--all", "whole", is_flag=True, help="Try each on every case of the profile, not on those meant for it."
)
@click.option(
    "--profile", type=click.Choice(["smoke", "standard", "full"]), default="smoke", help="With --all [smoke]."
)
@click.option("--seed", metavar="N", default="0", help="Seed of every input [0].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def mutants(only: tuple[str, ...], whole: bool, profile: str, seed: str, as_json: bool) -> int:
    """Break a backend on purpose, one fault at a time, and see that the case meant for it says so.

    Exit code 1 says that a mutant survived.
    """
    from dougong.errors import UnknownId
    from dougong.verify.mutants import MUTANTS
    from dougong.verify.mutation import keep_score, score

    faults = Faults()
    number = faults.count("--seed", seed)
    faults.raise_if_any()
    wanted = names(only)
    for name in wanted:
        if not any(mutant.name.startswith(name) for mutant in MUTANTS):
            raise UnknownId(
                "mutant", name, [mutant.name for mutant in MUTANTS], hint="dougong verify list mutants"
            )
    chosen = [each for each in MUTANTS if not wanted or each.name.startswith(wanted)]
    found = _tried(chosen, seed=number or 0, whole=profile if whole else None)
    total = score(found)
    if not wanted and not whole and not number:
        keep_score(total)
    if as_json:
        from dougong.report.verify.dump import dump_trials

        print_json(dump_trials(found, total))
    else:
        from dougong.report.terminal import show
        from dougong.report.verify.text import draw_trials

        show(draw_trials(found, total))
    return 1 if total["survivors"] else 0


def prove() -> dict[str, object]:
    """Measure the mutation score of this suite and keep it."""
    from dougong.verify.mutants import MUTANTS
    from dougong.verify.mutation import keep_score, score

    total = score(_tried(MUTANTS))
    keep_score(total)
    return total


def _tried(chosen: Sequence[Mutant], *, seed: int = 0, whole: str | None = None) -> list[Trial]:
    from dougong.verify.mutation import trials

    hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=len(chosen), label="mutants", file=sys.stderr, hidden=hidden, show_pos=True
    ) as bar:
        return list(trials(chosen, seed=seed, whole=whole, seen=lambda trial, done: bar.update(1)))
