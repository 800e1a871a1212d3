"""``dougong devices``: which chips, drivers and stacks are here."""

from __future__ import annotations

import click

from dougong.cli.completion import complete_folders, open_catalog
from dougong.cli.output import print_json


@click.command("devices", short_help="Show which chips, drivers and stacks are here.")
@click.option("--no-torch", is_flag=True, help="Do not ask torch; its import alone takes seconds.")
@click.option(
    "--catalog",
    "folders",
    metavar="DIR",
    multiple=True,
    shell_complete=complete_folders,
    help="A folder of your own records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in base units instead of text.")
def devices(no_torch: bool, folders: tuple[str, ...], as_json: bool) -> int:
    """Show which chips, drivers and stacks are here, and which records of the catalog they are.

    Vendors' tools and torch are asked in processes of their own, so that a broken driver breaks nothing. What no
    record fits, or several fit, is unknown.
    """
    from dougong.engines.devices import look
    from dougong.engines.platforms import PLATFORMS

    machine = look(open_catalog(folders), torch=not no_torch)
    if as_json:
        from dougong.report.dump import plain

        print_json({"kind": "machine", **plain(machine)})
        return 0
    from dougong.report.devices import draw_machine
    from dougong.report.terminal import show

    show(draw_machine(machine, {name: platform.title for name, platform in PLATFORMS.items()}))
    return 0
