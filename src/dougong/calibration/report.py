"""The fit as a table for people and as the files that ship."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from dougong.calibration.chips import KINDS, SHRINK_ROWS
from dougong.calibration.facts import Facts, Floats, Mask
from dougong.calibration.families import CHOSEN, FAMILIES
from dougong.calibration.fitting import Fitted, fit_operators, gathered, leave_one_out, spread
from dougong.calibration.parameters import SCHEMA, Parameters

GROUPS: Mapping[str, tuple[str, ...]] = {
    "gemm": ("gemm", "gemm_peak"),
    "grouped_gemm": ("grouped_gemm",),
    "decode_attention": ("decode_attention", "decode_attention_rate", "index_scores"),
    "sparse_decode_attention": ("sparse_decode_attention",),
    "prefill_attention": ("prefill_attention",),
    "all_reduce": ("all_reduce",),
    "all_to_all": ("all_to_all",),
    "link": ("link",),
}
"""Residuals are told by these groups of operators; a family of the fit may hold several."""


@dataclass(frozen=True, slots=True)
class Account:
    """A fit with its misses on rows it had not seen.

    Attributes
    ----------
    fitted
        The fit to all usable rows, with its own misses.
    without_chip, without_document
        Misses of each row in fits without its chip, without its document.
    ranges
        Parameter to its least and greatest value over the fits without one chip.
    unused
        Reason to number of rows not used.
    """

    fitted: Fitted
    without_chip: Floats
    without_document: Floats
    ranges: Mapping[str, tuple[float, float]]
    unused: Mapping[str, int]


def account(facts: Facts) -> Account:
    """Fit ``facts``, and again without each chip and each document."""
    chips, documents = leave_one_out(facts, "chip"), leave_one_out(facts, "document")
    every = [asdict(p) for p, _ in chips.values()]
    reasons = Counter(str(reason) for reason in facts.words["unused_because"] if reason)
    return Account(
        fitted=fit_operators(facts),
        without_chip=gathered(facts, "chip", chips),
        without_document=gathered(facts, "document", documents),
        ranges={name: (min(p[name] for p in every), max(p[name] for p in every)) for name in every[0]},
        unused=dict(reasons.most_common()),
    )


def table(result: Account) -> str:
    """Misses by group of operators and, within it, by chip."""
    facts = result.fitted.facts
    heads = "".join(f" {head:>13s}" for head in ("in sample", "without chip", "without doc."))
    lines = [f"{'':34s}{'rows':>5s}{heads}   median, 90th percentile"]

    def line(name: str, mask: Mask) -> str:
        rates = (result.fitted.residual, result.without_chip, result.without_document)
        cells = "".join(f" {_percent(*spread(residual[mask])):>13s}" for residual in rates)
        return f"{name:34s}{int(mask.sum()):5d}{cells}"

    for group, ops in GROUPS.items():
        mask = np.isin(facts.words["op"], ops)
        lines.append(line(group, mask))
        for chip in sorted(set(facts.words["chip"][mask].tolist())):
            lines.append(line(f"  {chip}", mask & (facts.words["chip"] == chip)))
    lines += ["", f"{'parameter':34s}{'value':>12s}   over fits without one chip"]
    for name, value in asdict(result.fitted.parameters).items():
        low, high = result.ranges[name]
        lines.append(f"{name:34s}{value:12.4g}   {low:.4g} to {high:.4g}")
    lines += ["", f"{sum(result.unused.values())} rows not used:"]
    lines += [f"{count:5d}  {reason}" for reason, count in result.unused.items()]
    return "\n".join(lines)


def _percent(median: float, p90: float) -> str:
    return f"{median:.1%} {p90:.1%}"


def parameters_toml(result: Account) -> str:
    """``parameters.toml``: each parameter, with unit, meaning and rows as a comment."""
    facts, p = result.fitted.facts, result.fitted.parameters
    lines = [*_HEAD, f"schema = {SCHEMA}", "", "[operator]"]
    for one in CHOSEN:
        lines += [f"# [{one.unit}] {one.meaning}; set", _value(p, one.name)]
    for family in FAMILIES:
        rows = len(facts.of(*family.ops))
        for one in family.parameters:
            lines += [f"# [{one.unit}] {one.meaning}; {family.name}, {rows} rows", _value(p, one.name)]
    return "\n".join(lines) + "\n"


def residuals_toml(result: Account) -> str:
    """``residuals.toml``: range of each parameter, misses of each group of operators."""
    facts = result.fitted.facts
    lines = [
        *_HEAD,
        "# range: least and greatest value over fits without one chip.",
        "# residual: median and 90th percentile of |log(predicted / measured)|.",
        f"schema = {SCHEMA}",
        "",
        "[range]",
        *(f"{name} = [{low!r}, {high!r}]" for name, (low, high) in result.ranges.items()),
        "",
    ]
    for group, ops in GROUPS.items():
        mask = np.isin(facts.words["op"], ops)
        chips, documents = (set(facts.words[column][mask].tolist()) for column in ("chip", "document"))
        lines += [
            f"[residual.{group}]",
            f"rows = {int(mask.sum())}",
            f"chips = {len(chips)}",
            f"in_sample = {_spread(result.fitted.residual[mask])}",
        ]
        if len(chips) > 1:
            lines.append(f"leave_one_chip_out = {_spread(result.without_chip[mask])}")
        if len(documents) > 1:
            lines.append(f"leave_one_document_out = {_spread(result.without_document[mask])}")
        lines += [f"documents = {json.dumps(sorted(documents), ensure_ascii=False)}", ""]
    return "\n".join(lines)


def chips_toml(result: Account) -> str:
    """``chips.toml``: factors of chips whose operators were measured; see :mod:`dougong.calibration.chips`."""
    facts, residual = result.fitted.facts, result.fitted.residual
    lines = [*_HEAD, f"schema = {SCHEMA}", ""]
    for chip in sorted(set(facts.words["chip"].tolist())):
        found: list[str] = []
        for kind in KINDS:
            mask = np.isin(facts.words["op"], GROUPS[kind]) & (facts.words["chip"] == chip)
            if rows := int(mask.sum()):
                factor = float(np.exp(-np.median(residual[mask]) * rows / (rows + SHRINK_ROWS)))
                found.append(f"{kind} = {factor:.4g}  # {rows} rows")
        if found:
            lines += [f"[factor.{chip}]", *found, ""]
    return "\n".join(lines)


_HEAD = ("# Written by `python -m dougong.calibration` from operator-facts.csv; a test refits and compares.",)


def _value(p: Parameters, name: str) -> str:
    return f"{name} = {getattr(p, name)!r}"


def _spread(residual: Floats) -> str:
    median, p90 = spread(residual)
    return f"[{median:.3f}, {p90:.3f}]"
