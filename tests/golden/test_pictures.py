"""Pictures: the same answer gives the same file; what is drawn is checked on the drawing, not by pixels."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
import samples

from dougong.errors import EnvironmentLacking

pytest.importorskip("matplotlib")

from dougong.report.pictures import canvas, comparison_picture, fit_picture, plan_picture

DRAWN = {
    "plan": lambda path: plan_picture(samples.PLAN, path),
    "comparison": lambda path: comparison_picture([samples.PLAN, samples.INFEASIBLE], path),
    "fit": lambda path: fit_picture(samples.FIT, path),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_answer_gives_the_same_file(name: str, suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    DRAWN[name](first)
    DRAWN[name](second)
    content = first.read_bytes()
    assert content == second.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def words_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    sheets: list[Any] = []
    monkeypatch.setattr("dougong.report.pictures.plan.save", lambda sheet, _: sheets.append(sheet))
    monkeypatch.setattr("dougong.report.pictures.comparison.save", lambda sheet, _: sheets.append(sheet))
    monkeypatch.setattr("dougong.report.pictures.fit.save", lambda sheet, _: sheets.append(sheet))
    DRAWN[name](tmp_path / "x.png")
    texts = [text.get_text() for text in sheets[0].findobj(canvas.plt.text.Text)]
    return "\n".join(texts)


def test_a_plan_says_what_it_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of("plan", tmp_path, monkeypatch)
    for wanted in (
        "Example MoE on example-pod",
        "TPOT limit 50 ms",
        "1.94k tokens/s per chip",
        "experts",
        "KV cache",
        "GB",
    ):
        assert wanted in words


def test_a_comparison_names_who_says_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert " no" in words_of("comparison", tmp_path, monkeypatch).splitlines()


def test_a_matrix_shows_rates_and_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of("fit", tmp_path, monkeypatch)
    for wanted in ("1.94k", "812", "slow", "no", "?", "example-dense", "example-x1"):
        assert wanted in words.splitlines()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if name.startswith("dougong.report.pictures")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(EnvironmentLacking, match="matplotlib") as caught:
        import dougong.report.pictures  # noqa: F401
    assert caught.value.hint == "pip install 'dougong[plot]'"
    assert caught.value.exit_code == 4
