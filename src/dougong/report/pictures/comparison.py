"""Several systems in one picture: their fronts in one frame, their winners as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dougong.plan.types import Infeasible, Plan
from dougong.report.numbers import compact
from dougong.report.pictures.canvas import INK, Axes, colour_of, new_sheet, save, style, title
from dougong.report.pictures.front import draw_front, finish_front, mark_winner, no_front
from dougong.report.plan import asked, has_pace


def comparison_picture(answers: Sequence[Plan | Infeasible], path: Path) -> None:
    """Draw the plans among ``answers`` to ``path``; a system that says no is named and has no bar."""
    request = answers[0].request
    with style():
        sheet = new_sheet(13.5, 6.0)
        left, right = sheet.subplots(1, 2, width_ratios=(1.25, 1.0))
        if has_pace(request):
            _fronts(left, answers)
        else:
            no_front(left)
        _bars(right, answers)
        title(sheet, request.model, asked(request))
        save(sheet, path)


def _fronts(axes: Axes, answers: Sequence[Plan | Infeasible]) -> None:
    for index, answer in enumerate(answers):
        if isinstance(answer, Plan):
            draw_front(axes, answer.pareto, colour_of(index), answer.options[0].system)
            mark_winner(axes, answer.options[0], colour_of(index))
    plans = [answer for answer in answers if isinstance(answer, Plan)]
    shown = [option for plan in plans for option in (*plan.pareto, plan.options[0])]
    finish_front(axes, shown, answers[0].request.limit)
    axes.set_title("What can be had (star: chosen; shaded: the range believed in)")
    if shown:
        axes.legend(loc="upper right")


def _bars(axes: Axes, answers: Sequence[Plan | Infeasible]) -> None:
    longest = max(
        (
            answer.options[0].output_tokens_per_s_per_chip.high
            for answer in answers
            if isinstance(answer, Plan)
        ),
        default=0.0,
    )
    for index, answer in enumerate(answers):
        if isinstance(answer, Infeasible):
            axes.barh([answer.request.systems[0]], [0.0])
            axes.text(0.0, index, " no", va="center", color=INK)
            continue
        winner = answer.options[0]
        rate = winner.output_tokens_per_s_per_chip
        error = [[rate.value - rate.low], [rate.high - rate.value]]
        axes.barh([winner.system], [rate.value], xerr=error, capsize=3, color=colour_of(index), height=0.6)
        axes.text(rate.high, index, f"  {compact(rate.value)}", va="center", color=INK)
    axes.set_title("Output tokens/s per chip of the chosen plan")
    axes.set_xlim(0, longest * 1.2 or 1.0)
    axes.invert_yaxis()
