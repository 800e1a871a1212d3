"""Every record of the catalog can be listed and shown, as text and as JSON, through the command itself."""

from __future__ import annotations

import json
import re

import pytest

from dougong.catalog import Catalog
from dougong.cli import main

CATALOG = Catalog.open()
KINDS = ("chip", "system", "model", "price", "source")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["catalog", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_holds_every_record(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "list", f"{kind}s")
    listed = {match.group() for line in text.splitlines() if (match := re.match(r"[a-z0-9][\w.+-]*", line))}
    assert {*CATALOG.ids(kind)} - listed == set()
    records = json.loads(run(capsys, "list", f"{kind}s", "--json"))["records"]
    assert len(records) == len(CATALOG.ids(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_shows_what_it_is_and_by_whose_word(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for record_id in CATALOG.ids(kind):
        text = run(capsys, "show", record_id, "--kind", kind)
        head, *rest = text.splitlines()
        assert f"{kind} {record_id}" in " ".join((head, *rest[:1])), record_id
        assert len(rest) >= 2, record_id
        assert not re.search(r"\bnan\b|None|\binf\b|object at 0x", text), record_id
        if "on whose word" in text:
            assert "Figures" in text, record_id


@pytest.mark.parametrize(("kind", "record_id"), [(kind, CATALOG.ids(kind)[-1]) for kind in KINDS])
def test_a_record_as_json_is_in_base_units(
    kind: str, record_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = json.loads(run(capsys, "show", record_id, "--kind", kind, "--json"))
    assert answer["kind"] == kind
    assert answer["record"]["id" if kind != "price" else 0]
