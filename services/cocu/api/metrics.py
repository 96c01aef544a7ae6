"""Metrics for Prometheus: requests and answers, and counts of the catalog.

    GET /metrics   requests, streams; tasks, samples, curations; the work of embedded workers

Labels have few values: templates of routes, but never paths, tenants or names that a user chose.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.api.head_requests import method_of
from cocu.catalog import Catalog, counts
from cocu.catalog.states import CurationState, TaskState
from cocu.errors import UnavailableError
from cocu.pipeline import stages
from cocu.pipeline.metrics import metrics
from cocu.platform import Platform

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STREAMS = {"stream_batches": "batches", "stream_events": "events", "stream_export": "export"}
"""Operations with long answers, and the label of each."""
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COUNTS_SECONDS = 2.0
"""How long counts of the catalog are reused: however many scrapers, it is not queried more often."""


class Metrics:
    """The metrics of one application; `exposition` is what Prometheus reads."""

    def __init__(self, platform: Platform) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cocu_http_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.duration = Histogram(
            "cocu_http_request_duration_seconds",
            "Time until an answer began.",
            ["method", "route"],
            buckets=DURATION_BUCKETS,
            registry=self._registry,
        )
        self.streams = Gauge(
            "cocu_streams_open", "Streams that are being sent.", ["kind"], registry=self._registry
        )
        self.sent = Counter(
            "cocu_stream_sent_bytes", "Bytes that streams have sent.", ["kind"], registry=self._registry
        )
        for kind in STREAMS.values():
            self.streams.labels(kind)
            self.sent.labels(kind)
        self._registry.register(_CatalogCounts(platform.catalog))
        self._work = metrics().registry if platform.settings.embedded else None

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics as text, and its media type: OpenMetrics where the header Accept asks for it."""
        encode, media_type = choose_encoder(accept)
        return encode(self), media_type

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; prometheus_client calls it."""
        yield from self._registry.collect()
        if self._work is not None:
            yield from self._work.collect()


STATIC_FILES = "/static/"


class RequestMetrics:
    """ASGI middleware that counts requests by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(self.metrics, scope, send)
        try:
            await self.app(scope, receive, answer.send)
        finally:
            answer.end()


class _Answer:
    """One answer while it is sent."""

    def __init__(self, metrics: Metrics, scope: Scope, send: Send) -> None:
        self._metrics, self._scope, self._send = metrics, scope, send
        self._begun_at = time.perf_counter()
        self._begun = False
        self._kind: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin(message["status"])
        elif self._kind is not None:
            size = memoryview(message.get("body", b"")).nbytes
            await self._send(message)
            self._metrics.sent.labels(self._kind).inc(size)
            return
        await self._send(message)

    def end(self) -> None:
        if not self._begun:
            # The error becomes a 500 in a middleware outside of this one.
            self._begin(500)
        if self._kind is not None:
            self._metrics.streams.labels(self._kind).dec()

    def _begin(self, status: int) -> None:
        self._begun = True
        method = method_of(self._scope)
        method = method if method in METHODS else "other"
        route = self._scope.get("route")
        template = getattr(route, "path_format", "none")
        if template.startswith(STATIC_FILES):
            template = STATIC_FILES  # what follows is a hash of the files: another with each version
        self._metrics.requests.labels(method, template, status).inc()
        self._metrics.duration.labels(method, template).observe(time.perf_counter() - self._begun_at)
        if status == 200 and (kind := STREAMS.get(getattr(route, "name", ""))):
            self._kind = kind
            self._metrics.streams.labels(kind).inc()


class _CatalogCounts(Collector):
    """Counts of the catalog, queried at a scrape; only `cocu_catalog_up` where it does not answer."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._last: counts.Counts | None = None
        self._fresh_until = 0.0

    def describe(self) -> list[Metric]:
        """Return nothing: registration must not query the catalog."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        snapshot = self._take()
        up = GaugeMetricFamily("cocu_catalog_up", "Whether the catalog answers: 1 or 0.")
        up.add_metric([], float(snapshot is not None))
        yield up
        if snapshot is not None:
            yield from _families(snapshot)

    def _take(self) -> counts.Counts | None:
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                try:
                    self._last = counts.collect(self._catalog)
                except UnavailableError:
                    self._last = None
                self._fresh_until = time.monotonic() + COUNTS_SECONDS
            return self._last


def _families(snapshot: counts.Counts) -> Iterator[Metric]:
    by_state = ["stage", "state"]
    tasks = GaugeMetricFamily("cocu_tasks", "Tasks.", labels=by_state)
    samples = GaugeMetricFamily("cocu_task_samples", "Samples in these tasks.", labels=by_state)
    count_of = {(count.stage, count.state): count for count in snapshot.tasks}
    for stage in stages.STAGES:
        for state in TaskState:
            count = count_of.get((stage, state))
            tasks.add_metric([stage, state], count.tasks if count else 0)
            samples.add_metric([stage, state], count.samples if count else 0)
    waits = GaugeMetricFamily(
        "cocu_task_wait_seconds", "Time that the longest waiting task has been queued.", labels=["stage"]
    )
    repeats = GaugeMetricFamily(
        "cocu_task_repeats", "Attempts at tasks beyond the first of each.", labels=["stage"]
    )
    for stage in stages.STAGES:
        stage_counts = [count for count in snapshot.tasks if count.stage == stage]
        waits.add_metric([stage], max((count.waiting_seconds for count in stage_counts), default=0.0))
        repeats.add_metric([stage], sum(count.repeats for count in stage_counts))
    runs = GaugeMetricFamily("cocu_curations", "Curations.", labels=["state"])
    for run_state in CurationState:
        runs.add_metric([run_state], snapshot.curations.get(run_state, 0))
    accepted = GaugeMetricFamily("cocu_samples", "Samples that datasets have.")
    accepted.add_metric([], snapshot.samples)
    yield from (tasks, samples, waits, repeats, runs, accepted)
