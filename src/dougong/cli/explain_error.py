"""``dougong explain-error``: take one published case apart."""

from __future__ import annotations

from pathlib import Path

import click

from dougong.cli.completion import open_catalog
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import print_json
from dougong.errors import InputError, UnknownId

SHIPPED = Path("tests", "published", "cases")
"""Where a checkout keeps its cases; they are no part of the package."""


@click.command(
    "explain-error", cls=SectionedCommand, short_help="Take the prediction of one published case apart."
)
@click.argument("case_id", metavar="CASE")
@click.option(
    "--in",
    "files",
    cls=Option,
    section="Where",
    metavar="FILE",
    multiple=True,
    help=f"Where the case stands; may be repeated [{SHIPPED.as_posix()}, in a checkout].",
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
    "--json",
    "as_json",
    cls=Option,
    section="Output",
    is_flag=True,
    help="Print JSON in base units instead of text.",
)
def explain_error(case_id: str, files: tuple[str, ...], folders: tuple[str, ...], as_json: bool) -> int:
    """Take the prediction of CASE apart, and say what would match the measurement.

    It shows conditions stated and assumed, measured against predicted, memory, what limits the run, and every
    operator of its steps. Exit code 1 says that the case has no prediction, and why.
    """
    from dougong.backtest.explain import explain
    from dougong.backtest.reading import gather

    if not files and not SHIPPED.is_dir():
        raise InputError(
            "no file of cases is named, and this is no checkout of dougong", hint="name one with --in FILE"
        )
    found = gather(files or (SHIPPED,))
    for fault in found.faults:
        click.echo(f"warning: {fault}", err=True)
    named = {case.id: case for case in found.cases}
    if case_id not in named:
        unknown = UnknownId("case", case_id, named)
        if not unknown.near:
            unknown.hint = f"the files hold {len(named):,} cases, {min(named)} to {max(named)}"
        raise unknown
    explained = explain(named[case_id], open_catalog(folders))
    if as_json:
        from dougong.report.dump import dump_explained

        print_json(dump_explained(explained))
    else:
        from dougong.report.case import draw_explained
        from dougong.report.terminal import show

        show(draw_explained(explained))
    return 0 if explained.refused is None else 1
