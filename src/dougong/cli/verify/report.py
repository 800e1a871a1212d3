"""``dougong verify report``: runs that were made, as text, JSON, JUnit XML or one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dougong.cli.lazy import SectionedCommand
from dougong.cli.output import print_json
from dougong.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dougong.verify.ledger import Reckoning
    from dougong.verify.records import RunRecord


@click.command(
    "report", cls=SectionedCommand, short_help="Show runs side by side: text, JSON, JUnit or a page."
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN.jsonl…")
@click.option("--html", metavar="FILE", help="Write one self-contained page of all runs.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML of the one run.")
@click.option("--scripts", metavar="DIR", help="Write the script of each failure that was shrunk.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option(
    "--ledger", "ledgers", metavar="FILE", multiple=True, help="Known failures beside the shipped ledgers."
)
def report(
    runs: tuple[str, ...],
    html: str | None,
    junit: str | None,
    scripts: str | None,
    as_json: bool,
    ledgers: tuple[str, ...],
) -> int:
    """Show runs that were made with verify ops --out, stack by stack.

    Exit code 1 says that one of them fails beyond what its ledger says, or was cut short.
    """
    from dougong.verify.ledger import read_ledger, reckon, shipped
    from dougong.verify.records import read_run

    if junit and len(runs) > 1:
        raise InputError("--junit is of one run", hint="write one file per run")
    entries = [*shipped(), *(entry for file in ledgers for entry in read_ledger(Path(file)))]
    found = [(record, reckon(record, entries)) for record in (read_run(Path(run)) for run in runs)]
    if scripts:
        _write_scripts(found, Path(scripts))
    write(found, html=html, junit=junit)
    if as_json:
        from dougong.report.verify.dump import dump_run

        print_json({"kind": "runs", "runs": [dump_run(*each) for each in found]})
    elif not html and not junit:
        from dougong.report.terminal import show
        from dougong.report.verify.text import draw_run

        for each in found:
            show(draw_run(*each))
    return 0 if all(reckoning.as_known for _, reckoning in found) else 1


def write(found: Sequence[tuple[RunRecord, Reckoning]], *, html: str | None, junit: str | None) -> None:
    """Write the files that were asked for, and say where they are."""
    if junit:
        from dougong.report.verify.junit import junit_xml

        Path(junit).write_text(junit_xml(*found[0]), encoding="utf-8")
        click.echo(f"written: {junit}", err=True)
    if html:
        from dougong.report.verify.page import page

        Path(html).write_text(page(found), encoding="utf-8")
        click.echo(f"written: {html}", err=True)


def _write_scripts(found: Sequence[tuple[RunRecord, Reckoning]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for record, _ in found:
        for case, text in record.reproducers.items():
            name = f"{record.header.backend}--{case.replace('/', '--')}.py".replace(":", "_")
            (folder / name).write_text(text, encoding="utf-8")
            count += 1
    click.echo(f"written: {count} scripts in {folder}", err=True)
