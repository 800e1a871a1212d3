"""The accuracy page: how far predictions lie from measurements that no fit saw, with the misses in the open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dougong.backtest.case import Case
from dougong.backtest.misses import Cause, worst
from dougong.backtest.results import Held, Results
from dougong.backtest.run import quantile
from dougong.backtest.yardsticks import Errors, affine, errors_of

INFERENCEX = "ai-dynamo/aiconfigurator silicon_sample.csv"
"""The document whose rows simpler predictors are held against too."""

_HEAD = """# Accuracy

Drawn by `make docs` from `docs/data/`, which `make accuracy FILES="rows.csv"` measures anew.
Every figure was published by others; its case is put to the formulas of a plan in its own layout, at its own load.
*Error* is predicted over measured, minus one; *bias* is its median.

- *In sample* is the shipped calibration, whose engine classes were fitted on these cases.
  A class has thirteen shared parameters; none belongs to a case, a model or a chip.
- *Out of fold* is what counts: classes fitted without the case's document, in the one of many rows without its chip.
  Mean, 90th percentile and bias are out of fold.
- *Maker unseen* leaves out every chip of the maker.

The 80 % intervals stand on predictions out of fold, with factors from the residuals of other folds; their width is the
upper over the lower end.

![Predicted against measured](accuracy.png)
"""
_COLUMNS = (
    "figures", "median in sample", "median out of fold", "mean", "90th percentile", "bias", "median, maker unseen",
    "in the interval", "width",
)  # fmt: skip
_METRICS = {
    "tpot_s": "TPOT",
    "ttft_s": "TTFT",
    "decode_tokens_per_s_per_chip": "decode tokens/s per chip",
    "prefill_tokens_per_s_per_chip": "prefill tokens/s per chip",
    "output_tokens_per_s_per_chip": "output tokens/s per chip, end to end",
    "total_tokens_per_s_per_chip": "total tokens/s per chip, end to end",
}
_GROUPS: tuple[tuple[str, Callable[[Held], str]], ...] = (
    ("By regime", lambda item: item.case.regime),
    ("By maker of the chip", lambda item: item.case.vendor),
    ("By model family", lambda item: item.case.family),
    ("By engine class", lambda item: item.case.engine_class),
    ("By chip", lambda item: item.case.chip),
    ("By document", lambda item: item.case.document),
)


_OUT_OF_MEMORY = "by its account the model does not fit the memory of the chips that ran it"
Predictor = tuple[str, Callable[[Held], float | None]]
"""A name, and what it says of a figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """What another planner says of a row, in base units; None where it has no answer, with its reason."""

    id: str
    ttft_s: float | None
    tpot_s: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another planner, and its answers to a sample of rows."""

    name: str
    rows: tuple[PeerRow, ...]


def accuracy_page(
    results: Results, peer: Peer | None, causes: Sequence[Cause], records: Iterable[Case]
) -> str:
    """The page as Markdown.

    Parameters
    ----------
    causes
        What we think is wrong with the worst misses.
    records
        Our own records of published cases, whose promises are told.
    """
    held = results.held
    paced = [item for item in held if item.metric != "ttft_s"]
    parts = [_HEAD, "## By figure\n"]
    parts.append(_spreads({_METRICS[name]: [o for o in held if o.metric == name] for name in _METRICS}))
    parts.append(
        "\nA first token waits for a queue that depends on how a load generator starts, which few sources state."
    )
    parts.append("TTFT stands apart above, and the tables below leave it out.")
    for title, group in _GROUPS:
        filed: dict[str, list[Held]] = {}
        for item in paced:
            filed.setdefault(group(item), []).append(item)
        parts += [f"\n## {title}\n", _spreads(dict(sorted(filed.items())))]
    parts += ["\n## Makers no fit has seen\n", _unseen(held)]
    parts += ["\n## Beside simpler predictors, and another planner\n", _beside(held, peer)]
    parts += ["\n## The ten worst misses\n", _worst(results, causes)]
    parts += ["\n## Promises\n", _promises(records), "\n## Without a prediction\n", _refused(results)]
    return "\n".join(parts).rstrip() + "\n"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _spreads(groups: Mapping[str, Sequence[Held]]) -> str:
    return _table(("", *_COLUMNS), (_spread(name, items) for name, items in groups.items() if items))


def _spread(name: str, items: Sequence[Held]) -> list[str]:
    inner = errors_of([(item.measured, item.in_sample) for item in items])
    outer = errors_of([(item.measured, item.out_of_fold) for item in items])
    unseen = errors_of([(item.measured, item.vendor_unseen) for item in items])
    ends = [(item.low, item.measured, item.high) for item in items if item.low and item.high]
    inside = sum(low <= value <= high for low, value, high in ends)
    width = quantile(sorted(high / low for low, _, high in ends), 0.5)
    return [
        name or "unnamed",
        str(len(items)),
        _percent(inner.median if inner else None),
        *(_percent(getattr(outer, key) if outer else None) for key in ("median", "mean", "p90")),
        _percent(outer.bias if outer else None, signed=True),
        _percent(unseen.median if unseen else None),
        _percent(inside / len(ends) if ends else None),
        "" if width is None else f"×{width:.2g}",
    ]


def percent(value: float, *, signed: bool = False) -> str:
    """A share as whole percent.

    Examples
    --------
    >>> percent(-0.123, signed=True)
    '-12 %'
    """
    return f"{100 * value:{'+' if signed else ''}.0f} %"


def _percent(value: float | None, *, signed: bool = False) -> str:
    return "" if value is None else percent(value, signed=signed)


def _unseen(held: Sequence[Held]) -> str:
    rows: list[list[str]] = []
    for maker in sorted({item.case.vendor for item in held}):
        ends = [
            (item.unseen_low, item.measured, item.unseen_high)
            for item in held
            if item.case.vendor == maker and item.unseen_low and item.unseen_high
        ]
        if ends:
            share = sum(low <= value <= high for low, value, high in ends) / len(ends)
            width = quantile(sorted(high / low for low, _, high in ends), 0.5) or 0.0
            rows.append([maker, str(len(ends)), percent(share), f"×{width:.2g}"])
    intro = (
        "A chip of a maker with cases from fewer than three documents takes wider intervals, of makers that were left "
        "out whole.\n"
        "With each maker left out in turn, of fit and intervals alike, its figures (first tokens too) lie within:\n"
    )
    return f"{intro}\n{_table(('maker left out', 'figures', 'in the interval', 'width'), rows)}"


def _beside(held: Sequence[Held], peer: Peer | None) -> str:
    rows = [item for item in held if item.case.document == INFERENCEX and item.bare is not None]
    bent = affine(rows)
    says: dict[tuple[str, str], float | None] = {}
    for row in peer.rows if peer else ():
        says |= {(row.id, "ttft_s"): row.ttft_s, (row.id, "tpot_s"): row.tpot_s}
    predictors: list[Predictor] = [
        ("Dougong, chip left out", lambda item: item.out_of_fold),
        ("bare roofline: every efficiency one, no overhead", lambda item: item.bare),
        ("affine roofline, fitted on other chips", lambda item: bent.get((item.case.id, item.metric))),
    ]
    parts = [
        "Rows of InferenceX with one pool of replicas, each predictor without the row's chip. "
        "The affine roofline is `a × roofline + b`, two numbers from all other chips.\n",
        _comparison(rows, predictors),
    ]
    if peer is not None:
        answered = [item for item in rows if says.get((item.case.id, item.metric)) is not None]
        named: Predictor = (peer.name, lambda item: says.get((item.case.id, item.metric)))
        count = sum(row.tpot_s is not None for row in peer.rows)
        parts += [
            f"\n{peer.name}, asked for {len(peer.rows)} of these rows, drawn by a seed, with the same layout, lengths "
            f"and load, answers {count}; its tables were measured on these very chips. On the rows it answers:\n",
            _comparison(answered, [*predictors, named]),
            "\nWhy it does not answer the others:\n",
            _silences(peer),
        ]
    return "\n".join(parts)


def _comparison(rows: Sequence[Held], predictors: Sequence[Predictor]) -> str:
    lines: list[list[str]] = []
    for metric in ("tpot_s", "ttft_s"):
        mine = [item for item in rows if item.metric == metric]
        for name, predict in predictors:
            found = errors_of([(item.measured, predict(item)) for item in mine])
            lines.append([_METRICS[metric], name, *_sizes(found)])
    return _table(("", "predictor", "figures", "median", "mean", "90th percentile", "bias"), lines)


def _sizes(found: Errors | None) -> list[str]:
    if found is None:
        return ["0", "", "", "", ""]
    sizes = [_percent(value) for value in (found.median, found.mean, found.p90)]
    return [str(found.figures), *sizes, _percent(found.bias, signed=True)]


def _silences(peer: Peer) -> str:
    reasons: dict[str, int] = {}
    for row in peer.rows:
        if row.tpot_s is None:
            why = _OUT_OF_MEMORY if "OOM" in row.reason else _line(row.reason)[:100]
            reasons[why] = reasons.get(why, 0) + 1
    return _table(
        ("rows", "reason"),
        [(str(n), why) for why, n in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))],
    )


def _line(text: str) -> str:
    return text.splitlines()[0].replace("|", "\\|") if text else ""


def _worst(results: Results, causes: Sequence[Cause]) -> str:
    rows = [
        (
            miss.held.case.id,
            _line(results.told[miss.held.case.id]),
            _METRICS[miss.held.metric],
            f"{miss.held.measured:.3g}",
            f"{miss.held.out_of_fold or math.nan:.3g}",
            str(miss.alike),
            _line(miss.why or "not looked into yet"),
        )
        for miss in worst(results, causes)
    ]
    intro = (
        "Figures out of fold, first tokens apart, in seconds or tokens/s per chip.\n"
        f"*Alike* counts the cases of one cause among the {len(results.told)} that miss most.\n"
    )
    titles = ("case", "what", "figure", "measured", "predicted", "alike", "what we think is wrong")
    return f"{intro}\n{_table(titles, rows)}"


def _promises(records: Iterable[Case]) -> str:
    promised = [case for case in records if case.tolerance is not None and case.refused is None]
    missed = [case for case in promised if case.known_miss]
    rows = [
        (case.id, _line(str(case)), percent(case.tolerance or 0.0), _line(case.known_miss)) for case in missed
    ]
    intro = (
        f"{len(promised)} cases carry a promise, the largest error we accept; "
        f"{len(promised) - len(missed)} promises are kept.\n"
        "A test holds them, and asks for the line to go when a miss is mended.\n"
    )
    return f"{intro}\n{_table(('case', 'what', 'promise', 'why it is not kept'), rows)}" if rows else intro


def _refused(results: Results) -> str:
    rows = [
        (
            _line(item.why),
            str(item.cases),
            ", ".join(item.ids) + (", …" if item.cases > len(item.ids) else ""),
        )
        for item in results.refused
    ]
    return _table(("reason", "cases", "ids"), rows)
