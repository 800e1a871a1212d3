"""Checks of a certificate, all offline: who signed, of what, still true, backed by its evidence, not seen before."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from dougong.errors import InputError
from dougong.verify.certificate.envelope import Refused, unseal
from dougong.verify.certificate.statement import facts_of, predicate_of, statement_digest
from dougong.verify.ledger import Entry, reckon
from dougong.verify.records import RunRecord

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_CLOCKS_DIFFER = datetime.timedelta(minutes=10)
_OF_THE_LEDGER = ("as_known", "unexpected", "expected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A certificate that was accepted.

    Attributes
    ----------
    notes
        What was not looked at, and why.
    """

    statement: Mapping[str, Any]
    predicate: Mapping[str, Any]
    signer: str
    notes: tuple[str, ...] = ()
    stack: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def check(
    raw: bytes,
    trusted: Mapping[str, Ed25519PublicKey],
    *,
    evidence: RunRecord | None = None,
    entries: Sequence[Entry] = (),
    stack_here: Mapping[str, str] | None = None,
    seen: Path | None = None,
    now: datetime.datetime | None = None,
) -> Checked:
    """Accept a certificate, or say why not.

    Parameters
    ----------
    evidence
        The run's file, as read: its digest must be the stated one, and its results must come to what is stated.
    stack_here
        The stack of this machine; any element that differs ends the certificate.
    seen
        A file of certificates seen before: the same id with another content is a replay.

    Raises
    ------
    Refused
        With the reason.
    """
    statement, signer = unseal(raw, trusted)
    predicate = predicate_of(statement)
    _in_time(predicate, now or datetime.datetime.now(datetime.UTC))
    notes: list[str] = []
    if evidence is None:
        notes.append("its evidence was not looked at (--evidence FILE)")
    else:
        _backed(predicate, evidence, entries)
    if stack_here is None:
        notes.append("it was not held against a stack here (--stack-here)")
    else:
        _same_stack(predicate["stack"], stack_here)
    if seen is not None:
        _not_replayed(predicate["id"], statement_digest(statement), seen)
    return Checked(statement=statement, predicate=predicate, signer=signer, notes=tuple(notes))


def _in_time(predicate: Mapping[str, Any], now: datetime.datetime) -> None:
    try:
        issued, expires = (datetime.datetime.fromisoformat(predicate[name]) for name in ("issued", "expires"))
        early, late = issued > now + _CLOCKS_DIFFER, expires <= now
    except (ValueError, TypeError) as error:
        raise Refused(f"its dates are none: {error}") from error
    if early:
        raise Refused(f"it is issued in the future: {predicate['issued']}")
    if late:
        raise Refused(f"it expired on {predicate['expires']}")


def _backed(predicate: Mapping[str, Any], evidence: RunRecord, entries: Sequence[Entry]) -> None:
    if evidence.sha256 != predicate["evidence"]["sha256"]:
        raise Refused("the evidence is not the file that was certified: it was changed, or is of another run")
    found = facts_of(evidence, reckon(evidence, entries))
    for name, value in found.items():
        if name not in _OF_THE_LEDGER and predicate[name] != value:
            raise Refused(f"the evidence does not come to what is stated: {name}")
    failures = sorted([str(result.case), str(result.verdict)] for result in reckon(evidence, ()).unexpected)
    stated = len(predicate["unexpected"]) + sum(int(line[2]) for line in predicate["expected"])
    if any(pair not in failures for pair in predicate["unexpected"]) or stated != len(failures):
        raise Refused("the evidence does not come to what is stated: failures")


def _same_stack(stated: Mapping[str, str], here: Mapping[str, str]) -> None:
    other = [
        f"{name} was {stated.get(name, 'absent')} and is {here.get(name, 'absent')}"
        for name in sorted({*stated, *here})
        if stated.get(name) != here.get(name)
    ]
    if other:
        raise Refused(f"it has expired, for the stack here is another: {'; '.join(other)}")


def _not_replayed(name: str, content: str, store: Path) -> None:
    known: dict[str, str] = {}
    if store.exists():
        try:
            read: object = json.loads(store.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{store} is no file of certificates seen: {error}") from error
        if not isinstance(read, dict):
            raise InputError(f"{store} is no file of certificates seen")
        known = {str(key): str(value) for key, value in cast("dict[str, object]", read).items()}
    if known.get(name, content) != content:
        raise Refused("a run of this id was certified with another content: it is a replay")
    if name not in known:
        store.write_text(json.dumps({**known, name: content}, indent=1), encoding="utf-8")


def differences(predicate: Mapping[str, Any], again: RunRecord, first: RunRecord | None) -> list[str]:
    """Say where a run that was made again differs from what a certificate states.

    Parameters
    ----------
    first
        The evidence of the certificate; with it the cases are compared, without it the families.
    """
    stack = predicate["stack"]
    found = [
        f"stack: {name} was {stack.get(name, 'absent')} and is {again.header.stack.get(name, 'absent')}"
        for name in sorted({*stack, *again.header.stack})
        if stack.get(name) != again.header.stack.get(name)
    ]
    if first is not None:
        old = {result.case: str(result.verdict) for result in first.results}
        new = {result.case: str(result.verdict) for result in again.results}
        return found + [
            f"{case} was {old.get(case, 'absent')} and is {new.get(case, 'absent')}"
            for case in sorted({*old, *new})
            if old.get(case) != new.get(case)
        ]
    families = again.by_family()
    return found + [
        f"{family} was {_told(predicate['families'].get(family, {}))} and is {_told(families.get(family, {}))}"
        for family in sorted({*predicate["families"], *families})
        if predicate["families"].get(family, {}) != families.get(family, {})
    ]


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "absent"
