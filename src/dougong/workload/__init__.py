"""Request shapes, arrival, traces and objectives. Start at :class:`Workload`; traces are read by ``trace``."""

from dougong.workload.shapes import Limit, Workload

__all__ = ["Limit", "Workload"]
