"""Money, energy and carbon of a deployment; every rate has a source or is the user's own word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dougong import units
from dougong.catalog.hardware import Price, System
from dougong.facts import Figure, Unknown, known
from dougong.plan.records import Records
from dougong.plan.types import PlanRequest

_KINDS = ("owning-neocloud", "owning-hyperscaler", "rental-3-year", "rental-list")
"""Preference among price kinds: what it costs to own and run comes before what is asked in the market."""
KWH_J = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one chip costs and draws; None where nobody says.

    Attributes
    ----------
    usd_per_chip_s
        Owning or renting one chip, its electricity included [USD/s].
    usd_per_j
        Electricity alone, where a tariff was given [USD/J].
    watts_per_chip
        All-in provisioned power of one chip, PUE included [W].
    grams_per_j
        Carbon intensity of the grid [g/J].
    """

    usd_per_chip_s: float | None
    usd_per_j: float | None
    watts_per_chip: float | None
    grams_per_j: float | None
    notes: tuple[str, ...]
    figures: tuple[Figure, ...]


def rates_of(system: System, request: PlanRequest, catalog: Records) -> Rates:
    """Find the rates: the user's flags first, then the catalog, then nothing."""
    notes: list[str] = []
    figures: list[Figure] = []

    def use(figure: Figure, note: str) -> float:
        figures.append(figure)
        notes.append(note)
        return float(figure)

    prices = catalog.prices(system.chip.id)
    money = None if request.usd_per_chip_hour is None else request.usd_per_chip_hour / 3600
    if money is None:
        for kind in _KINDS:
            found = next(
                (price for price in prices if price.kind == kind and isinstance(price.value, Figure)), None
            )
            if found and isinstance(found.value, Figure):
                money = use(found.value, f"price: {kind.replace('-', ' ')}, {per_chip(found.value)}")
                break
        else:
            notes.append(f"no price per chip-hour on record for {system.chip.name}; give --usd-per-chip-hour")
    watts = request.watts_per_chip
    if watts is None:
        watts = _power(system, prices, use, notes)
    watts = None if watts is None else watts * request.pue
    tariff = None if request.usd_per_kwh is None else request.usd_per_kwh / KWH_J
    if tariff is not None and watts is not None:
        # What one pays to own or rent in the catalog holds its electricity; a price given by hand need not.
        if request.usd_per_chip_hour is not None:
            money = request.usd_per_chip_hour / 3600 + watts * tariff
            notes.append(
                f"electricity at {request.usd_per_kwh:g} USD/kWh is added to the price per chip-hour"
            )
        elif money is not None:
            notes.append("the catalog's price holds its electricity; what that costs alone is told beside it")
    grams = None if request.grid_g_per_kwh is None else request.grid_g_per_kwh / KWH_J
    if grams is None:
        for price in catalog.prices("grid"):
            if price.region == request.region and isinstance(price.value, Figure):
                grams = use(price.value, f"grid: {request.region}, {price.value.printed}")
                break
    return Rates(
        usd_per_chip_s=money,
        usd_per_j=tariff,
        watts_per_chip=watts,
        grams_per_j=grams,
        notes=tuple(notes),
        figures=tuple(figures),
    )


def per_chip(price: Figure) -> str:
    """A price in our unit, and what is printed where that is something else."""
    said = f"{units.show(float(price), 'USD/s')} per chip"
    return f"{said}, our reading of “{price.printed}” ({price.why})" if price.read_as else said


def _power(system: System, prices: tuple[Price, ...], use: _Use, notes: list[str]) -> float | None:
    whole: Figure | Unknown | None = system.power.get("all_in")
    if isinstance(whole, Figure):
        return (
            use(whole, f"power: the whole system, {whole.printed}, over {system.num_chips} chips")
            / system.num_chips
        )
    for price in prices:
        share = known(price.all_in_power)
        if share is not None:
            return use(share, f"power: provisioned all-in per chip, {share.printed}")
    tdp = known(system.chip.power_tdp)
    if tdp is None:
        notes.append(f"no power figure on record for {system.chip.name}; give --watts-per-chip")
        return None
    return use(tdp, f"power: chip TDP only ({tdp.printed}), without host, network and cooling")


class _Use(Protocol):
    def __call__(self, figure: Figure, note: str) -> float: ...
