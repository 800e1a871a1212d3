"""``dougong verify list``: what the suite has, and what it can be run on."""

from __future__ import annotations

import click

from dougong.cli.lazy import SectionedCommand
from dougong.cli.output import print_json

_KINDS = ("backends", "families", "cases", "mutants", "switches")


@click.command(
    "list", cls=SectionedCommand, short_help="List backends, families, cases, mutants or switches."
)
@click.argument("kind", type=click.Choice(_KINDS), default="backends")
@click.option(
    "--profile", type=click.Choice(["smoke", "standard", "full"]), default="full", help="Up to this profile [full]."
)  # fmt: skip
@click.option(
    "--only", metavar="PATTERN", multiple=True, help="Cases whose id begins so or matches the glob."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def list_(kind: str, profile: str, only: tuple[str, ...], as_json: bool) -> int:
    """List what the suite has: KIND is backends (the default), families, cases, mutants or switches."""
    from dougong.report.verify.listing import draw_rows, rows_of

    columns, rows = rows_of(kind, profile, only)
    if as_json:
        print_json({"kind": kind, kind: [dict(zip(columns, row, strict=True)) for row in rows]})
        return 0
    from dougong.report.terminal import show

    show(draw_rows(columns, rows))
    return 0
