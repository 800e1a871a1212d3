"""What Prometheus reads at ``/metrics``; names and units are those of the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dougong.gateway.pool import Member, Pool
from dougong.metrics import RequestRecord, e2e_s, tpot_s, ttft_s

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_TTFT_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 180.0)
_TPOT_S = (0.001, 0.002, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0)
_E2E_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0)


class Exposition:
    """Counters and histograms of finished requests, and the state of the pool at the time of reading.

    Parameters
    ----------
    lost
        Records and log lines that could not be written, asked at reading.
    """

    def __init__(self, pool: Pool, lost: Callable[[], dict[str, int]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(pool, lost))
        self._requests = self._counter(
            "requests", "Requests that ended", "model", "replica", "status", "http_status"
        )
        self._prompt = self._counter("prompt_tokens", "Prompt tokens as engines count them", "model", "key")
        self._output = self._counter("output_tokens", "Output tokens as engines count them", "model", "key")
        self._cached = self._counter("cached_prompt_tokens", "Prompt tokens found in a cache", "model", "key")
        self._retries = self._counter("retries", "Requests that went on to another replica", "replica")
        self._ttft = self._histogram("ttft", "Time to first token of streams", _TTFT_S)
        self._tpot = self._histogram("tpot", "Time per output token of streams", _TPOT_S)
        self._e2e = self._histogram("e2e", "Time of answered requests from arrival to end", _E2E_S)
        self._children: dict[tuple[str, str], tuple[Any, Any, Any]] = {}

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"dougong_{name}", words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
        labels = ("model", "replica")
        return Histogram(f"dougong_{name}_seconds", words, labels, registry=self._registry, buckets=buckets)

    def finished(self, record: RequestRecord, *, model: str, key: str, http_status: int) -> None:
        """Count a request that ended."""
        self._requests.labels(model, record.replica, record.status, str(http_status)).inc()
        for counter, tokens in (
            (self._prompt, record.prompt_tokens),
            (self._output, record.output_tokens),
            (self._cached, record.cached_prompt_tokens),
        ):
            if tokens:
                counter.labels(model, key).inc(tokens)
        if record.status != "ok":
            return
        at = (model, record.replica)
        if at not in self._children:
            self._children[at] = (self._ttft.labels(*at), self._tpot.labels(*at), self._e2e.labels(*at))
        for child, value in zip(
            self._children[at], (ttft_s(record), tpot_s(record), e2e_s(record)), strict=True
        ):
            if value is not None:
                child.observe(value)

    def retried(self, member: Member) -> None:
        """Count a request that goes on to a replica after another one failed."""
        self._retries.labels(member.name).inc()

    def text(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)


class _State(Collector):
    def __init__(self, pool: Pool, lost: Callable[[], dict[str, int]]) -> None:
        self._pool, self._lost = pool, lost

    def collect(self) -> Iterator[Any]:
        """Read the pool."""
        waiting = GaugeMetricFamily("dougong_requests_waiting", "Requests that wait for a replica")
        waiting.add_metric([], self._pool.waiting)
        yield waiting
        gauges: tuple[tuple[str, str, Callable[[Member], float]], ...] = (
            ("up", "Whether the replica is well", lambda member: member.healthy),
            ("requests_running", "Requests on the replica", lambda member: member.in_flight),
            ("ejections", "Times it was left out for its failures", lambda member: member.ejected),
        )
        for name, words, value in gauges:
            family = GaugeMetricFamily(f"dougong_replica_{name}", words, labels=["replica", "chip"])
            for member in self._pool.members:
                family.add_metric([member.name, member.replica.chip], value(member))
            yield family
        for name, count in self._lost().items():
            lost = CounterMetricFamily(
                f"dougong_{name}_lost", f"{name.capitalize()} that could not be written"
            )
            lost.add_metric([], count)
            yield lost
