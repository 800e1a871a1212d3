"""Every deliberately wrong backend is caught by the case meant for it, and the honest one behind it is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dougong.ops.definition import FAMILIES
from dougong.verify import mutation
from dougong.verify.families import cases
from dougong.verify.mutant import Mutant
from dougong.verify.mutants import MUTANTS
from dougong.verify.mutation import known_score, trials


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_is_caught(mutant: Mutant) -> None:
    (trial,) = trials([mutant])
    assert trial.caught is not None, f"{mutant.fault}: {trial.tried} cases of {mutant.caught_by} passed"


def test_an_honest_backend_is_no_mutant() -> None:
    honest = Mutant(
        name="honest", fault="none", caught_by="gemm/linear-m33", wrong=lambda call, run: run(call)
    )
    (trial,) = trials([honest])
    assert trial.caught is None
    assert trial.tried >= 3


def test_the_shipped_score_is_of_this_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known_score() == {"mutants": len(MUTANTS), "caught": len(MUTANTS), "survivors": []}, (
        "run: make docs"
    )


def test_a_score_of_another_suite_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = tmp_path / "mutation.json"
    other.write_text('{"suite_sha256": "0", "mutants": 1, "caught": 1, "survivors": []}')
    monkeypatch.setattr(mutation, "SHIPPED", other)
    assert known_score() == {}


def test_there_are_mutants_of_every_family_and_names_are_their_own() -> None:
    assert len(MUTANTS) >= 60
    names = Counter(mutant.name for mutant in MUTANTS)
    assert not [name for name, count in names.items() if count > 1]
    assert {mutant.caught_by.partition("/")[0] for mutant in MUTANTS} == set(FAMILIES)


def test_ids_are_their_own_lower_case_paths_of_their_family() -> None:
    found = list(cases())
    counted = Counter(case.id for case in found)
    assert not [name for name, count in counted.items() if count > 1]
    assert all(case.id == case.id.lower() and case.id.startswith(f"{case.family}/") for case in found)
    assert sum(case.profile != "full" for case in found) >= 2000
