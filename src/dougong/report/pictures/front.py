"""The Pareto front: speed for one user against output of one chip."""

from __future__ import annotations

from collections.abc import Sequence

from dougong.plan.types import Limit, Option
from dougong.report.numbers import compact, quantity
from dougong.report.pictures.canvas import BAD, INK, QUIET, Axes
from dougong.report.plan import pools_words

NO_PACE = "One output token has no time per token to trade"


def tokens_per_s_per_user(option: Option) -> float:
    """Return the speed one user sees [token/s]: one over TPOT."""
    return 1.0 / option.tpot_s.value


def draw_front(axes: Axes, options: Sequence[Option], colour: str, label: str = "") -> None:
    """Draw a front as a line of points with the range of each."""
    ordered = sorted(options, key=tokens_per_s_per_user)
    x = [tokens_per_s_per_user(option) for option in ordered]
    rates = [option.output_tokens_per_s_per_chip for option in ordered]
    y = [rate.value for rate in rates]
    axes.fill_between(
        x, [rate.low for rate in rates], [rate.high for rate in rates], color=colour, alpha=0.13, linewidth=0
    )
    axes.plot(x, y, color=colour, linewidth=1.4, marker="o", markersize=4.5, label=label or None)


def mark_winner(axes: Axes, winner: Option, colour: str, words: str = "", fastest: float = 0.0) -> None:
    """Mark the winner with a star, its range, and what it is; ``fastest`` [token/s] is where the axis ends."""
    x, rate = tokens_per_s_per_user(winner), winner.output_tokens_per_s_per_chip
    axes.errorbar(
        [x],
        [rate.value],
        yerr=[[rate.value - rate.low], [rate.high - rate.value]],
        color=INK,
        capsize=3,
        linewidth=1,
    )
    axes.plot(
        [x],
        [rate.value],
        marker="*",
        markersize=17,
        color=colour,
        markeredgecolor=INK,
        linestyle="none",
        zorder=5,
    )
    if words:
        # Words stand on the side that has room for them.
        right = x < 0.6 * fastest
        axes.annotate(
            words, (x, rate.value), xytext=(12 if right else -12, 10), textcoords="offset points", fontsize=9,
            zorder=6, ha="left" if right else "right",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip


def winner_words(winner: Option) -> str:
    """Return what the label of a winner says."""
    layouts = pools_words(winner.pools).replace(" + ", "\n")
    return f"{layouts}\n{compact(winner.output_tokens_per_s_per_chip.value)} tokens/s per chip"


def fastest_of(options: Sequence[Option], limit: Limit) -> float:
    """Return the speed of the fastest option or of the limit [token/s]: what the axis must hold."""
    edge = 0.0 if limit.tpot_s is None else 1.0 / limit.tpot_s
    return max([edge, *(tokens_per_s_per_user(option) for option in options)]) or 1.0


def finish_front(axes: Axes, options: Sequence[Option], limit: Limit) -> None:
    """Label the axes, and draw the limit on TPOT where there is one."""
    axes.set_xlabel("output tokens/s per user (1 / TPOT)")
    axes.set_ylabel("output tokens/s per chip")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, fastest_of(options, limit) * 1.08)
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    if limit.tpot_s is None:
        return
    edge = 1.0 / limit.tpot_s
    axes.axvspan(0, edge, color=BAD, alpha=0.06, linewidth=0)
    axes.axvline(edge, color=BAD, linewidth=1.2, linestyle="--")
    axes.text(
        edge, 0.985, f" TPOT limit {quantity(limit.tpot_s, 's')}", color=BAD, fontsize=9, va="top", ha="left",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    axes.text(
        edge / 2, 0.02, "too slow", color=QUIET, fontsize=9, ha="center", transform=axes.get_xaxis_transform()
    )


def no_front(axes: Axes) -> None:
    """Say why there is no front."""
    axes.text(0.5, 0.5, NO_PACE, ha="center", color=QUIET, transform=axes.transAxes)
    axes.set_axis_off()
