"""``dougong keys``: who may use a gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dougong.cli.lazy import HelpfulGroup
from dougong.cli.output import print_json
from dougong.errors import InputError

if TYPE_CHECKING:
    from dougong.gateway.keys import KeyEntry


def default_file() -> Path:
    """Where keys are kept where no file is named."""
    return Path(click.get_app_dir("dougong")) / "keys.toml"


_file = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=default_file,
    show_default="keys.toml in your configuration folder",
    help="The file of keys.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group("keys", cls=HelpfulGroup, short_help="Make, list and remove API keys of a gateway.")
def keys() -> None:
    """Make, list and remove API keys of a gateway; the file holds hashes, a running gateway follows it."""


@keys.command("add")
@click.argument("name")
@_file
@click.option(
    "--rate", "requests_per_s", type=float, metavar="N", help="Requests per second in the long run."
)
@click.option("--burst", type=int, metavar="N", help="Requests at once, where there is a rate.")
@click.option("--concurrent", "max_concurrent", type=int, metavar="N", help="Requests at a time.")
@click.option("--model", "models", multiple=True, metavar="ID", help="Only this model; may be said again.")
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="End of the key, in UTC."
)
@_json
def add(
    name: str,
    file: Path,
    requests_per_s: float | None,
    burst: int | None,
    max_concurrent: int | None,
    models: tuple[str, ...],
    expires: datetime | None,
    as_json: bool,
) -> int:
    """Make a key for NAME and print it; it is shown once and kept nowhere."""
    from dougong.gateway.keys import add_key

    key = add_key(
        file,
        name,
        requests_per_s=requests_per_s,
        burst=burst,
        max_concurrent=max_concurrent,
        models=models,
        expires=None if expires is None else expires.replace(tzinfo=UTC),
    )
    if as_json:
        print_json({"kind": "key", "name": name, "key": key, "file": str(file)})
    else:
        click.echo(key)
    click.echo(f"its hash is in {file}; keep the key, it is shown once", err=True)
    return 0


@keys.command("list")
@_file
@_json
def list_keys(file: Path, as_json: bool) -> int:
    """List names and limits."""
    from dougong.gateway.keys import read_keys

    entries = read_keys(file)
    if as_json:
        shown = ("name", "id", "requests_per_s", "burst", "max_concurrent", "models", "expires")
        rows = [{name: getattr(entry, name) for name in shown} for entry in entries]
        for row in rows:
            row["expires"] = None if row["expires"] is None else row["expires"].isoformat()
        print_json({"kind": "keys", "file": str(file), "keys": rows})
        return 0
    from dougong.report.parts import Columns
    from dougong.report.terminal import show

    columns = [("name", "words"), ("limits", "words"), ("models", "words"), ("until", "word")]
    show(
        Columns(
            columns,
            [[entry.name, _limits(entry), " ".join(entry.models) or "all", _end(entry)] for entry in entries],
        )
    )
    return 0


def _limits(entry: KeyEntry) -> str:
    limits = [
        f"{entry.requests_per_s:g} requests/s" if entry.requests_per_s is not None else "",
        f"{entry.burst} at once" if entry.burst is not None else "",
        f"{entry.max_concurrent} at a time" if entry.max_concurrent is not None else "",
    ]
    return ", ".join(filter(None, limits)) or "none"


def _end(entry: KeyEntry) -> str:
    if entry.expires is None:
        return "–"
    return f"{entry.expires:%Y-%m-%d %H:%M} UTC{' (ended)' if entry.over(datetime.now(UTC)) else ''}"


@keys.command("remove")
@click.argument("name")
@_file
def remove(name: str, file: Path) -> int:
    """Remove the key of NAME; a running gateway refuses it within seconds."""
    from dougong.gateway.keys import remove_key

    if not file.exists():
        raise InputError(f"there is no file {str(file)!r}")
    remove_key(file, name)
    click.echo(f"{name} is removed from {file}", err=True)
    return 0
