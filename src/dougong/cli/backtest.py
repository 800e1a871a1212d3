"""``dougong backtest``: hold predictions against published measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dougong.cli.completion import open_catalog
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import check_picture, print_json, progress, told_in, write_picture
from dougong.cli.words import Faults, names

if TYPE_CHECKING:
    from dougong.backtest import AnyCase, Outcome
    from dougong.catalog.store import Catalog


@click.command(
    "backtest", cls=SectionedCommand, short_help="Hold predictions against published measurements."
)
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--by",
    cls=Option,
    section="What",
    metavar="GROUP,…",
    multiple=True,
    help="Groups of the error tables, also document, system, chip or use [vendor,family,engine_class,regime].",
)
@click.option(
    "--worst", cls=Option, section="What", metavar="N", default="10", help="So many of the worst misses [10]."
)
@click.option(
    "--only-validate",
    cls=Option,
    section="What",
    is_flag=True,
    help="Leave out cases of an order of magnitude only (use = sanity).",
)
@click.option(
    "--catalog",
    "folders",
    cls=Option,
    section="Output",
    metavar="DIR",
    multiple=True,
    help="A folder of your own records; may be repeated.",
)
@click.option(
    "--plot", cls=Option, section="Output", metavar="FILE", help="Also draw it, to a .png or .svg file."
)
@click.option(
    "--json",
    "as_json",
    cls=Option,
    section="Output",
    is_flag=True,
    help="Print JSON in base units instead of text.",
)
def backtest(
    files: tuple[str, ...],
    by: tuple[str, ...],
    worst: str,
    only_validate: bool,
    folders: tuple[str, ...],
    plot: str | None,
    as_json: bool,
) -> int:
    """Predict every published case of FILE… in its own layout, and say how wrong the predictions are.

    A FILE is JSON lines of serving or operator results, a CSV of InferenceX rows, TOML records, or a folder of such.
    Rows that cannot be read are told on stderr with their lines. Exit code 1 says that no case could be predicted.
    """
    from dougong.backtest.reading import gather, worth_asking
    from dougong.backtest.run import BY, GROUPS, to_json

    faults = Faults()
    groups = names(by) or BY
    for group in groups:
        faults.choice("--by", group, tuple(GROUPS))
    most = faults.count("--worst", worst)
    check_picture(plot, faults)
    faults.raise_if_any()
    found = gather(files)
    for fault in found.faults:
        click.echo(f"warning: {fault}", err=True)
    if found.repeated:
        click.echo(
            f"warning: {found.repeated} cases stand in an earlier file already and count once", err=True
        )
    cases = worth_asking(found.cases) if only_validate else list(found.cases)
    outcomes, seconds = predict(cases, open_catalog(folders))
    if plot:
        from dougong.report.pictures import backtest_picture

        write_picture(plot, lambda path: backtest_picture(outcomes, path))
    if as_json:
        print_json(to_json(outcomes, groups))
    else:
        from dougong.report.backtest import draw_backtest
        from dougong.report.terminal import show

        show(draw_backtest(cases, outcomes, by=groups, most=most or 0))
    told_in(seconds, f"{len(cases):,} cases")
    return 0 if any(outcome.predicted for outcome in outcomes) else 1


def predict(cases: Sequence[AnyCase], catalog: Catalog) -> tuple[list[Outcome], float]:
    """Predict all cases, those of one model and engine class together; and the seconds it took [s]."""
    from time import perf_counter

    from dougong.backtest import run
    from dougong.backtest.questions import PlanPredictor
    from dougong.backtest.reading import groups_of

    start, predictor, groups = perf_counter(), PlanPredictor(catalog), groups_of(cases)
    with progress(range(len(groups)), "models") as bar:
        for index in bar:
            predictor.prepare(groups[index])
    return run(cases, predictor), perf_counter() - start
