"""Entry-point discovery: what installed packages offer under a group, found without importing any of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from dougong.errors import PluginError

OURS = "dougong"


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a package offers under a name; calling it imports it.

    Parameters
    ----------
    group
        The entry-point group, such as ``dougong.engines``.
    name
        The name under which it is offered.
    value
        Where the object is: ``module:attribute``.
    package
        The distribution that offers it.
    fault
        Why it cannot be loaded, where that is known before trying.
    """

    group: str
    name: str
    value: str
    package: str
    fault: str | None = None

    def __call__(self) -> object:
        """Import the object.

        Raises
        ------
        PluginError
            Whatever the import raised, in one line, with the package that is to be mended.
        """
        if self.fault is not None:
            raise PluginError(f"{self.group}: {self.name} ({self.value}, of {self.package}): {self.fault}")
        module, _, attributes = self.value.partition(":")
        try:
            found: object = importlib.import_module(module.strip())
            for attribute in filter(None, attributes.strip().split(".")):
                found = getattr(found, attribute)
        except Exception as error:  # a stranger's module may raise anything
            raise PluginError(
                f"{self.group}: {self.name} ({self.value}, of {self.package}) does not load: "
                f"{type(error).__name__}: {error}",
                hint=f"mend or remove the package: pip uninstall {self.package}",
            ) from error
        return found


def discover(group: str) -> dict[str, Plugin]:
    """List what is offered under ``group``, by name; nothing is imported.

    Of two packages that offer one name, ours keeps it, else the first by package name; the other one is
    listed as ``name (package)`` with its fault.
    """
    offers = [Plugin(group, name, value, OURS) for name, value in _own(group).items()]
    for entry in metadata.entry_points(group=group):
        package = entry.dist.name if entry.dist is not None else "unknown"
        if package != OURS:
            offers.append(Plugin(group, entry.name, entry.value, package))
    found: dict[str, Plugin] = {}
    for offer in sorted(
        set(offers), key=lambda plugin: (plugin.package != OURS, plugin.package, plugin.name)
    ):
        if offer.name not in found:
            found[offer.name] = offer
            continue
        taken = f"the name is taken by {found[offer.name].package}"
        found[f"{offer.name} ({offer.package})"] = Plugin(
            group, offer.name, offer.value, offer.package, taken
        )
    return dict(sorted(found.items()))


def load_all(group: str) -> tuple[dict[str, object], dict[str, PluginError]]:
    """Import everything under ``group``; return what loaded and, by name, why the rest did not."""
    loaded: dict[str, object] = {}
    failed: dict[str, PluginError] = {}
    for name, plugin in discover(group).items():
        try:
            loaded[name] = plugin()
        except PluginError as error:
            failed[name] = error
    return loaded, failed


def _own(group: str) -> Mapping[str, str]:
    """Return our own entries: of the source tree where this is one, else of the installed package."""
    tree = _source_tree()
    if tree is not None:
        return tree.get(group, {})
    try:
        entries = metadata.distribution(OURS).entry_points
    except metadata.PackageNotFoundError:
        return {}
    return {entry.name: entry.value for entry in entries if entry.group == group}


@cache
def _source_tree() -> dict[str, dict[str, str]] | None:
    # An editable install keeps the entry points of the day it was made; the tree says what they are now.
    package = Path(__file__).parent
    file = package.parent.parent / "pyproject.toml"
    if package.parent.name != "src" or not file.is_file():
        return None
    import tomllib

    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    return project.get("entry-points", {}) if project.get("name") == OURS else None
