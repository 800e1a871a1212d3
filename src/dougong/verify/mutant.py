"""A deliberately wrong backend: what the suite must catch, to be believed when it catches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dougong.backends import Answer, Backend, Call

Run = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault, named after what happened somewhere.

    Attributes
    ----------
    wrong
        From a call and the honest way to run it to the faulty answer: it may change the call, the answer or both.
    caught_by
        Id, or beginning of the ids, of the cases meant for it.
    provenance
        The public threads that tell of it, as ``owner/repo#n``.
    """

    name: str
    fault: str
    caught_by: str
    wrong: Callable[[Call, Run], Answer]
    provenance: tuple[str, ...] = ()


class Mutated:
    """A backend with one fault."""

    def __init__(self, honest: Backend, mutant: Mutant) -> None:
        self.honest, self.mutant = honest, mutant
        self.name = f"{honest.name}+{mutant.name}"

    def describe(self) -> Mapping[str, str]:
        """The stack of the honest backend, and the fault."""
        return {**self.honest.describe(), "fault": self.mutant.name}

    def run(self, call: Call) -> Answer:
        """Compute, wrongly."""
        return self.mutant.wrong(call, self.honest.run)
