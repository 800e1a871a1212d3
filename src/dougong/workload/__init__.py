"""Request shapes, arrival, traces and objectives. Start at :class:`Workload`."""

from dougong.workload.shapes import Limit, Workload

__all__ = ["Limit", "Workload"]
