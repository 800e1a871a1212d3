"""Enumerates layouts, refuses with reasons, ranks. Start at :func:`make_plan` and the records in ``types``."""

from dougong.plan.make import compare, make_plan
from dougong.plan.matrix import fit_matrix
from dougong.plan.types import Fit, Infeasible, Layout, Option, Plan, PlanRequest

__all__ = [
    "Fit",
    "Infeasible",
    "Layout",
    "Option",
    "Plan",
    "PlanRequest",
    "compare",
    "fit_matrix",
    "make_plan",
]
