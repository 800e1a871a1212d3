"""``dougong catalog``: the records behind the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dougong.cli.completion import complete_records, open_catalog
from dougong.cli.lazy import HelpfulGroup
from dougong.cli.output import print_json
from dougong.errors import InputError, UnknownId

if TYPE_CHECKING:
    from dougong.catalog.store import Catalog
    from dougong.report.sheets import Record, Sheet

KINDS = ("chip", "system", "model", "price", "source")

_folders = click.option(
    "--catalog", "folders", metavar="DIR", multiple=True, help="A folder of your own records."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON in base units instead of text.")
_kind = click.option("--kind", type=click.Choice(KINDS), help="Where an id names records of several kinds.")


@click.group("catalog", cls=HelpfulGroup, short_help="List, show and compare the records behind the numbers.")
def catalog() -> None:
    """List, show and compare the records behind the numbers: chips, systems, models, prices, sources."""


@catalog.command("list")
@click.argument("kind", type=click.Choice([f"{kind}s" for kind in KINDS]))
@click.option("--vendor", metavar="NAME", help="Only records of this vendor.")
@_folders
@_json
def list_records(kind: str, vendor: str | None, folders: tuple[str, ...], as_json: bool) -> int:
    """List the records of a KIND."""
    store = open_catalog(folders)
    one = kind.removesuffix("s")
    records = [(name, _read(store, one, name)) for name in store.ids(one)]
    if vendor is not None:
        vendors = sorted({str(getattr(record, "vendor", "")) for _, record in records})
        records = [pair for pair in records if getattr(pair[1], "vendor", "").lower() == vendor.lower()]
        if not records:
            raise UnknownId(
                "vendor", vendor, vendors, hint=f"vendors of {kind}: {', '.join(filter(None, vendors))}"
            )
    if as_json:
        from dougong.report.dump import plain

        print_json({"kind": kind, "records": [plain(record) for _, record in records]})
        return 0
    from dougong.report.records import draw_list
    from dougong.report.sheets import sheet_of
    from dougong.report.terminal import show

    show(draw_list([sheet_of(name, record) for name, record in records]))
    return 0


@catalog.command("show")
@click.argument("record_id", metavar="ID", shell_complete=complete_records)
@_kind
@_folders
@_json
def show_record(record_id: str, kind: str | None, folders: tuple[str, ...], as_json: bool) -> int:
    """Show the record ID: every figure as printed, our reading, its place, rivals, and what is unknown."""
    store = open_catalog(folders)
    found_kind, record = find(store, record_id, kind)
    if as_json:
        from dougong.report.dump import plain

        print_json({"kind": found_kind, "record": plain(record)})
        return 0
    from dougong.report.records import draw_sheet
    from dougong.report.sheets import sheet_of
    from dougong.report.terminal import show

    show(draw_sheet(sheet_of(record_id, record), store.source))
    return 0


@catalog.command("diff")
@click.argument("left", metavar="A", shell_complete=complete_records)
@click.argument("right", metavar="B", shell_complete=complete_records)
@_kind
@_folders
@_json
def diff_records(left: str, right: str, kind: str | None, folders: tuple[str, ...], as_json: bool) -> int:
    """Set the records A and B side by side: what differs, figures with their ratio."""
    from dougong.report.records import differences, draw_difference
    from dougong.report.sheets import sheet_of
    from dougong.report.terminal import show

    store = open_catalog(folders)
    (left_kind, a), (right_kind, b) = find(store, left, kind), find(store, right, kind)
    if left_kind != right_kind:
        raise InputError(
            f"{left} is a {left_kind} and {right} a {right_kind}; only records of one kind compare"
        )
    sheets: tuple[Sheet, Sheet] = (sheet_of(left, a), sheet_of(right, b))
    if as_json:
        print_json(
            {
                "kind": "difference",
                "of": left_kind,
                "left": left,
                "right": right,
                "figures": differences(*sheets),
            }
        )
    else:
        show(draw_difference(*sheets))
    return 0


def find(store: Catalog, record_id: str, kind: str | None) -> tuple[str, Record]:
    """Find a record of any kind: an id or alias, a path of a model's configuration, or ``N x chip``."""
    for one in (kind,) if kind else ("chip", "system", "model", "price", "source"):
        try:
            return one, _read(store, one, record_id)
        except UnknownId:
            continue
    known = [name for one in ((kind,) if kind else KINDS) for name in store.ids(one)]
    unknown = UnknownId(kind or "record", record_id, known)
    if not unknown.near:
        unknown.hint = f"list them with: dougong catalog list {'|'.join(f'{name}s' for name in KINDS)}"
    raise unknown


def _read(store: Catalog, kind: str, record_id: str) -> Record:
    readers: dict[str, Callable[[str], Any]] = {
        "chip": store.chip,
        "system": store.system,
        "model": store.model,
        "price": store.price_list,
        "source": store.source,
    }
    return readers[kind](record_id)
