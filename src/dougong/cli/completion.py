"""Prints the completion script of a shell, and completes ids from the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

if TYPE_CHECKING:
    from dougong.catalog.store import Catalog

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print a completion script for your shell.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print a completion script for your shell.

    It completes commands, options, and the ids of models and systems. For bash, write it to
    ~/.local/share/bash-completion/completions/dougong; for zsh and fish, to a folder on their function path.
    """
    from dougong.cli.entry import dougong

    found = get_completion_class(shell)
    assert found is not None, "click knows these three shells"
    # ShellComplete.source, not the class's own: bash's first asks the installed bash for its version.
    click.echo(ShellComplete.source(found(dougong, {}, "dougong", "_DOUGONG_COMPLETE")))
    return 0


def complete_models(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Model ids, after the last comma."""
    return _complete(("model",), incomplete)


def complete_systems(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """System and chip ids, after the last comma."""
    return _complete(("system", "chip"), incomplete)


def complete_records(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of every kind."""
    from dougong.catalog.store import FOLDERS

    return _complete(tuple(FOLDERS), incomplete)


def _complete(kinds: tuple[str, ...], incomplete: str) -> list[CompletionItem]:
    from dougong.errors import DougongError

    before, comma, last = incomplete.rpartition(",")
    try:
        catalog = open_catalog(())
        ids = [name for kind in kinds for name in catalog.ids(kind) if name.startswith(last)]
    except DougongError:
        return []  # a broken catalog is told by the command, not at the tab key
    return [CompletionItem(f"{before}{comma}{name}") for name in ids]


def open_catalog(folders: tuple[str, ...]) -> Catalog:
    """Open the shipped catalog with the user's own folders over it."""
    from dougong.catalog.store import Catalog

    return Catalog.open([Path(folder) for folder in folders])
