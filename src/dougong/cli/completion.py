"""Prints the completion script of a shell, and completes ids from the catalog."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
    """Model ids, after the last comma; what begins like a path is one."""
    if incomplete.startswith((".", "~")) or (os.sep in incomplete and not _complete(("model",), incomplete)):
        return [CompletionItem(incomplete, type="file")]
    return _complete(("model",), incomplete)


def complete_files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of files; the shell knows them."""
    return [CompletionItem(incomplete, type="file")]


def complete_folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of folders; the shell knows them."""
    return [CompletionItem(incomplete, type="dir")]


def complete_choice(_: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The words that an option takes."""
    words = choices(parameter.opts[0])
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def choices(flag: str) -> Sequence[str]:
    """Return the words that a flag takes; none where any word may be meant."""
    from dougong.calibration.engines import engine_classes
    from dougong.catalog.models import DTYPE_BITS
    from dougong.cost.precision import PRECISIONS
    from dougong.engines.port import GROUP
    from dougong.plan.types import MODES, OBJECTIVES
    from dougong.plugins import discover

    words: dict[str, Callable[[], Sequence[str]]] = {
        "--objective": lambda: OBJECTIVES,
        "--mode": lambda: MODES,
        "--precision": lambda: PRECISIONS,
        "--kv-dtype": lambda: tuple(DTYPE_BITS),
        "--engine": lambda: tuple(engine_classes()),
        "--launchable": lambda: tuple(discover(GROUP)),
        "--region": lambda: regions(open_catalog(())),
    }
    return words[flag]() if flag in words else ()


def regions(catalog: Catalog) -> Sequence[str]:
    """Return the regions for which somebody prints a price or a carbon intensity; ``world`` is always meant."""
    known = {price.region for subject in ("electricity", "grid") for price in catalog.prices(subject)}
    return sorted({"world", *filter(None, known)})


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
    """Open the shipped catalog with the user's own folders over it, this machine's first if it was probed."""
    from dougong.catalog.store import Catalog

    local = local_folder()
    return Catalog.open([*([local] if (local / "systems").is_dir() else []), *map(Path, folders)])


def local_folder() -> Path:
    """Where `dougong probe` puts the records of this machine."""
    from dougong.places import state_dir

    return state_dir() / "local"
