"""The suite proven on wrong backends: each mutant is to be caught by the case meant for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from dougong.backends.reference.backend import ReferenceBackend
from dougong.places import cache_dir
from dougong.verify.case import PROFILES, Case
from dougong.verify.edition import suite_digest
from dougong.verify.families import cases
from dougong.verify.inside import ask_inside
from dougong.verify.judge import judge
from dougong.verify.ledger import FAILURES
from dougong.verify.mutant import Mutant, Mutated
from dougong.verify.mutants import MUTANTS
from dougong.verify.semantics import SEMANTICS
from dougong.verify.verdict import Result

SHIPPED = Path(__file__).with_name("mutation.json")
"""What the suite scored where it was made; `dougong verify mutants` measures it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of one mutant.

    Attributes
    ----------
    caught
        The first result that told the fault; ``None`` for a survivor.
    tried
        How many cases were run.
    """

    mutant: Mutant
    caught: Result | None
    tried: int


def trials(
    mutants: Sequence[Mutant] = MUTANTS,
    *,
    seed: int = 0,
    whole: str | None = None,
    seen: Callable[[Trial, int], None] = lambda trial, done: None,
) -> Iterator[Trial]:
    """Try every mutant on the cases meant for it, the quickest profile first.

    Parameters
    ----------
    whole
        Try it on every case of this profile instead, whatever it is meant for.
    """
    every = _every()
    for done, mutant in enumerate(mutants, 1):
        trial = _try(mutant, _meant(mutant, every, whole), seed)
        seen(trial, done)
        yield trial


def judge_inside(case: Case, backend: Mutated | ReferenceBackend, seed: int) -> Result:
    """Make, ask and judge one case in this process."""
    call = case.call(seed)
    return judge(
        case,
        call,
        ask_inside(backend, call, repeat=case.repeatable),
        semantics=SEMANTICS["llm-strict"],
        device="cpu",
        ask=lambda other: ask_inside(backend, other),
        patience_s=math.inf,
    )


def score(found: Iterable[Trial]) -> dict[str, object]:
    """Return the mutation score as a run's end tells it."""
    found = list(found)
    survivors = [trial.mutant.name for trial in found if trial.caught is None]
    return {"mutants": len(found), "caught": len(found) - len(survivors), "survivors": survivors}


def known_score() -> dict[str, object]:
    """Return the score that was measured for this very suite, here or where it was made; nothing where none was."""
    return read_score(_store()) or read_score(SHIPPED)


def read_score(place: Path) -> dict[str, object]:
    """Read a score; nothing where there is none, or one of another suite."""
    try:
        content = cast(object, json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    found = cast("dict[str, object]", content)
    return found if found.pop("suite_sha256", None) == suite_digest() else {}


def write_score(found: Mapping[str, object], place: Path) -> None:
    """Write a score with the digest of the suite that it was measured for."""
    place.write_text(json.dumps({"suite_sha256": suite_digest(), **found}, indent=1) + "\n", encoding="utf-8")


def keep_score(found: Mapping[str, object]) -> None:
    """Keep a score for later runs here."""
    place = _store()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_score(found, place)
    except OSError:
        return  # a home that cannot be written to costs the next run the time, not the answer


def _try(mutant: Mutant, meant: Sequence[Case], seed: int) -> Trial:
    honest = ReferenceBackend()
    backend = Mutated(honest, mutant)
    for tried, case in enumerate(meant, 1):
        result = judge_inside(case, backend, seed)
        # A case that the honest backend fails too has caught nothing.
        if result.verdict in FAILURES and judge_inside(case, honest, seed).verdict not in FAILURES:
            return Trial(mutant=mutant, caught=result, tried=tried)
    return Trial(mutant=mutant, caught=None, tried=len(meant))


def _meant(mutant: Mutant, every: Sequence[Case], whole: str | None) -> list[Case]:
    if whole is not None:
        within = PROFILES[: PROFILES.index(whole) + 1]
        return [case for case in every if case.profile in within]
    return [case for case in every if case.id.startswith(mutant.caught_by) and case.profile != "full"]


@cache
def _every() -> tuple[Case, ...]:
    """Every case, the quickest profile first."""
    return tuple(sorted(cases(), key=lambda case: PROFILES.index(case.profile)))


def _store() -> Path:
    return cache_dir() / f"mutation-{suite_digest()[:16]}.json"
