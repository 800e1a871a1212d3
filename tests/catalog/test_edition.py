"""What changed in the figures since the last edition, and whether the change log says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edition import complaint, differences, figures, news, snapshot, words

from dougong.catalog import Catalog
from dougong.facts import Figure, Unknown

CATALOG = Catalog.open()


def test_changes_since_the_last_edition_are_told() -> None:
    last = json.loads(snapshot(CATALOG.edition()).read_text("utf-8"))
    changes = differences(last, figures(CATALOG))
    sys.stdout.write("\n".join(changes))  # shown with -rP, whether the test passes or not
    told = complaint(changes, news())
    assert told is None, told


def test_an_edition_holds_every_kind_of_figure() -> None:
    table = figures(CATALOG)
    assert len(table) > 1_500
    assert table["chip huawei-910c memory.capacity"] == "64 GB = 64 GiB (per die)"
    assert table["chip nvidia-h100-sxm links.scale_up.bandwidth"] == "900 GB/s (per package two-way)"
    assert table["chip metax-c588 memory.capacity"] == "unknown"
    assert table["system cloudmatrix384 power.all_in"] == "559 kW (per system)"
    assert table["model deepseek-v3 published.total"].startswith("671B")
    assert any(key.startswith("price rental-china.huawei-910c") for key in table)


def test_a_domain_that_repeats_its_chip_is_not_a_figure_of_the_system() -> None:
    assert "system hgx-h100 domain.node.bandwidth" not in figures(CATALOG)


def test_changes_are_listed_one_a_line() -> None:
    old = {"a": "1 GB", "b": "2 GB", "c": "3 GB"}
    new = {"a": "1 GB", "b": "2 GB = 2 GiB", "d": "unknown"}
    assert differences(old, new) == ["b: 2 GB -> 2 GB = 2 GiB", "c: 3 GB -> gone", "d: new, unknown"]
    assert differences(old, old) == []


def test_a_change_without_a_fragment_is_named(tmp_path: Path) -> None:
    told = complaint(["chip x tdp: 400 W -> 350 W"], news(tmp_path))
    assert told is not None
    assert "chip x tdp: 400 W -> 350 W" in told
    assert "changelog.d/+<topic>.figure.md" in told
    assert "and 2 more" in (complaint([str(i) for i in range(42)], []) or "")
    (tmp_path / "+x.figure.md").write_text("The x draws 350 W.")
    (tmp_path / "+y.fix.md").write_text("Something else.")
    assert news(tmp_path) == ["+x.figure.md"]
    assert complaint(["chip x tdp: 400 W -> 350 W"], news(tmp_path)) is None
    assert complaint([], []) is None


def test_words_tell_the_basis_of_a_figure() -> None:
    figure = Figure(
        1.0,
        printed="2 B",
        read_as="1 B",
        why="half",
        source="s",
        grade="paper",
        per="die",
        direction="two-way",
    )
    assert words(figure) == "2 B = 1 B (per die two-way)"
    assert words(Figure(2.0, printed="2 s", source="s", grade="paper")) == "2 s"
    assert words(Unknown("nobody says")) == "unknown"
