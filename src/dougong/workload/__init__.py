"""Request shapes, arrival, traces and objectives. Start at :class:`Workload`."""

from dougong.workload.shapes import Limit, Workload
from dougong.workload.trace import read_trace

__all__ = ["Limit", "Workload", "read_trace"]
