"""Figures for Prometheus: what was asked and answered, and what the catalog holds at that moment.

    GET /metrics   requests, streams; chunks, samples and runs; where this process has workers, their work

Labels are of few values: routes as they are written down, never paths, tenants or names that somebody chose.
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

from cocu.errors import UnavailableError
from cocu.platform import Platform
from cocu.storage.catalog import Catalog, census
from cocu.storage.catalog.states import ChunkState, CurationState, Stage
from cocu.workers.measures import measures

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STREAMS = {"stream_batches": "batches", "stream_events": "events", "stream_export": "export"}
"""Operations whose answers last, by what the label calls them."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CENSUS_SECONDS = 2.0
"""For how long what the catalog said holds: however many ask, it is not asked more often."""


class Metrics:
    """The figures of one application; `exposition` is what Prometheus reads."""

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
            buckets=SECONDS,
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
        self._registry.register(_Census(platform.catalog))
        self._work = measures().registry if platform.settings.embedded else None

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All figures as text, and its media type: OpenMetrics where the header Accept asks for that."""
        encode, media_type = choose_encoder(accept)
        return encode(self), media_type

    def collect(self) -> Iterator[Metric]:
        """Every figure, as prometheus_client reads them."""
        yield from self._registry.collect()
        if self._work is not None:
            yield from self._work.collect()


class Measured:
    """ASGI middleware that counts requests by the route that took them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note its answer."""
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
            # What is raised past here becomes a 500 outside.
            self._begin(500)
        if self._kind is not None:
            self._metrics.streams.labels(self._kind).dec()

    def _begin(self, status: int) -> None:
        self._begun = True
        method = self._scope["method"]
        method = method if method in METHODS else "other"
        route = self._scope.get("route")
        template = getattr(route, "path_format", "none")
        self._metrics.requests.labels(method, template, status).inc()
        self._metrics.duration.labels(method, template).observe(time.perf_counter() - self._begun_at)
        if status == 200 and (kind := STREAMS.get(getattr(route, "name", ""))):
            self._kind = kind
            self._metrics.streams.labels(kind).inc()


class _Census(Collector):
    """What the catalog holds, asked when somebody wants to know; without an answer only that it gave none."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._last: census.Census | None = None
        self._fresh_until = 0.0

    def describe(self) -> list[Metric]:
        """Nothing: registering it must not ask the catalog."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families of figures."""
        taken = self._take()
        answers = GaugeMetricFamily("cocu_catalog_up", "Whether the catalog answers: 1 or 0.")
        answers.add_metric([], float(taken is not None))
        yield answers
        if taken is not None:
            yield from _families(taken)

    def _take(self) -> census.Census | None:
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                try:
                    self._last = census.take(self._catalog)
                except UnavailableError:
                    self._last = None
                self._fresh_until = time.monotonic() + CENSUS_SECONDS
            return self._last


def _families(taken: census.Census) -> Iterator[Metric]:
    by_state = ["stage", "state"]
    chunks = GaugeMetricFamily("cocu_chunks", "Chunks of work.", labels=by_state)
    samples = GaugeMetricFamily("cocu_chunk_samples", "Samples in these chunks.", labels=by_state)
    found = {(one.stage, one.state): one for one in taken.chunks}
    for stage in Stage:
        for state in ChunkState:
            one = found.get((stage, state))
            chunks.add_metric([stage, state], one.chunks if one else 0)
            samples.add_metric([stage, state], one.samples if one else 0)
    waits = GaugeMetricFamily(
        "cocu_chunk_wait_seconds", "Time that the longest waiting chunk has been queued.", labels=["stage"]
    )
    repeats = GaugeMetricFamily(
        "cocu_chunk_repeats", "Attempts at chunks beyond the first of each.", labels=["stage"]
    )
    for stage in Stage:
        of_stage = [one for one in taken.chunks if one.stage == stage]
        waits.add_metric([stage], max((one.waiting_seconds for one in of_stage), default=0.0))
        repeats.add_metric([stage], sum(one.repeats for one in of_stage))
    runs = GaugeMetricFamily("cocu_curations", "Curations.", labels=["state"])
    for run_state in CurationState:
        runs.add_metric([run_state], taken.curations.get(run_state, 0))
    accepted = GaugeMetricFamily("cocu_samples", "Samples that datasets have.")
    accepted.add_metric([], taken.samples)
    yield from (chunks, samples, waits, repeats, runs, accepted)
