"""The exception tree.

::

    DougongError                      exit 70  our bug, unless a child says otherwise
    ├── InputError                    exit 2   the words or files given are wrong
    │   ├── CatalogError                       all faults of all files, sorted by place
    │   ├── UnitError                          the text, and what would be legal
    │   ├── UnknownId                          kind, id, near names
    │   ├── UnknownFigure                      record, attribute, the reason written in the file
    │   └── UnsupportedModel                   the part of a model that is not read, by name
    ├── EnvironmentLacking            exit 4   no such extra, device, engine or package; how to get it
    ├── EngineError                   exit 5   launch, health, reply, timeout
    └── PluginError                   exit 70  a plugin that fails is listed, not fatal

"No" is not an error: :class:`dougong.plan.Infeasible`, a failed case or a missed objective are values (exit 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LONGEST = 80  # letters of a word that are said again


class DougongError(Exception):
    """Root of everything this package raises on purpose."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n\nhint: {self.hint}"


class InputError(DougongError):
    """The words or files given are wrong."""

    exit_code = 2


class CatalogError(InputError):
    """Every fault found in catalog files, each with its place.

    Parameters
    ----------
    faults
        One line per fault: ``file: place: what is wrong``.
    """

    def __init__(self, faults: Sequence[str], *, hint: str | None = None) -> None:
        self.faults = sorted(set(faults))
        head = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''} in catalog files:"
        super().__init__("\n".join([head, *(f"  {fault}" for fault in self.faults)]), hint=hint)


class UnitError(InputError):
    """A quantity that cannot be read, with what would be legal."""


_LOOKALIKES, _MEMBERS = 4, 12
"""Near names that are told: of those that look alike, and of those that begin with the word."""


class UnknownId(InputError):
    """An id that names no record, with the nearest names."""

    def __init__(self, kind: str, wanted: str, known: Iterable[str], *, hint: str | None = None) -> None:
        names, word = sorted(set(known)), wanted[:_LONGEST].lower()
        # A name that goes on where the word stops is of the family that is meant, and all of a family are told;
        # it comes before one that merely looks alike, and an id before a repository's name.
        family = [name for name in names if word and name.lower().startswith(word)]
        family.sort(key=lambda name: "/" in name)
        near = family + difflib.get_close_matches(word, names, n=4, cutoff=0.5)
        near += [name for name in names if word and word in name.lower()]
        near = list(dict.fromkeys(near))[: min(max(len(family), _LOOKALIKES), _MEMBERS)]
        self.kind, self.wanted, self.near = kind, wanted, near
        if hint is None:
            listed = f"list them with: dougong catalog list {kind}s"
            hint = f"near names: {', '.join(near)}" if near else listed
            if len(family) > _MEMBERS:
                hint += f", and {len(family) - _MEMBERS} more; {listed}"
        said = wanted if len(wanted) <= _LONGEST else f"{wanted[:_LONGEST]}…"
        super().__init__(f"no {kind} is called {said!r}", hint=hint)


class UnknownFigure(InputError):
    """A formula needs a figure that the catalog says is unknown."""

    def __init__(self, record: str, key: str, reason: str) -> None:
        self.record, self.key, self.reason = record, key, reason
        super().__init__(
            f"{record}: {key} is unknown ({reason}), and this formula needs it",
            hint="put the figure, with its source, in a file of your own and pass --catalog DIR "
            f"(see: dougong catalog show {record})",
        )


class UnsupportedModel(InputError):
    """A model part that we do not read; nothing is guessed."""

    def __init__(self, model: str, part: str, *, hint: str | None = None) -> None:
        self.model, self.part = model, part
        super().__init__(f"{model}: {part} is not supported", hint=hint)


class EnvironmentLacking(DougongError):
    """Something is lacking here: an optional package, a device, an engine."""

    exit_code = 4


class EngineError(DougongError):
    """An inference engine failed to launch, answer or stay healthy."""

    exit_code = 5


class PluginError(DougongError):
    """A plugin that does not load; it is listed and skipped."""
