"""From a device's own name to a record of the catalog; what fits several records, or none, is not guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dougong.catalog.hardware import Chip
from dougong.catalog.store import Catalog
from dougong.engines.platforms import PLATFORMS
from dougong.facts import Figure

NEAR_FRAC = 0.13
"""Drivers tell less memory than is sold: what firmware keeps, and ECC in the memory itself, which is an eighth."""


@dataclass(frozen=True, slots=True)
class Match:
    """The record that fits, or those that fit alike."""

    chip: str | None
    could_be: tuple[str, ...] = ()


def match_device(name: str, memory_bytes: int | None, platform: str, catalog: Catalog) -> Match:
    """Return the chip record for a device of ``platform`` with that name and memory [byte]."""
    vendors = PLATFORMS[platform].vendors
    chips = [
        chip
        for chip in (catalog.chip(one) for one in catalog.ids("chip"))
        if chip.vendor in vendors and chip.kind != "cpu"
    ]
    return _best(name, memory_bytes, chips)


def match_cpu(name: str, catalog: Catalog) -> Match:
    """Return the chip record for a CPU."""
    chips = [catalog.chip(one) for one in catalog.ids("chip")]
    return _best(name, None, [chip for chip in chips if chip.kind != "accelerator"])


def _best(name: str, memory_bytes: int | None, chips: Sequence[Chip]) -> Match:
    words = _words(name)
    scored = [(score, chip) for chip in chips if (score := _score(words, chip)) > 0]
    if memory_bytes is not None:
        near = [(score, chip) for score, chip in scored if _near(memory_bytes, chip)]
        scored = near or [
            (score, chip) for score, chip in scored if not isinstance(chip.memory_capacity, Figure)
        ]
    if not scored:
        return Match(None)
    most = max(score for score, _ in scored)
    best = sorted(chip.id for score, chip in scored if score == most)
    return Match(best[0]) if len(best) == 1 else Match(None, tuple(best))


def _score(words: Sequence[str], chip: Chip) -> int:
    """Return the letters of the longest of the chip's names that stands in ``words`` as whole words."""
    own = chip.id.partition("-")[2]
    spoken = [_words(own), _words(chip.name.partition("(")[0]), *(_words(alias) for alias in chip.aliases)]
    return max((sum(map(len, one)) for one in spoken if one and _stands_in(one, words)), default=0)


def _stands_in(wanted: Sequence[str], words: Sequence[str]) -> bool:
    """Say whether all wanted words stand in ``words``, in that order."""
    left = iter(words)
    return all(any(word == one for word in left) for one in wanted)


def _words(name: str) -> list[str]:
    """Split a name at everything but letters and digits; vendors and forms that every name has are dropped."""
    plain = re.sub(r"\((?:r|tm)\)", " ", name.lower())
    plain = re.sub(r"sxm\d", "sxm", re.sub(r"^ascend\s*(?=\d)", "", plain))
    plain = re.sub(r"\bmx(?=c\d)", "", plain)
    dropped = {
        "nvidia",
        "amd",
        "intel",
        "huawei",
        "ascend",
        "metax",
        "geforce",
        "instinct",
        "gpu",
        "cpu",
        "dcu",
        "processor",
        "graphics",
    }
    return [word for word in re.split(r"[^a-z0-9]+", plain) if word and word not in dropped]


def _near(memory_bytes: int, chip: Chip) -> bool:
    if not isinstance(chip.memory_capacity, Figure):
        return False
    # A runtime may show the dies of one package as devices of their own.
    return any(_close(memory_bytes, float(chip.memory_capacity) / parts) for parts in {1, chip.devices})


def _close(told: float, sold: float) -> bool:
    return abs(told - sold) <= NEAR_FRAC * sold
