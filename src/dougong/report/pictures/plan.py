"""A plan in one picture: the front it was chosen from, where its time goes, where its memory goes."""

from __future__ import annotations

from pathlib import Path

from dougong.plan.types import Option, Plan
from dougong.report.numbers import percent, quantity
from dougong.report.pictures.canvas import PALE, Axes, colour_of, new_sheet, save, style, title
from dougong.report.pictures.front import draw_front, finish_front, mark_winner, winner_words
from dougong.report.plan import asked
from dougong.report.steps import MEMORY_PARTS

MODES = ("disaggregated", "colocated")
_ROOM_FOR_WORDS = 0.07


def plan_picture(plan: Plan, path: Path) -> None:
    """Draw a plan to ``path``."""
    winner = plan.options[0]
    with style():
        sheet = new_sheet(13.5, 6.6)
        grid = sheet.add_gridspec(2, 2, width_ratios=(1.25, 1.0))
        _front(sheet.add_subplot(grid[:, 0]), plan)
        _time(sheet.add_subplot(grid[0, 1]), winner)
        _memory(sheet.add_subplot(grid[1, 1]), winner)
        title(sheet, f"{plan.model_name} on {winner.system}", asked(plan.request))
        save(sheet, path)


def _front(axes: Axes, plan: Plan) -> None:
    for index, mode in enumerate(MODES):
        of_mode = [option for option in plan.pareto if option.mode == mode]
        if of_mode:
            draw_front(axes, of_mode, colour_of(index), mode)
    winner = plan.options[0]
    mark_winner(axes, winner, colour_of(MODES.index(winner.mode)), winner_words(winner))
    finish_front(axes, [*plan.pareto, winner], plan.request.limit)
    axes.set_title("What can be had (shaded: the range believed in)")
    axes.legend(loc="upper right")


def _time(axes: Axes, winner: Option) -> None:
    steps = [(pool, step) for pool in winner.pools for step in pool.steps]
    groups = list(dict.fromkeys(group for _, step in steps for group in step.groups))
    names = [f"{step.phase}\n{quantity(step.seconds, 's')}" for _, step in steps]
    for index, group in enumerate(groups):
        shares = [step.groups.get(group, (0.0, ""))[0] / (step.seconds or 1.0) for _, step in steps]
        starts = [
            sum(step.groups.get(before, (0.0, ""))[0] for before in groups[:index]) / (step.seconds or 1.0)
            for _, step in steps
        ]
        colour = colour_of(index)
        axes.barh(names, shares, left=starts, color=colour, label=group.replace("_", " "), height=0.55)
        for row, (share, start) in enumerate(zip(shares, starts, strict=True)):
            if share >= _ROOM_FOR_WORDS:
                axes.text(
                    start + share / 2,
                    row,
                    percent(share),
                    ha="center",
                    va="center",
                    color="white",
                    fontsize=9,
                )
    axes.set_title("Time of a step, by operator group")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.invert_yaxis()
    axes.legend(ncols=3, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.13), columnspacing=1.2)


def _memory(axes: Axes, winner: Option) -> None:
    gib = 1e9
    names = [pool.phase for pool in winner.pools]
    used = [0.0] * len(names)
    for index, (attribute, label, _, _) in enumerate(MEMORY_PARTS):
        sizes = [getattr(pool.memory, attribute) / gib for pool in winner.pools]
        axes.barh(names, sizes, left=used, color=colour_of(index), label=label, height=0.55)
        for row, size in enumerate(sizes):
            if size >= _ROOM_FOR_WORDS * winner.pools[row].memory.capacity / gib:
                axes.text(
                    used[row] + size / 2,
                    row,
                    f"{size:.3g}",
                    ha="center",
                    va="center",
                    color="white",
                    fontsize=9,
                )
        used = [before + size for before, size in zip(used, sizes, strict=True)]
    capacities = [pool.memory.capacity / gib for pool in winner.pools]
    free = [max(capacity - taken, 0.0) for capacity, taken in zip(capacities, used, strict=True)]
    axes.barh(names, free, left=used, color=PALE, label="free", height=0.55)
    axes.set_title("Memory of the fullest device")
    axes.set_xlabel("GB")
    axes.set_xlim(0, max([*capacities, *used]))
    axes.invert_yaxis()
    axes.legend(ncols=3, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.3), columnspacing=1.2)
