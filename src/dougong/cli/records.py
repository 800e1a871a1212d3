"""``dougong records``: what a gateway wrote down."""

from __future__ import annotations

from pathlib import Path

import click

from dougong.cli.lazy import HelpfulGroup
from dougong.cli.output import counted, print_json
from dougong.errors import InputError


def default_file() -> Path:
    """Where `dougong serve` keeps records where no file is named."""
    from dougong.places import state_dir

    return state_dir() / "records.sqlite"


_file = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=default_file,
    show_default="the file that `dougong serve` keeps",
    help="SQLite file of request records.",
)


@click.group(
    "records", cls=HelpfulGroup, short_help="Read the usage and the requests that a gateway wrote down."
)
def records() -> None:
    """Read the usage and the requests that a gateway wrote down; they hold no prompt and no answer."""


@records.command("usage")
@_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON in base units instead of text.")
def usage(file: Path, as_json: bool) -> int:
    """Show requests and tokens by day, key and model."""
    from dougong.gateway.records import read_usage

    rows = read_usage(file)
    if as_json:
        print_json({"kind": "usage", "file": str(file), "usage": rows})
        return 0
    if not rows:
        click.echo(f"no request is in {file} yet", err=True)
        return 0
    from dougong.report.parts import Columns
    from dougong.report.terminal import show

    names = ("requests", "ok", "prompt_tokens", "output_tokens")
    columns = [("day", "word"), ("key", "words"), ("model", "words"), *((name, "number") for name in names)]
    cells = [
        [row["day"], row["key"] or "–", row["model"], *(f"{row[name]:,.0f}" for name in names)]
        for row in rows
    ]
    show(Columns([(name.replace("_", " "), kind) for name, kind in columns], cells))
    return 0


@records.command("export")
@_file
@click.option("--run", type=int, metavar="N", help="Which start of the gateway; the last by default.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="RUN.jsonl",
    required=True,
    help="Where the records go, as `dougong measure` writes them.",
)
def export(file: Path, run: int | None, out: Path) -> int:
    """Write the requests of one run of the gateway as JSON lines, as `dougong measure` does."""
    from dougong.gateway.records import read_records
    from dougong.metrics import header_line, write_run

    started_unix_s, found = read_records(file, run)
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {str(out.parent)!r}")
    write_run(out, found, header=header_line(started_unix_s=started_unix_s, by="dougong gateway"))
    click.echo(f"{counted(len(found), 'request')} written to {out}", err=True)
    return 0
