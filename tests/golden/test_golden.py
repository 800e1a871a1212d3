"""Text and JSON of hand-built answers, byte for byte: what a reader sees changes only on purpose."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import backtest_samples
import pytest
import samples
from rich.console import RenderableType

from dougong.report.backtest import draw_backtest
from dougong.report.case import draw_explained
from dougong.report.compare import draw_comparison
from dougong.report.dump import dump_answer, dump_explained, dump_fit, to_json
from dougong.report.fit import draw_fit
from dougong.report.plan import draw_answer
from dougong.report.records import draw_difference, draw_list, draw_sheet
from dougong.report.sheets import sheet_of
from dougong.report.terminal import render, to_ascii

HERE = Path(__file__).parent

OTHER = dataclasses.replace(
    samples.PLAN, options=(dataclasses.replace(samples.colocated(1210.0), system="other-pod"),)
)
NO = dataclasses.replace(
    samples.INFEASIBLE, request=dataclasses.replace(samples.REQUEST, systems=("third-pod",))
)


def _backtest() -> RenderableType:
    told = (backtest_samples.CASES, backtest_samples.OUTCOMES)
    return draw_backtest(*told, by=("vendor", "regime"), most=2)


DRAWN: dict[str, Callable[[], str]] = {
    "plan.txt": lambda: render(draw_answer(samples.PLAN), width=110),
    "plan-narrow.txt": lambda: render(draw_answer(samples.PLAN), width=70),
    "plan-explained.txt": lambda: render(draw_answer(samples.PLAN, explain=True), width=110),
    "plan-ascii.txt": lambda: to_ascii(render(draw_answer(samples.PLAN, explain=True), width=110)),
    "plan-colour.txt": lambda: render(draw_answer(samples.PLAN), width=100, colour=True),
    "plan.json": lambda: to_json(dump_answer(samples.PLAN)),
    "infeasible.txt": lambda: render(draw_answer(samples.INFEASIBLE), width=110),
    "infeasible.json": lambda: to_json(dump_answer(samples.INFEASIBLE)),
    "comparison.txt": lambda: render(draw_comparison([samples.PLAN, OTHER, NO]), width=110),
    "fit.txt": lambda: render(draw_fit(samples.FIT), width=110),
    "fit.json": lambda: to_json(dump_fit(samples.FIT)),
    "chip.txt": lambda: render(draw_sheet(sheet_of("example-x1", samples.CHIP), samples.find), width=110),
    "model.txt": lambda: render(draw_sheet(sheet_of("example-moe", samples.MODEL), samples.find), width=110),
    "chips.txt": lambda: render(
        draw_list([sheet_of(chip.id, chip) for chip in (samples.CHIP, samples.CHIP_2)])
    ),
    "backtest.txt": lambda: render(_backtest(), width=110),
    "backtest-narrow.txt": lambda: render(_backtest(), width=70),
    "case.txt": lambda: render(draw_explained(backtest_samples.EXPLAINED), width=110),
    "case-refused.txt": lambda: render(draw_explained(backtest_samples.REFUSED), width=110),
    "case.json": lambda: to_json(dump_explained(backtest_samples.EXPLAINED)),
    "difference.txt": lambda: render(
        draw_difference(sheet_of("example-x1", samples.CHIP), sheet_of("example-x2", samples.CHIP_2)),
        width=110,
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_as_before(name: str, request: pytest.FixtureRequest) -> None:
    path, drawn = HERE / "files" / name, DRAWN[name]()
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn, encoding="utf-8")
    assert drawn == path.read_text(encoding="utf-8"), (
        f"{name} is drawn anew; if wanted: pytest --update-golden"
    )


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in (HERE / "files").iterdir()} == set(DRAWN)


def test_no_drawing_is_wider_than_asked_or_trails_blanks() -> None:
    for name in (
        "plan.txt",
        "plan-narrow.txt",
        "infeasible.txt",
        "comparison.txt",
        "chip.txt",
        "backtest-narrow.txt",
        "case.txt",
    ):
        width = 70 if "narrow" in name else 110
        for line in DRAWN[name]().splitlines():
            assert len(line) <= width, f"{name}: {line}"
            assert line == line.rstrip(), f"{name}: {line!r}"


def test_json_has_no_nan_and_no_clock() -> None:
    broken = dataclasses.replace(samples.option(1.0), users=float("nan"), requests_per_s=float("inf"))
    plan = dataclasses.replace(samples.PLAN, options=(broken,))
    text = to_json(dump_answer(plan))
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["options"][0]["users"] is None
    assert "elapsed_s" not in text


def test_ascii_is_ascii() -> None:
    to_ascii(DRAWN["plan-explained.txt"]()).encode("ascii")
