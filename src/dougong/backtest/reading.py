"""Cases of several files and folders at once, each id once, and everything that stood in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dougong.backtest.case import AnyCase, Case
from dougong.backtest.reader import read_cases
from dougong.errors import InputError

SUFFIXES = (".jsonl", ".csv", ".toml")
"""Files of a folder that are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What several files hold together."""

    cases: tuple[AnyCase, ...]
    files: int  # that could be read
    repeated: int  # cases whose id stood in an earlier file
    faults: tuple[str, ...]  # "file: line 12: what is wrong"


def gather(places: Iterable[Path | str]) -> Gathered:
    """Read files, and the files of folders; an id counts where it stands first.

    Raises
    ------
    InputError
        If not one case could be read; it tells every fault.
    """
    seen: dict[str, AnyCase] = {}
    faults: list[str] = []
    files = repeated = 0
    for place in places:
        found = list(_files(Path(place)))
        if not found:
            faults.append(f"{place}: the folder has no {', '.join(SUFFIXES)} file")
        for path in found:
            try:
                read = read_cases(path)
            except InputError as error:
                faults.append(error.message)
                continue
            files += 1
            faults += [f"{path}: {fault}" for fault in read.faults]
            repeated += sum(case.id in seen for case in read.cases)
            for case in read.cases:
                seen.setdefault(case.id, case)
    if not seen:
        raise InputError("\n".join(["no case could be read", *(f"  {fault}" for fault in faults)]))
    return Gathered(cases=tuple(seen.values()), files=files, repeated=repeated, faults=tuple(faults))


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    yield from sorted(path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())


def worth_asking(cases: Iterable[AnyCase]) -> list[AnyCase]:
    """The cases whose layout, lengths and load are stated well enough to hold a prediction against."""
    return [case for case in cases if not isinstance(case, Case) or case.use == "validate"]


def groups_of(cases: Iterable[AnyCase]) -> list[list[AnyCase]]:
    """Cases that share array programs, together: the same model and engine class."""
    groups: dict[tuple[str, str], list[AnyCase]] = {}
    for case in cases:
        key = (case.model, case.engine_class) if isinstance(case, Case) else (case.op, "")
        groups.setdefault(key, []).append(case)
    return list(groups.values())
