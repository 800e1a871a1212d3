"""Request and step records, predicted, simulated or measured, and what is computed from them.

Start at :class:`RequestRecord`; latencies are functions of one record (``latency``), figures of a run are
functions of many (``summary``), files are read and written by ``files``.
"""

from dougong.metrics.files import Run, header_line, read_run, record_line, write_run
from dougong.metrics.latency import e2e_s, itl_s, meets, send_lag_s, tpot_s, ttft_s
from dougong.metrics.quantiles import Estimate, mean, proportion, quantile
from dougong.metrics.records import RequestRecord, StepRecord
from dougong.metrics.summary import Summary, summarise
from dougong.metrics.window import Window, steady_window

__all__ = [
    "Estimate",
    "RequestRecord",
    "Run",
    "StepRecord",
    "Summary",
    "Window",
    "e2e_s",
    "header_line",
    "itl_s",
    "mean",
    "meets",
    "proportion",
    "quantile",
    "read_run",
    "record_line",
    "send_lag_s",
    "steady_window",
    "summarise",
    "tpot_s",
    "ttft_s",
    "write_run",
]
