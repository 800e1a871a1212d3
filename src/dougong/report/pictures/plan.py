"""A plan in one picture: the front it was chosen from, where its time goes, where its memory goes."""

from __future__ import annotations

from pathlib import Path

from dougong.plan.types import Option, Plan
from dougong.report.numbers import percent, quantity
from dougong.report.pictures.canvas import PALE, Axes, colour_of, new_sheet, save, style, title
from dougong.report.pictures.front import (
    draw_front,
    fastest_of,
    finish_front,
    mark_winner,
    no_front,
    winner_words,
)
from dougong.report.plan import asked, has_pace
from dougong.report.steps import MEMORY_PARTS

MODES = ("disaggregated", "colocated")
_ROOM_FOR_WORDS = 0.07
_GROUPS = 7  # as many as there are colours to tell apart


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
    if not has_pace(plan.request):
        no_front(axes)
        return
    for index, mode in enumerate(MODES):
        of_mode = [option for option in plan.pareto if option.mode == mode]
        if of_mode:
            draw_front(axes, of_mode, colour_of(index), mode)
    winner, limit = plan.options[0], plan.request.limit
    shown = [*plan.pareto, winner]
    colour = colour_of(MODES.index(winner.mode))
    mark_winner(axes, winner, colour, winner_words(winner), fastest_of(shown, limit))
    finish_front(axes, shown, limit)
    axes.set_title("What can be had (shaded: the range believed in)")
    # Above the frame, where no range and no limit can run through it.
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.995), ncols=len(MODES), borderaxespad=0.2)


def _time(axes: Axes, winner: Option) -> None:
    steps = [step for pool in winner.pools for step in pool.steps]
    # What overlap hides is a negative group; bars show the work, hidden or not.
    spent = [{group: max(seconds, 0.0) for group, (seconds, _) in step.groups.items()} for step in steps]
    shares = [{group: value / (sum(work.values()) or 1.0) for group, value in work.items()} for work in spent]
    names = [f"{step.phase}\n{quantity(step.seconds, 's')}" for step in steps]
    starts = [0.0] * len(steps)
    for index, group in enumerate(_largest(shares)):
        widths = [share.get(group, 0.0) for share in shares]
        axes.barh(
            names, widths, left=starts, color=colour_of(index), label=group.replace("_", " "), height=0.55
        )
        for row, (width, start) in enumerate(zip(widths, starts, strict=True)):
            if width >= _ROOM_FOR_WORDS:
                words = percent(width)
                axes.text(start + width / 2, row, words, ha="center", va="center", color="white", fontsize=9)
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    axes.barh(
        names, [1.0 - start for start in starts], left=starts, color=PALE, label="the rest", height=0.55
    )
    axes.set_title("Work of a step, by operator group")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.invert_yaxis()
    axes.legend(ncols=4, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.13), columnspacing=1.2)


def _largest(shares: list[dict[str, float]]) -> list[str]:
    largest = {group: max(share.get(group, 0.0) for share in shares) for share in shares for group in share}
    return sorted(largest, key=lambda group: -largest[group])[:_GROUPS]


def _memory(axes: Axes, winner: Option) -> None:
    gib = 1e9
    names = [pool.phase for pool in winner.pools]
    used = [0.0] * len(names)
    for index, (attribute, label, _, _) in enumerate(MEMORY_PARTS):
        sizes = [getattr(pool.memory, attribute) / gib for pool in winner.pools]
        axes.barh(names, sizes, left=used, color=colour_of(index), label=label, height=0.55)
        for row, size in enumerate(sizes):
            if size >= _ROOM_FOR_WORDS * winner.pools[row].memory.capacity_bytes / gib:
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
    capacities = [pool.memory.capacity_bytes / gib for pool in winner.pools]
    free = [max(capacity - taken, 0.0) for capacity, taken in zip(capacities, used, strict=True)]
    axes.barh(names, free, left=used, color=PALE, label="free", height=0.55)
    axes.set_title("Memory of the fullest device")
    axes.set_xlabel("GB")
    axes.set_xlim(0, max([*capacities, *used]))
    axes.invert_yaxis()
    axes.legend(ncols=3, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.3), columnspacing=1.2)
