"""Draws answers to .png and .svg files. Everything here needs matplotlib, the extra ``plot``."""

from dougong.report.pictures.comparison import comparison_picture
from dougong.report.pictures.fit import fit_picture
from dougong.report.pictures.plan import plan_picture

__all__ = ["comparison_picture", "fit_picture", "plan_picture"]
