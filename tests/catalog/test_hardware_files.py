"""The reader of record files: what it makes of good lines, and that it names every fault of bad ones."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_hardware import CHIP, SYSTEM

from dougong.catalog.files import MAX_BYTES, Table, parse_toml, parse_toml_bytes, read_figure
from dougong.catalog.hardware_files import read_chip, read_prices, read_source, read_system
from dougong.errors import UnknownFigure
from dougong.facts import Figure, Unknown

SOURCES = {"sheet", "paper"}


def table(text: str, faults: list[str]) -> Table:
    raw = parse_toml_bytes(text.encode(), "acme-x1.toml", faults)
    assert raw is not None
    return Table(raw, where="acme-x1.toml", faults=faults, sources=SOURCES)


def faults_of(text: str) -> list[str]:
    faults: list[str] = []
    read_chip(table(text, faults), "acme-x1")
    return faults


def test_a_good_file_becomes_a_chip_in_base_units_per_chip() -> None:
    faults: list[str] = []
    chip = read_chip(table(CHIP, faults), "acme-x1")
    assert faults == []
    assert float(chip.peak("bf16")) == 800e12
    assert isinstance(chip.memory_capacity, Figure)
    assert float(chip.memory_capacity) == 128 * 2**30
    assert isinstance(chip.memory_bandwidth, Figure)
    assert [float(rival) for rival in chip.memory_bandwidth.rivals] == [3e12]
    link = chip.links["scale_up"]["bandwidth"]
    assert isinstance(link, Figure)
    assert (float(link), link.printed, link.direction, link.per) == (450e9, "900 GB/s", "two-way", "package")
    assert chip.memory_bandwidth.record == "acme-x1"
    assert chip.scale_up_size == 16


def test_a_hole_raises_when_a_formula_needs_it_and_says_why() -> None:
    chip = read_chip(table(CHIP, []), "acme-x1")
    latency = chip.links["scale_up"]["latency"]
    assert isinstance(latency, Unknown)
    with pytest.raises(UnknownFigure, match=r"links\.scale_up\.latency is unknown"):
        float(latency)
    sparse = chip.compute_sparse["bf16"]
    assert isinstance(sparse, Unknown)
    assert sparse.reason == "the sheet gives none"


def test_five_faults_of_one_file_are_named_at_once_with_their_places() -> None:
    broken = (
        CHIP.replace('per = "die", ', "")  # 1: no basis
        .replace('"3.2 TB/s"', '"3.2 Tb/s"')  # 2: bits or bytes
        .replace('direction = "two-way", ', "")  # 3: no direction
        .replace('grade = "datasheet" }\nsparse', 'grade = "gospel" }\nsparse')  # 4: no such grade
        .replace("[power]\ntdp", "[power]\ntpd")  # 5: misspelt, and so missing
    )
    faults = faults_of(broken)
    expected = [
        "acme-x1.toml: compute.bf16.dense.per: is missing",
        "acme-x1.toml: memory.hbm3.bandwidth.printed: cannot read '3.2 Tb/s' as byte/s: 'Tb/s' may mean",
        "acme-x1.toml: links.scale_up.bandwidth.direction: is missing",
        "acme-x1.toml: compute.bf16.dense.grade: 'gospel' is not one of measured",
        "acme-x1.toml: power.tdp: is missing",
        "acme-x1.toml: power.tpd: no such key here (did you mean 'tdp'?)",
    ]
    for start in expected:
        assert any(fault.startswith(start) for fault in faults), (start, faults)
    assert len(faults) == len(expected)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('id = "acme-x1"', 'id = "acme-x2"', "id: 'acme-x2' is not the name of the file ('acme-x1')"),
        ('id = "acme-x1"', 'id = "Acme X1"', "id: 'Acme X1' is no id"),
        ("schema = 1", "schema = 2", "schema: a whole number from 1 to 1 is wanted, not int 2"),
        ("dies = 2", "dies = true", "dies: a whole number from 1 to 64 is wanted, not bool True"),
        ("dies = 2", "dies = 0", "dies: a whole number from 1 to 64 is wanted"),
        ('"400 TFLOPS"', '"-400 TFLOPS"', "compute.bf16.dense.printed: '-400 TFLOPS' is not more than zero"),
        ('"400 TFLOPS"', '"0 TFLOPS"', "is not more than zero"),
        ('"400 TFLOPS"', '"1e999 TFLOPS"', "is not a finite FLOP/s"),
        ('"400 TFLOPS"', '"400 GB"', "legal: 752 TFLOPS, 1504 TOPS"),
        ('"400 TFLOPS"', "400", "printed: a text is wanted, not int 400"),
        ('"sheet", at', '"shett", at', "no source is called 'shett' (did you mean 'sheet'?)"),
        ('"die", source', '"node", source', "per: 'node' is not one of chip, package, die, device"),
        ('"two-way"', '"both"', "direction: 'both' is not one of one-way, two-way"),
        ('why = "the driver says so", ', "", "read_as needs a why"),
        ("{ unknown =", '{ printed = "1 TFLOPS", unknown =', "unknown stands beside printed"),
        ('unknown = "the sheet gives none"', 'unknown = ""', "unknown: a text is wanted"),
        ("[compute.bf16]", "[compute.bf17]", "compute.bf17: no such key here (did you mean 'bf16'?)"),
        ("[memory.hbm3]", "[memory.a]\n[memory.b]", "memory: one sub-table named after the memory is wanted"),
        ("size = 16", "size = 0", "links.scale_up.size: a whole number"),
        ("[links.scale_up]", "[links.sideways]", "links.sideways: no such key here"),
        ('status = "announced"', 'status = "soon"', "status: 'soon' is not one of announced, shipping"),
        ("devices = 2", 'not_supported = ["bf16"]', "bf16 has a rate and is said to have no units"),
        ('status = "announced"', 'status = "announced"\naliases = "x1"', "aliases: a list is wanted"),
        ("rivals = [{", 'rivals = [{ rivals = [], ', "rivals[0].rivals: no such key here"),
        ("[power]", "[power.tdp]", "power.tdp"),
    ],
)  # fmt: skip
def test_a_fault_names_place_value_and_what_would_be_legal(old: str, new: str, fault: str) -> None:
    assert old in CHIP
    faults = faults_of(CHIP.replace(old, new, 1))
    assert any(fault in line for line in faults), faults


@pytest.mark.parametrize(
    "content",
    [
        b"id = ",
        b"\xff\xfe",
        b"x = " + b"[" * 100_000,
        b"x = " + b"9" * 10_000,
        b"a = 1\na = 2",
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_toml_is_one_fault(content: bytes) -> None:
    faults: list[str] = []
    assert parse_toml_bytes(content, "bad.toml", faults) is None
    assert len(faults) == 1
    assert faults[0].startswith("bad.toml: ")


def test_a_path_that_is_no_file_is_a_fault(tmp_path: Path) -> None:
    faults: list[str] = []
    assert parse_toml(tmp_path, faults) is None
    assert parse_toml(tmp_path / "nothing.toml", faults) is None
    assert len(faults) == 2


def test_a_figure_may_be_no_table_at_all() -> None:
    faults: list[str] = []
    value = read_figure(
        "671B", dimension="parameter", record="m", key="published.total", faults=faults, where="m.toml"
    )
    assert isinstance(value, Unknown)
    assert faults[0] == "m.toml: published.total: a table is wanted here, not str '671B'"


def test_a_system_takes_links_of_its_chip_and_brings_figures_to_its_own_basis() -> None:
    chip = read_chip(table(CHIP, []), "acme-x1")
    faults: list[str] = []
    system = read_system(table(SYSTEM, faults), "acme-pod", lambda _: chip)
    assert faults == []
    assert system is not None
    package, node, pod = system.domains
    assert (package.plane, package.size) == ("die_to_die", 1), (
        "two devices per chip are a domain of their own"
    )
    assert node.bandwidth is chip.links["scale_up"]["bandwidth"]
    assert isinstance(pod.bandwidth, Figure)
    assert float(pod.bandwidth) == pytest.approx(100e9)
    assert system.power["all_in"] == pytest.approx(80e3)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("size = 64", "size = 32", "domains: the last domain spans 32 chips, the system has 64"),
        (
            'name = "node"\nplane = "scale_up"\nsize = 8',
            'name = "node"\nplane = "scale_up"\nsize = 65',
            "size",
        ),
        ("chips_per_node = 8", "chips_per_node = 65", "chips_per_node: a whole number from 1 to 64"),
        ("num_chips = 64", "num_chips = 6400000000", "num_chips: a whole number from 1 to 1000000"),
    ],
)
def test_a_system_whose_domains_do_not_nest_is_at_fault(old: str, new: str, fault: str) -> None:
    chip = read_chip(table(CHIP, []), "acme-x1")
    faults: list[str] = []
    read_system(table(SYSTEM.replace(old, new, 1), faults), "acme-pod", lambda _: chip)
    assert any(fault in line for line in faults), faults


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(raw: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [place] if place else []
    entries = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in entries:
        found += places(value, (*place, key))
    return found


@given(data=st.data(), junk=JUNK, reader=st.sampled_from(["chip", "system", "prices", "source"]))
def test_junk_anywhere_makes_faults_never_an_exception(
    data: st.DataObject, junk: object, reader: str
) -> None:
    text = SYSTEM if reader == "system" else CHIP
    raw: dict[str, Any] = copy.deepcopy(tomllib.loads(text))
    *path, last = data.draw(st.sampled_from(places(raw)))
    parent: Any = raw
    for key in path:
        parent = parent[key]
    parent[last] = junk
    faults: list[str] = []
    chip = read_chip(table(CHIP, []), "acme-x1")
    walked = Table(raw, where="x.toml", faults=faults, sources=SOURCES)
    if reader == "chip":
        read_chip(walked, "acme-x1")
    elif reader == "system":
        read_system(walked, "acme-pod", lambda _: chip)
    elif reader == "prices":
        read_prices(walked, "acme-x1")
    else:
        read_source(walked, "acme-x1")
    assert all(fault.startswith("x.toml: ") for fault in faults)
