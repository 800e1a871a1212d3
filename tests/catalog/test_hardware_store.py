"""The catalog as a whole: look-ups, lazy reading, systems made of words, folders of the user."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from invented_hardware import CHIP, SOURCE, SYSTEM

from dougong.catalog import Catalog, store
from dougong.errors import CatalogError, InputError, UnknownId
from dougong.facts import Figure, Unknown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalog folder of the user with one chip, one system and two sources."""
    for kind in ("chips/acme", "systems", "sources"):
        (tmp_path / kind).mkdir(parents=True)
    (tmp_path / "chips/acme/acme-x1.toml").write_text(CHIP)
    (tmp_path / "systems/acme-pod.toml").write_text(SYSTEM)
    for name in ("sheet", "paper"):
        (tmp_path / f"sources/{name}.toml").write_text(SOURCE.format(name))
    return tmp_path


def test_ids_and_aliases_lead_to_the_same_record_in_any_case() -> None:
    catalog = Catalog.open()
    assert catalog.chip("H800") is catalog.chip("nvidia-h800-sxm")
    assert catalog.system("CM384") is catalog.system("cloudmatrix384")
    assert catalog.system("dgx-h100").id == "hgx-h100"


def test_a_miss_names_near_ids() -> None:
    with pytest.raises(UnknownId, match=r"near names: .*nvidia-h100-sxm") as caught:
        Catalog.open().chip("nvidia-h100-smx")
    assert caught.value.exit_code == 2
    with pytest.raises(UnknownId, match="no system is called 'cloudmatrix38'"):
        Catalog.open().system("cloudmatrix38")


def test_listing_parses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "parse_toml_bytes", lambda *_: pytest.fail("a file was parsed"))
    catalog = Catalog.open()
    assert "huawei-910c" in catalog.ids("chip")
    assert "cloudmatrix384" in catalog.ids("system")


def test_a_system_reads_its_own_file_and_that_of_its_chip_only(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = store.parse_toml_bytes

    def noted(content: bytes, where: str, faults: list[str]) -> dict[str, object] | None:
        parsed.append(Path(where).stem)
        return parse(content, where, faults)

    monkeypatch.setattr(store, "parse_toml_bytes", noted)
    catalog = Catalog.open()
    catalog.system("cloudmatrix384")
    catalog.system("cloudmatrix384")
    assert parsed == ["cloudmatrix384", "huawei-910c"]


def test_the_catalog_needs_no_third_party() -> None:
    code = (
        "import sys; from dougong.catalog import Catalog; Catalog.open().system('8x h100');"
        "print(sorted({'pydantic', 'numpy', 'click', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "domains"),
    [
        ("8x nvidia-h100-sxm", [("node", "scale_up", 8)]),
        ("4 x H100", [("node", "scale_up", 4)]),
        ("12×nvidia-a100-sxm-80", [("node", "scale_up", 8), ("cluster", "scale_out", 12)]),
        ("1x h200", []),
        ("nvidia-h200-sxm", []),
        ("6x l40s", [("node", "host", 6)]),
        ("16x nvidia-l40s", [("node", "host", 8), ("cluster", "scale_out", 16)]),
        ("4x nvidia-h100-pcie", [("group", "scale_up", 2), ("node", "host", 4)]),
        ("16 x 910c", [("package", "die_to_die", 1), ("supernode", "scale_up", 16)]),
        ("72x gb200", [("supernode", "scale_up", 72)]),
        ("2x hgx-h100", [("node", "scale_up", 8), ("cluster", "scale_out", 16)]),
    ],
)
def test_words_make_systems_wired_as_the_chip_is_sold(
    words: str, domains: list[tuple[str, str, int]]
) -> None:
    system = Catalog.open().system(words)
    assert [(domain.name, domain.plane, domain.size) for domain in system.domains] == domains
    assert system.ad_hoc


def test_several_systems_scale_power_and_keep_the_source() -> None:
    catalog = Catalog.open()
    one, four = (catalog.system(words).power["all_in"] for words in ("cloudmatrix384", "4x cloudmatrix384"))
    assert isinstance(four, Figure)
    assert isinstance(one, Figure)
    assert float(four) == 4 * float(one)
    assert four.printed == one.printed


def test_a_link_that_no_record_has_is_a_hole_with_a_reason() -> None:
    cluster = Catalog.open().system("16x nvidia-l40s").domains[-1]
    assert isinstance(cluster.bandwidth, Unknown)
    assert "no scale_out link" in cluster.bandwidth.reason


@pytest.mark.parametrize("words", ["0x h100", "-1 x h100", "1000001x h100", "2.5x h100", "9" * 60 + "x h100"])
def test_absurd_counts_are_refused(words: str) -> None:
    with pytest.raises(InputError, match="a whole number from 1 to 1,000,000 is legal"):
        Catalog.open().system(words)


def test_a_folder_of_the_user_adds_records(folder: Path) -> None:
    catalog = Catalog.open([folder])
    assert float(catalog.chip("acme-x1").peak("bf16")) == 800e12
    assert catalog.system("acme-pod").chip.id == "acme-x1"
    assert catalog.system("32x acme-x1").num_chips == 32
    assert catalog.source("sheet").publisher == "Acme"
    assert "nvidia-h100-sxm" in catalog.ids("chip")


def test_a_file_of_the_user_replaces_the_shipped_one_and_the_last_folder_wins(
    folder: Path, tmp_path: Path
) -> None:
    mine = CHIP.replace("acme-x1", "nvidia-h100-sxm").replace("Acme X1", "My H100")
    (folder / "chips/nvidia-h100-sxm.toml").write_text(mine)
    assert Catalog.open([folder]).system("hgx-h100").chip.name == "My H100"
    assert Catalog.open().system("hgx-h100").chip.name == "H100 SXM5 80GB"
    later = tmp_path / "later"
    (later / "chips").mkdir(parents=True)
    (later / "chips/nvidia-h100-sxm.toml").write_text(mine.replace("My H100", "Their H100"))
    assert Catalog.open([folder, later]).chip("h100").name == "Their H100"
    assert Catalog.open([later, folder]).chip("nvidia-h100-sxm").name == "My H100"


def test_all_faults_of_all_files_of_the_user_are_raised_at_once(folder: Path) -> None:
    (folder / "chips/acme/acme-x1.toml").write_text(CHIP.replace('per = "die", ', ""))
    (folder / "systems/acme-pod.toml").write_text(SYSTEM.replace("acme-x1", "acme-x9"))
    (folder / "systems/broken.toml").write_text("id = ")
    (folder / "models").mkdir()
    (folder / "models/broken-model.toml").write_text("id = ")
    with pytest.raises(CatalogError) as caught:
        Catalog.open([folder])
    text = "\n".join(caught.value.faults)
    assert "acme-x1.toml: compute.bf16.dense.per: is missing" in text
    assert "acme-pod.toml: chip: no chip is called 'acme-x9' (did you mean 'acme-x1'?)" in text
    assert "broken.toml: not TOML" in text
    assert "broken-model.toml: not TOML" in text
    assert len(caught.value.faults) == 4


def test_two_records_may_not_share_an_alias(folder: Path) -> None:
    text = CHIP.replace("acme-x1", "acme-x2").replace(
        'status = "announced"', 'status = "announced"\naliases = ["h100"]'
    )
    (folder / "chips/acme-x2.toml").write_text(text)
    with pytest.raises(CatalogError, match="'h100' also names 'nvidia-h100-sxm'"):
        Catalog.open([folder])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is no folder"):
        Catalog.open([tmp_path / "nowhere"])


def test_the_digest_tells_what_was_read_and_not_in_which_order(folder: Path) -> None:
    one, two, three = Catalog.open(), Catalog.open(), Catalog.open([folder])
    one.chip("nvidia-h100-sxm"), one.chip("huawei-910c")
    two.chip("huawei-910c"), two.chip("nvidia-h100-sxm")
    assert one.content_hash() == two.content_hash()
    two.chip("metax-c550")
    assert one.content_hash() != two.content_hash()
    before = three.content_hash()
    (folder / "chips/acme/acme-x1.toml").write_text(CHIP + "\n# another word\n")
    assert Catalog.open([folder]).content_hash() != before


def test_prices_of_a_subject_come_from_every_list_that_names_it() -> None:
    catalog = Catalog.open()
    kinds = [price.kind for price in catalog.prices("nvidia-h100-sxm")]
    assert sorted(kinds) == ["owning-hyperscaler", "owning-neocloud", "rental-3-year", "rental-list"]
    assert all(
        price.all_in_power == 1730 for price in catalog.prices("nvidia-h100-sxm") if price.all_in_power
    )
    assert {price.region for price in catalog.prices("grid")} >= {"CN", "US", "EU", "world"}
    assert catalog.prices("nothing") == ()


def test_the_edition_is_a_month() -> None:
    year, month = Catalog.open().edition().split(".")
    assert 2026 <= int(year) <= 2100
    assert 1 <= int(month) <= 12


def test_the_guide_is_made_of_its_own_folder() -> None:
    guides = Path(__file__).parents[2] / "docs" / "guides"
    chip = Catalog.open([guides / "add-a-chip"]).chip("v100")
    assert float(chip.peak("fp16")) == 125e12
    blocks = re.findall(r"```toml\n(.*?)```", (guides / "add-a-chip.md").read_text("utf-8"), re.DOTALL)
    files = "\n".join(path.read_text("utf-8") for path in sorted((guides / "add-a-chip").rglob("*.toml")))
    lines = {line for block in blocks for line in block.splitlines()}
    assert len(lines) > 20
    assert sorted(lines - set(files.splitlines())) == []
