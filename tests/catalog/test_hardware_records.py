"""What the shipped records of chips, systems and prices must satisfy, whatever they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from dougong import units
from dougong.catalog import Catalog
from dougong.catalog.hardware import Chip, System
from dougong.catalog.store import SHIPPED
from dougong.errors import UnknownId
from dougong.facts import Figure, known
from shared_data import shared_data

CATALOG = Catalog.open()
CHIPS = CATALOG.ids("chip")
SYSTEMS = CATALOG.ids("system")
LISTS = CATALOG.ids("price")
NOT_CARRIED = {
    "cambricon-mlu690": "no public figure at all",
    "kunlun-m100": "announced by name only",
    "us-3a090": "an export rule, no hardware",
}


def with_rivals(figure: Figure) -> Iterator[Figure]:
    yield figure
    yield from figure.rivals


def chip_figures(chip: Chip) -> Iterator[tuple[str, Figure]]:
    for key, value in chip.figures():
        if isinstance(value, Figure):
            for figure in with_rivals(value):
                yield key, figure


def test_every_file_loads_and_no_alias_names_two() -> None:
    Catalog.open().check()
    assert len(CHIPS) >= 120
    assert len(SYSTEMS) >= 60


def test_every_source_is_used() -> None:
    used = set[str]()
    for path in SHIPPED.rglob("*.toml"):
        if path.parent.name != "sources":
            used.update(re.findall(r'"([^"\n]+)"', path.read_text(encoding="utf-8")))
    calibration = SHIPPED.parent.parent / "calibration" / "data"
    for path in calibration.glob("*"):
        used.update(re.findall(r"[a-z0-9][a-z0-9.-]+", path.read_text(encoding="utf-8")))
    assert [name for name in CATALOG.ids("source") if name not in used] == []


def test_source_records_say_what_they_are() -> None:
    for name in CATALOG.ids("source"):
        source = CATALOG.source(name)
        assert source.title, name
        assert name == "uncited" or source.publisher, name


@pytest.mark.parametrize("chip_id", CHIPS)
def test_printed_figures_of_a_chip_read_back_to_their_value(chip_id: str) -> None:
    chip = CATALOG.chip(chip_id)
    times = {"die": chip.dies, "device": chip.devices}
    for key, figure in chip_figures(chip):
        value = units.read(figure.read_as or figure.printed, figure.dimension)
        value *= times.get(figure.per, 1) * (0.5 if figure.direction == "two-way" else 1)
        assert float(figure) == pytest.approx(value, rel=1e-12), key


@pytest.mark.parametrize("chip_id", CHIPS)
def test_figures_of_a_chip_lie_in_the_range_of_real_hardware(chip_id: str) -> None:
    chip = CATALOG.chip(chip_id)
    bounds = {
        "FLOP/s": (0.9e12, 1e17),
        "byte": (8e9, 1e12),
        "byte/s": (5e9, 3e13),
        "s": (1e-7, 1e-4),
        "W": (50, 3000),
    }
    for key, figure in chip_figures(chip):
        low, high = bounds[figure.dimension]
        assert low <= figure <= high, f"{key} = {figure.printed}"
    bandwidth, capacity = known(chip.memory_bandwidth), known(chip.memory_capacity)
    if bandwidth and capacity:
        assert 0.005 < capacity / bandwidth < 5, "reading the whole memory takes 5 ms to 5 s"


@pytest.mark.parametrize("chip_id", CHIPS)
def test_nobody_measures_more_memory_than_a_chip_has(chip_id: str) -> None:
    # The 1024 of 1000 trap: what a tool shows cannot be 7 % above what the record says there is.
    chip = CATALOG.chip(chip_id)
    shown, there = known(chip.measured.get("memory_capacity")), known(chip.memory_capacity)
    if shown is not None and there is not None:
        assert shown <= there * 1.04, (shown.printed, there.printed)


@pytest.mark.parametrize("chip_id", CHIPS)
def test_narrower_numbers_are_not_slower(chip_id: str) -> None:
    rates = {dtype: known(value) for dtype, value in CATALOG.chip(chip_id).compute_dense.items()}
    for wide, narrow in (("bf16", "fp8_e4m3"), ("fp8_e4m3", "fp4"), ("fp32", "bf16"), ("tf32", "bf16")):
        a, b = rates.get(wide), rates.get(narrow)
        assert a is None or b is None or a <= b, (wide, narrow)


def test_sparse_rates_are_twice_the_dense_ones_or_four_thirds() -> None:
    seen = 0
    for chip_id in CHIPS:
        chip = CATALOG.chip(chip_id)
        for dtype, value in chip.compute_sparse.items():
            sparse, dense = known(value), known(chip.compute_dense[dtype])
            assert sparse is not None
            assert dense is not None
            seen += 1
            # Blackwell Ultra raised dense FP4 alone: 1080 against 1440 PFLOPS in a rack.
            assert sparse / dense == pytest.approx(4 / 3 if chip_id == "nvidia-gb300" else 2, rel=0.02)
    assert seen >= 3


def test_what_no_document_prints_is_graded_so() -> None:
    for chip_id in CHIPS:
        for key, figure in chip_figures(CATALOG.chip(chip_id)):
            assert figure.source != "uncited" or figure.grade in ("estimate", "derived"), (chip_id, key)
            assert figure.at or figure.source == "uncited", (chip_id, key, "no place in the document")


@pytest.mark.parametrize("system_id", SYSTEMS)
def test_domains_of_a_system_nest_and_narrow(system_id: str) -> None:
    system = CATALOG.system(system_id)
    sizes = [domain.size for domain in system.domains]
    assert sizes == sorted(sizes)
    assert system.num_chips == 1 or sizes[-1] == system.num_chips
    widths = [float(width) for domain in system.domains if (width := known(domain.bandwidth)) is not None]
    assert widths == sorted(widths, reverse=True), "an outer domain is wider than an inner one"


@pytest.mark.parametrize("system_id", SYSTEMS)
def test_printed_totals_agree_with_the_chips(system_id: str) -> None:
    system = CATALOG.system(system_id)
    for key, value in system.totals.items():
        total, one = known(value), known(_per_chip(system, key))
        assert total is not None
        assert one is not None
        # A wider gap must be explained in the line itself.
        assert total == pytest.approx(one * system.num_chips, rel=0.03) or total.why, key


def _per_chip(system: System, key: str):
    chip = system.chip
    if key == "scale_up_bandwidth":
        return chip.links["scale_up"]["bandwidth"]
    plain = {"memory_capacity": chip.memory_capacity, "memory_bandwidth": chip.memory_bandwidth}
    return plain.get(key) or chip.compute_dense[key]


@pytest.mark.parametrize("system_id", SYSTEMS)
def test_printed_figures_of_a_system_read_back_to_their_value(system_id: str) -> None:
    system = CATALOG.system(system_id)
    nodes = system.num_chips / system.chips_per_node
    whole = {"system": 1, "node": nodes, "chip": system.num_chips}
    each = {"die": system.chip.dies, "device": system.chip.devices, "node": 1 / system.chips_per_node}
    each["system"] = 1 / system.num_chips
    for key, value in system.figures():
        if not isinstance(value, Figure) or value.record != system.id:
            continue
        times = each if key.startswith("domain.") else whole
        for figure in with_rivals(value):
            read = units.read(figure.read_as or figure.printed, figure.dimension)
            read *= times.get(figure.per, 1) * (0.5 if figure.direction == "two-way" else 1)
            assert float(figure) == pytest.approx(read, rel=1e-12), key


@pytest.mark.parametrize("list_id", LISTS)
def test_prices_name_a_subject_and_are_of_a_sane_size(list_id: str) -> None:
    bounds = {"USD/s": (0.1 / 3600, 20 / 3600), "USD": (500, 100_000), "USD/J": (0.01 / 3.6e6, 1 / 3.6e6)}
    bounds["g/J"] = (5 / 3.6e6, 1200 / 3.6e6)
    bounds["1"] = (0.1, 10_000)  # coins for a dollar
    for price in CATALOG.price_list(list_id):
        assert price.subject in ("electricity", "grid", "CNY", *CHIPS, *SYSTEMS), price.id
        value = known(price.value)
        assert value is not None
        low, high = bounds[value.dimension]
        assert low <= value <= high, price.id
        assert price.region or price.kind not in ("tariff", "carbon"), price.id


def test_what_is_printed_in_yuan_is_read_at_the_rate_of_its_year() -> None:
    rates = {price.year: price.value for list_id in LISTS for price in CATALOG.price_list(list_id)
             if price.kind == "exchange"}  # fmt: skip
    seen = 0
    for list_id in LISTS:
        for price in CATALOG.price_list(list_id):
            value = known(price.value)
            assert value is not None
            for figure in with_rivals(value):
                if "CNY/USD" not in figure.why:
                    continue
                seen += 1
                rate = rates[price.year]
                assert isinstance(rate, Figure)
                assert f"at {rate.read_as or rate.printed} CNY/USD" in figure.why, price.id
                yuan = re.fullmatch(r"([\d.]+) CNY(/h)?", figure.printed)
                if yuan and "two such devices" not in figure.why:
                    per_s = 3600 if yuan[2] else 1
                    assert float(figure) == pytest.approx(float(yuan[1]) / rate / per_s, rel=0.002), price.id
    assert seen >= 15


def test_ids_of_prices_are_unique() -> None:
    ids = [price.id for list_id in LISTS for price in CATALOG.price_list(list_id)]
    assert len(ids) == len(set(ids))


FACTS = [
    # Values typed by hand from the documents, in base units per chip.
    ("huawei-910c", "compute.fp16.dense", 752e12),
    ("huawei-910c", "compute.bf16.dense", 707.8e12),
    ("huawei-910c", "compute.int8.dense", 1504e12),
    ("huawei-910c", "memory.bandwidth", 3.2e12),
    ("huawei-910c", "memory.capacity", 2 * 64 * 2**30),
    ("huawei-910c", "links.scale_up.bandwidth", 392e9),
    ("huawei-910c", "links.die_to_die.bandwidth", 540e9),
    ("huawei-910c", "links.scale_out.bandwidth", 50e9),
    ("huawei-910c", "measured.scale_up_bandwidth", 328e9),
    ("huawei-910b3", "compute.fp16.dense", 313e12),
    ("huawei-910b3", "links.scale_up.bandwidth", 196e9),
    ("huawei-950dt", "compute.fp4.dense", 2007e12),
    ("metax-c550", "links.scale_up.bandwidth", 448e9),
    ("huawei-atlas-300i-duo", "links.die_to_die.bandwidth", 60e9),
    ("kunlun-p800", "memory.capacity", 96 * 2**30),
    ("nvidia-rtx-4090", "memory.capacity", 24 * 2**30),
    ("intel-xeon-6980p", "links.scale_up.bandwidth", 6 * 35.8e9 * 24 / 16),
    ("amd-epyc-9965", "links.scale_up.bandwidth", 4 * 16 * 32e9 / 8),
    ("nvidia-h100-sxm", "compute.bf16.dense", 989.4e12),
    ("nvidia-h100-sxm", "memory.bandwidth", 3.35e12),
    ("nvidia-h100-sxm", "links.scale_up.bandwidth", 450e9),
    ("nvidia-h800-sxm", "links.scale_up.bandwidth", 200e9),
    ("nvidia-h20-sxm-96", "compute.fp8_e4m3.dense", 296e12),
    ("nvidia-b300-sxm", "compute.int8.dense", 153.5e12),
    ("nvidia-gb200", "links.scale_up.bandwidth", 900e9),
    ("amd-mi300x", "links.scale_up.bandwidth", 448e9),
    ("intel-gaudi3", "compute.fp8_e4m3.dense", 1678e12),
    ("google-tpu-7x", "links.scale_up.bandwidth", 600e9),
    ("aws-trainium2", "links.scale_up.bandwidth", 512e9),
]


@pytest.mark.parametrize(("chip_id", "key", "value"), FACTS)
def test_traps_of_direction_die_and_density_are_read_right(chip_id: str, key: str, value: float) -> None:
    figures = dict(CATALOG.chip(chip_id).figures())
    figure = known(figures[key])
    assert figure is not None
    assert float(figure) == pytest.approx(value, rel=1e-3 if "UPI" in figure.printed else 1e-9)


def test_every_collected_row_has_a_record() -> None:
    rows = [json.loads(line) for line in shared_data("hardware.jsonl").read_text("utf-8").splitlines()]
    missing = []
    for row in rows:
        kind = "system" if "chip_id" in row else "chip"
        if row["id"] in NOT_CARRIED:
            continue
        try:
            CATALOG.resolve(kind, row["id"])
        except UnknownId:
            missing.append(row["id"])
    assert missing == []
    assert len(rows) == 146
