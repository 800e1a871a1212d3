"""Draws answers to .png and .svg files. Everything here needs matplotlib, the extra ``plot``."""

from dougong.report.pictures.backtest import backtest_picture
from dougong.report.pictures.comparison import comparison_picture
from dougong.report.pictures.fit import fit_picture
from dougong.report.pictures.plan import plan_picture

__all__ = ["backtest_picture", "comparison_picture", "fit_picture", "plan_picture"]
