"""``dougong verify keygen``, ``certify`` and ``check``: signed statements of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dougong.cli.lazy import SectionedCommand
from dougong.cli.output import print_json
from dougong.cli.words import Faults
from dougong.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dougong.verify.certificate.check import Checked
    from dougong.verify.ledger import Entry
    from dougong.verify.records import RunRecord

_ledger = click.option(
    "--ledger",
    "ledgers",
    metavar="FILE",
    multiple=True,
    help="Known failures of your own, beside the shipped ledgers.",
)


@click.command("keygen", short_help="Make a key to sign certificates with.")
@click.argument("file", metavar="FILE")
def keygen(file: str) -> int:
    """Make an Ed25519 key: the private one in FILE, the public one in FILE.pub, for whoever is to trust it."""
    from dougong.verify.certificate.keys import generate

    made = generate(Path(file))
    click.echo(f"{file} (keep it), {file}.pub (give it away); key id {made}")
    return 0


@click.command("certify", cls=SectionedCommand, short_help="Sign what a finished run came to.")
@click.argument("run", metavar="RUN.jsonl")
@click.option("--key", metavar="FILE", required=True, help="The private key (dougong verify keygen).")
@click.option("--out", metavar="FILE", help="Where the certificate goes [RUN.certificate.json].")
@click.option(
    "--grade", type=click.Choice(["measured", "declared"]), default="measured",
    help="Measured on this very stack, which is looked at again, or only passed on [measured].",
)  # fmt: skip
@click.option(
    "--reproduces",
    metavar="FILE",
    help="The certificate of another run of the same stack that this one repeats.",
)
@click.option(
    "--days", metavar="N", default="180", help="How long it holds while the stack stays the same [180]."
)
@click.option("--python", metavar="PATH", help="The interpreter that has the stack, as for ops.")
@_ledger
def certify(
    run: str,
    key: str,
    out: str | None,
    grade: str,
    reproduces: str | None,
    days: str,
    python: str | None,
    ledgers: tuple[str, ...],
) -> int:
    """Sign one statement of what RUN.jsonl came to: in-toto in a DSSE envelope, Ed25519, offline.

    Nothing but the results of a finished run of this program's own suite is signed.
    """
    from dougong.verify.certificate.envelope import seal
    from dougong.verify.certificate.keys import read_private
    from dougong.verify.certificate.statement import state
    from dougong.verify.ledger import in_words
    from dougong.verify.records import read_run

    faults = Faults()
    number = faults.count("--days", days)
    if number == 0:
        faults.add("--days", "at least 1 is wanted")
    faults.raise_if_any()
    record, private, entries = read_run(Path(run)), read_private(Path(key)), _entries(ledgers)
    if grade == "measured":
        _measured_here(record, python)
    of = _repeated(Path(reproduces), record) if reproduces else ""
    statement = state(record, entries, grade="reproduced" if of else grade, reproduces=of, days=number or 1)
    place = Path(out) if out else Path(run).with_suffix(".certificate.json")
    place.write_bytes(seal(statement, private))
    predicate = statement["predicate"]
    word = in_words(conforms=predicate["conforms"], as_known=predicate["as_known"])
    click.echo(
        f"{place}: {record.header.backend} {word}; {predicate['grade']}, holds until {predicate['expires']}"
    )
    return 0


@click.command("check", cls=SectionedCommand, short_help="Check certificates, offline.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--trusted", metavar="FILE", multiple=True,
    help="A public key, or a folder of them [~/.config/dougong/trusted]; may be repeated.",
)  # fmt: skip
@click.option(
    "--evidence",
    metavar="RUN.jsonl",
    help="The results that were certified; they must come to the same.",
)
@click.option(
    "--stack-here", is_flag=True, help="The stack must be the one that is here, element by element."
)
@click.option("--reproduce", is_flag=True, help="Run the same profile again, and say where it differs.")
@click.option(
    "--seen", metavar="FILE", help="Remember what was seen: the same run with another content is refused."
)
@click.option("--python", metavar="PATH", help="The interpreter that has the stack, as for ops.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@_ledger
def check(
    files: tuple[str, ...],
    trusted: tuple[str, ...],
    evidence: str | None,
    stack_here: bool,
    reproduce: bool,
    seen: str | None,
    python: str | None,
    as_json: bool,
    ledgers: tuple[str, ...],
) -> int:
    """Check who signed each certificate, that no byte of it was changed, that it still holds, and what it rests on.

    Exit code 1 says that one was refused, or that a run that was made again differs.
    """
    from dougong.verify.certificate.check import check as accept
    from dougong.verify.certificate.check import differences
    from dougong.verify.certificate.envelope import Refused
    from dougong.verify.certificate.keys import read_trusted, trusted_places

    if evidence is not None and len(files) > 1:
        raise InputError("--evidence belongs to one certificate", hint="check them one by one")
    keys = read_trusted([Path(each) for each in trusted] or trusted_places())
    told: list[dict[str, Any]] = []
    for file in files:
        line: dict[str, Any] = {"file": file, "accepted": False}
        told.append(line)
        try:
            raw = _bytes(Path(file))
            results = _evidence(Path(evidence)) if evidence else None
            here = _here_of(raw, keys, python) if stack_here else None
            store = Path(seen) if seen else None
            found = accept(
                raw, keys, evidence=results, entries=_entries(ledgers), stack_here=here, seen=store
            )
        except Refused as reason:
            line["why"] = str(reason)
            continue
        line |= _accepted(found)
        if reproduce:
            line["differences"] = differences(found.predicate, _again(found.predicate, python), results)
    if as_json:
        print_json({"kind": "certificates", "certificates": told})
    else:
        for line in told:
            _say(line)
    return 0 if all(line["accepted"] and not line.get("differences") for line in told) else 1


def _accepted(found: Checked) -> dict[str, Any]:
    names = (
        "backend",
        "grade",
        "profile",
        "semantics",
        "counts",
        "conforms",
        "as_known",
        "issued",
        "expires",
        "mutation",
        "suite",
        "stack",
    )
    return {
        "accepted": True,
        "signer": found.signer,
        **{name: found.predicate[name] for name in names},
        "not_looked_at": list(found.notes),
    }


def _say(line: Mapping[str, Any]) -> None:
    from dougong.verify.ledger import in_words

    if not line["accepted"]:
        click.echo(f"{line['file']}: refused: {line['why']}")
        return
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in line["counts"].items())
    word = in_words(conforms=line["conforms"], as_known=line["as_known"])
    click.echo(
        f"{line['file']}: accepted: {line['backend']} {word} under {line['semantics']} ({line['profile']}: {counts})\n"
        f"  {line['grade']}, signed by {line['signer'][:16]}…, issued {line['issued']}, holds until {line['expires']}\n"
        f"  the suite caught {line['mutation'].get('caught')} of {line['mutation'].get('mutants')} mutants"
    )
    for note in line["not_looked_at"]:
        click.echo(f"  note: {note}")
    if "differences" in line:
        click.echo("  a run here came to the same" if not line["differences"] else "  a run here differs:")
        for each in line["differences"]:
            click.echo(f"    {each}")


def _entries(files: Sequence[str]) -> list[Entry]:
    from dougong.verify.ledger import read_ledger, shipped

    return [*shipped(), *(entry for file in files for entry in read_ledger(Path(file)))]


def _evidence(path: Path) -> RunRecord:
    from dougong.verify.certificate.envelope import Refused
    from dougong.verify.records import read_run

    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    try:
        return read_run(path)
    except InputError as error:
        raise Refused(f"the evidence cannot be read: {error.message}") from error


def _bytes(path: Path) -> bytes:
    from dougong.verify.certificate.envelope import MOST_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _measured_here(record: RunRecord, python: str | None) -> None:
    from dougong.verify.run import stack_here

    here = stack_here(
        record.header.backend, python=python, threads=int(record.header.stack.get("threads", "1"))
    )
    other = [
        name for name in {*here, *record.header.stack} if here.get(name) != record.header.stack.get(name)
    ]
    if other:
        raise InputError(
            f"the run was not made on the stack that is here: {', '.join(sorted(other))} differ",
            hint="run it here, or pass it on with --grade declared",
        )


def _here_of(raw: bytes, keys: Mapping[str, Any], python: str | None) -> dict[str, str]:
    from dougong.verify.certificate.envelope import unseal
    from dougong.verify.certificate.statement import predicate_of
    from dougong.verify.run import stack_here

    predicate = predicate_of(unseal(raw, keys)[0])
    return stack_here(
        predicate["backend"], python=python, threads=int(predicate["stack"].get("threads", "1"))
    )


def _repeated(certificate: Path, record: RunRecord) -> str:
    from dougong.verify.certificate.check import differences
    from dougong.verify.certificate.envelope import Refused, unseal
    from dougong.verify.certificate.keys import read_trusted, trusted_places
    from dougong.verify.certificate.statement import predicate_of, statement_digest

    try:
        statement, _ = unseal(_bytes(certificate), read_trusted(trusted_places()))
        predicate = predicate_of(statement)
    except Refused as reason:
        raise InputError(f"{certificate} is refused: {reason}") from reason
    if predicate["id"] == record.header.nonce:
        raise InputError(f"{certificate} is of this very run; a repetition is a run of its own")
    other = differences(predicate, record, None)
    if other:
        raise InputError(f"this run does not repeat {certificate}: {'; '.join(other)}")
    return statement_digest(statement)


def _again(predicate: Mapping[str, Any], python: str | None) -> RunRecord:
    from dougong.backends.registry import recipe
    from dougong.verify.run import Request, run
    from dougong.verify.semantics import semantics_of

    request = Request(
        recipe=recipe(predicate["backend"], python=python),
        semantics=semantics_of(predicate["semantics"]),
        profile=predicate["profile"],
        only=tuple(predicate["only"]),
        seed=predicate["seed"],
        threads=int(predicate["stack"].get("threads", "1")),
    )
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=predicate["cases"], label="again", file=sys.stderr, hidden=hidden) as bar:
        return run(request, seen=lambda result, done, of: bar.update(1))
