"""``dougong fit``: which models fit which systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dougong.cli.completion import complete_models, complete_systems, open_catalog
from dougong.cli.lazy import Option, SectionedCommand
from dougong.cli.output import check_picture, counted, print_json, progress, told_in, write_picture
from dougong.cli.question import check_vocabulary, question_options, read_limit, read_workload, within
from dougong.cli.words import Faults, names
from dougong.errors import DougongError

if TYPE_CHECKING:
    from dougong.catalog.store import Catalog
    from dougong.plan import Fit

_FLAGS = (
    "--prompt",
    "--output",
    "--trace",
    "--ttft",
    "--tpot",
    "--precision",
    "--engine",
    "--catalog",
    "--plot",
    "--json",
)


@click.command("fit", cls=SectionedCommand, short_help="Show which models fit which systems.")
@click.option(
    "--models",
    cls=Option,
    section="What",
    metavar="ID,…",
    multiple=True,
    help="Models [all].",
    shell_complete=complete_models,
)
@click.option(
    "--systems",
    cls=Option,
    section="What",
    metavar="ID,…",
    multiple=True,
    help="Systems [all].",
    shell_complete=complete_systems,
)
@question_options(only=_FLAGS)
def fit(models: tuple[str, ...], systems: tuple[str, ...], **words: Any) -> int:
    """Show which models fit which systems, with the output tokens/s per chip of the best co-located replica.

    A hole in the catalog makes a cell, not an error. Exit code 1 says that nothing fits.
    """
    from dougong.plan import fit_matrix

    faults = Faults()
    catalog = open_catalog(words["catalog"])
    for flag, kind, given in (("--models", catalog.model, models), ("--systems", catalog.system, systems)):
        if given and not names(given):
            faults.add(flag, "nothing is named; without the option all are meant")
        for name in names(given):
            faults.keep(flag, lambda read=kind, wanted=name: read(wanted))
    workload, limit = read_workload(words, faults), read_limit(words, faults)
    check_vocabulary(words, faults)
    check_picture(words["plot"], faults)
    faults.raise_if_any()
    rows = names(models) or catalog.ids("model")
    columns = names(systems) or catalog.ids("system")
    precision, engine = words["precision"], words["engine"]

    def row_of(model: str) -> Fit:
        asked = within(workload, words, _context(catalog, model))
        return fit_matrix(
            [model], columns, catalog, workload=asked, limit=limit, precision=precision, engine=engine
        )

    with progress(rows, "models") as bar:
        matrix = _join([row_of(model) for model in bar])
    if words["plot"]:
        from dougong.report.pictures import fit_picture

        write_picture(words["plot"], lambda path: fit_picture(matrix, path))
    if words["json"]:
        from dougong.report.dump import dump_fit

        print_json(dump_fit(matrix))
    else:
        from dougong.report.fit import draw_fit
        from dougong.report.terminal import show

        show(draw_fit(matrix))
    told_in(matrix.elapsed_s, counted(len(matrix.cells), "pair"))
    return 0 if any(cell.verdict == "fits" for cell in matrix.cells.values()) else 1


def _context(catalog: Catalog, model: str) -> int:
    try:
        return catalog.model(model).max_context_tokens
    except DougongError:  # its row says why
        return 0


def _join(rows: Sequence[Fit]) -> Fit:
    cells = {pair: cell for row in rows for pair, cell in row.cells.items()}
    models = tuple(model for row in rows for model in row.models)
    notes = tuple(dict.fromkeys(note for row in rows for note in row.notes))
    elapsed_s = sum(row.elapsed_s for row in rows)
    return replace(rows[0], models=models, cells=cells, elapsed_s=elapsed_s, notes=notes)
