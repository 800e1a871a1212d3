"""The fit: it recovers known parameters, and gives the shipped ones from the shipped facts."""

import tomllib
from dataclasses import asdict, replace

import numpy as np
import pytest

from dougong.calibration import Parameters, load_ranges, load_residuals
from dougong.calibration.facts import Facts, load_facts
from dougong.calibration.families import CHOSEN, FAMILIES
from dougong.calibration.fitting import fit_family, fit_operators, spread, start
from dougong.calibration.forms import decode_attention_s, elementwise_s, gemm_s
from dougong.calibration.parameters import data_file
from dougong.calibration.predict import log_ratio
from dougong.calibration.report import GROUPS, Account, account, parameters_toml, residuals_toml, table


@pytest.fixture(scope="module")
def result() -> Account:
    return account(load_facts())


def test_the_shipped_parameters_are_what_the_shipped_facts_give(result: Account) -> None:
    fresh = tomllib.loads(parameters_toml(result))["operator"]
    assert asdict(Parameters.load()) == pytest.approx(fresh, rel=5e-3)


def test_the_shipped_account_is_what_the_fit_says_of_itself(result: Account) -> None:
    fresh, shipped = tomllib.loads(residuals_toml(result)), tomllib.loads(data_file("residuals.toml"))
    assert set(fresh["residual"]) == set(shipped["residual"]) == set(load_residuals()) == set(GROUPS)
    for group, entry in shipped["residual"].items():
        for kind in ("in_sample", "leave_one_chip_out", "leave_one_document_out"):
            assert (kind in entry) == (kind in fresh["residual"][group])
            if kind in entry:
                assert entry[kind] == pytest.approx(fresh["residual"][group][kind], abs=5e-3)
    assert set(load_ranges()) == set(asdict(start()))
    for name, ends in load_ranges().items():
        assert ends == pytest.approx(fresh["range"][name], rel=2e-2)


# (median, 90th percentile) on rows of chips the fit had not seen: what we reached, rounded up.
UNSEEN_CHIP = {
    "gemm": (0.10, 0.30),
    "grouped_gemm": (0.16, 0.40),
    "decode_attention": (0.06, 0.20),
    "prefill_attention": (0.05, 0.10),
    "all_reduce": (0.17, 0.40),
    "all_to_all": (0.10, 0.50),
    "link": (0.14, 0.50),
}


@pytest.mark.parametrize("group", UNSEEN_CHIP)
def test_unseen_chips_are_predicted_as_well_as_we_say(result: Account, group: str) -> None:
    mask = np.isin(result.fitted.facts.words["op"], GROUPS[group])
    median, p90 = spread(result.without_chip[mask])
    assert median <= UNSEEN_CHIP[group][0]
    assert p90 <= UNSEEN_CHIP[group][1]


def test_every_parameter_is_fitted_in_one_family_or_chosen() -> None:
    named = [one.name for one in CHOSEN] + [one.name for family in FAMILIES for one in family.parameters]
    assert sorted(named) == sorted(asdict(start()))
    grouped = [op for ops in GROUPS.values() for op in ops]
    assert sorted(grouped) == sorted(op for family in FAMILIES for op in family.ops)


def test_no_efficiency_passes_one() -> None:
    for name, value in asdict(Parameters.load()).items():
        if "efficiency" in name:
            assert 0.2 < value < 1.0, name


def test_the_fit_recovers_the_parameters_that_made_the_times() -> None:
    # The times of real rows are replaced by those of known parameters: same shapes, no noise.
    known = replace(
        start(),
        decode_attention_fixed_s=7e-6,
        latent_attention_fixed_s=30e-6,
        attention_memory_efficiency=0.6,
    )
    facts = load_facts().used().of("decode_attention")
    truth = facts["latency_s"] * np.exp(log_ratio(known, facts))
    exact = Facts(facts.words, {**facts.numbers, "latency_s": truth})
    family = next(one for one in FAMILIES if one.name == "decode_attention")
    found = fit_family(start(), family, exact)
    assert found.decode_attention_fixed_s == pytest.approx(7e-6, rel=0.02)
    assert found.latent_attention_fixed_s == pytest.approx(30e-6, rel=0.02)
    assert found.attention_memory_efficiency == pytest.approx(0.6, rel=0.02)


def test_one_absurd_row_does_not_carry_the_fit() -> None:
    facts = load_facts().used().of("decode_attention")
    family = next(one for one in FAMILIES if one.name == "decode_attention")
    clean = fit_family(start(), family, facts)
    times = facts["latency_s"].copy()
    times[0] *= 1000.0
    hit = fit_family(start(), family, Facts(facts.words, {**facts.numbers, "latency_s": times}))
    assert hit.attention_memory_efficiency == pytest.approx(clean.attention_memory_efficiency, rel=0.03)


def test_the_fit_is_deterministic() -> None:
    facts = load_facts()
    assert fit_operators(facts).parameters == fit_operators(facts).parameters


def test_without_rows_parameters_stay_at_their_start() -> None:
    facts = load_facts()
    assert fit_operators(facts.where(facts.words["id"] == "no such row")).parameters == start()


def test_the_table_tells_every_group_and_what_was_left_out(result: Account) -> None:
    text = table(result)
    assert all(group in text for group in GROUPS)
    assert "92 rows not used:" in text
    assert "ablation, not an operator" in text


# Median share of the peak over n, k in {4096, 8192, 16384} at m = 64, 256, 1024, 4096, and of the memory
# bandwidth for m <= 64, of whole published kernel tables (ai-dynamo/aiconfigurator-core 0.12.0, latest vLLM
# tables): mostly shapes the fit has no row of. Chip: peak [FLOP/s], bandwidth [byte/s], bytes per value.
TABLES = {
    "H100 bf16": (989.4e12, 3.35e12, 2, (0.17, 0.62, 0.83, 0.80, 0.80)),
    "H100 fp8": (1978.9e12, 3.35e12, 1, (0.13, 0.40, 0.55, 0.54, 0.63)),
    "H200 bf16": (989.4e12, 4.8e12, 2, (0.22, 0.71, 0.82, 0.79, 0.74)),
    "H200 fp8": (1978.9e12, 4.8e12, 1, (0.16, 0.43, 0.62, 0.60, 0.51)),
    "B200 bf16": (2250e12, 8.0e12, 2, (0.15, 0.49, 0.66, 0.69, 0.70)),
    "B200 fp8": (4500e12, 8.0e12, 1, (0.09, 0.25, 0.43, 0.47, 0.43)),
    "A100 bf16": (312e12, 2.039e12, 2, (0.28, 0.67, 0.83, 0.88, 0.68)),
    "L40S bf16": (362.05e12, 0.864e12, 2, (0.11, 0.40, 0.64, 0.61, 0.80)),
    "RTX PRO 6000 bf16": (467.8e12, 1.597e12, 2, (0.18, 0.61, 0.80, 0.86, 0.77)),
    "B60 bf16": (98.3e12, 0.456e12, 2, (0.25, 0.75, 0.94, 0.96, 0.91)),
}
SIDES = np.array([4096.0, 8192.0, 16384.0])


def reached(p: Parameters, peak: float, bandwidth: float, value_bytes: int) -> list[float]:
    n, k = SIDES[:, None], SIDES[None, :]

    def seconds(m: float) -> np.ndarray:
        gemm = gemm_s(
            p, flop=2 * m * n * k, weight_bytes=n * k * value_bytes, io_bytes=m * (k * value_bytes + n * 2),
            m=m, n=n, k=k, peak_flop_per_s=peak, bandwidth_bytes_per_s=bandwidth,
        )  # fmt: skip
        quantise = elementwise_s(p, bytes_=m * k * (2 + value_bytes), bandwidth_bytes_per_s=bandwidth)
        return gemm + (quantise if value_bytes == 1 else 0.0)

    shares = [float(np.median(2 * m * n * k / seconds(m) / peak)) for m in (64.0, 256.0, 1024.0, 4096.0)]
    reads = [n * k * value_bytes / seconds(m) / bandwidth for m in (1.0, 16.0, 64.0)]
    return [*shares, float(np.median(reads))]


def test_published_tables_of_gemm_efficiency_are_met() -> None:
    p = Parameters.load()
    misses = [
        np.log(np.array(reached(p, peak, bandwidth, value_bytes)) / np.array(published))
        for peak, bandwidth, value_bytes, published in TABLES.values()
    ]
    median, p90 = spread(np.concatenate(misses))
    assert median <= 0.11
    assert p90 <= 0.19


def test_published_cache_read_shares_are_met() -> None:
    # 64 heads on 8 key-value heads of 128, 4,096 tokens, bf16, batches of 1, 16 and 64; same tables.
    p = Parameters.load()
    published = {
        "H100": (3.35e12, 0.30, 0.69, 0.90),
        "H200": (4.8e12, 0.21, 0.68, 0.88),
        "B200": (8e12, 0.20, 0.64, 0.87),
    }
    misses: list[float] = []
    for bandwidth, *shares in published.values():
        for batch, share in zip((1, 16, 64), shares, strict=True):
            cache = batch * 4096 * 8 * 128 * 2 * 2.0
            seconds = decode_attention_s(
                p, flop=batch * 4096 * 64 * 128 * 4.0, kv_bytes=cache,
                peak_flop_per_s=989e12, bandwidth_bytes_per_s=bandwidth,
            )  # fmt: skip
            misses.append(float(np.log(cache / seconds / bandwidth / share)))
    median, p90 = spread(misses)
    assert median <= 0.12
    assert p90 <= 0.22
