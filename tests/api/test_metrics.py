"""The metrics of the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send
from tests.api.conftest import CAPTIONS, Curated
from tests.metric_values import MetricValues, scraped, scraped_until

from cocu.api import metrics as measuring
from cocu.api.application import create_app
from cocu.api.metrics import Metrics, RequestMetrics
from cocu.api.server import LocalServer
from cocu.dashboard.pages import ROUTES
from cocu.errors import UnavailableError
from cocu.platform import Platform

REQUESTS = "cocu_http_requests_total"


@pytest.fixture
def url(server: LocalServer) -> str:
    return f"{server.url}/metrics"


def values_of(metrics: Metrics) -> MetricValues:
    return MetricValues(metrics.exposition("application/openmetrics-text")[0].decode())


def test_requests__are_counted_by_route_never_by_what_was_asked_for(
    url: str, http: httpx.Client, curated: Curated
) -> None:
    before = scraped(url)
    http.get(f"/v1/datasets/{curated.dataset.id}")
    http.get("/v1/datasets/nothing-has-this-id")
    http.get(f"/v1/datasets/{curated.dataset.id}/samples/folder%2Finside")
    http.get("/nowhere/secret-name")
    http.request("PROPFIND", "/v1/datasets")
    http.post("/v1/datasets", content=b"x" * 5_000_000)
    after = scraped(url)

    def more(**labels: str) -> float:
        return after(REQUESTS, **labels) - before(REQUESTS, **labels)

    assert more(route="/v1/datasets/{dataset}", method="GET", status="200") == 1
    assert more(route="/v1/datasets/{dataset}", method="GET", status="404") == 1
    assert more(route="/v1/datasets/{dataset}/samples/{key}", status="200") == 1
    assert more(route="none", method="GET", status="404") == 1
    assert more(method="other") == 1
    assert more(route="none", method="POST", status="413") == 1
    durations = "cocu_http_request_duration_seconds_count"
    assert after(durations, route="/v1/datasets/{dataset}") - before(
        durations, route="/v1/datasets/{dataset}"
    ) == pytest.approx(2)
    templates = set(httpx.get(url.replace("/metrics", "/openapi.json")).json()["paths"])
    pages = {path.replace(":path}", "}") for path, _, _ in ROUTES} | {"/static/"}
    assert after.values("route") <= templates | pages | {"none", "/metrics", "/docs", "/openapi.json"}
    assert "default" not in {
        label for family in after.families.values() for s in family.samples for label in s.labels.values()
    }


def test_errors__that_nobody_foresaw_count_as_500(server: LocalServer) -> None:
    app = create_app(server.platform)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("nobody foresaw this")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            return await asking.get("/broken")

    assert anyio.run(ask).status_code == 500
    assert values_of(app.state.metrics)(REQUESTS, route="/broken", status="500") == 1


def test_streams__are_open_until_their_last_byte(server: LocalServer) -> None:
    metrics = Metrics(server.platform)
    counts: list[float] = []

    class Route:
        path_format, name = "/v1/curations/{curation}/batches", "stream_batches"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = Route()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        counts.append(values_of(metrics)("cocu_streams_open", kind="batches"))
        await send(
            {"type": "http.response.body", "body": memoryview(b"12345678").cast("Q"), "more_body": True}
        )
        raise ConnectionResetError("the trainer has left")

    async def send(message: Message) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/"}
    with pytest.raises(ConnectionResetError):
        anyio.run(RequestMetrics(app, metrics), scope, receive, send)
    assert counts == [1]
    after = values_of(metrics)
    assert after("cocu_streams_open", kind="batches") == 0
    assert after("cocu_stream_sent_bytes_total", kind="batches") == 8
    assert after(REQUESTS, status="200") == 1


def test_batches__are_counted_in_bytes(url: str, http: httpx.Client, curated: Curated) -> None:
    before = scraped(url)("cocu_stream_sent_bytes_total", kind="batches")
    sent = len(http.get(f"/v1/curations/{curated.curation.id}/batches").content)
    after = scraped_until(url, lambda found: found("cocu_streams_open") == 0)
    assert sent > 0
    assert after("cocu_stream_sent_bytes_total", kind="batches") - before == sent


def test_catalog__tells_of_tasks_samples_and_runs(url: str, curated: Curated) -> None:
    metrics = scraped_until(url, lambda read: read("cocu_curations", state="completed") >= 1)
    assert metrics("cocu_catalog_up") == 1
    assert metrics("cocu_curations", state="completed") >= 1
    for stage in ("ingest", "embed", "neighbours", "curate", "publish"):
        assert metrics("cocu_tasks", stage=stage, state="done") >= 1, stage
    assert metrics("cocu_task_samples", stage="curate", state="done") >= len(CAPTIONS)
    assert metrics("cocu_samples") >= len(CAPTIONS)


def test_work__of_workers_inside_the_api_is_there_too(url: str, curated: Curated) -> None:
    metrics = scraped_until(url, lambda read: read("cocu_task_attempts_total", stage="publish") >= 1)
    assert metrics("cocu_samples_processed_total", stage="embed") >= len(CAPTIONS)
    assert metrics("cocu_task_attempts_total", stage="publish", outcome="done") >= 1
    assert metrics("cocu_sweeps_total", outcome="done") >= 1


def test_a_catalog_that_does_not_answer_is_a_figure_too(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(server.platform)
    assert values_of(metrics)("cocu_catalog_up") == 1

    def away(catalog: object) -> None:
        raise UnavailableError("the catalog does not answer")

    monkeypatch.setattr(measuring.counts, "collect", away)
    assert values_of(metrics)("cocu_catalog_up") == 1, "asked again at once"
    values = values_of(Metrics(server.platform))
    assert values("cocu_catalog_up") == 0
    assert "cocu_tasks" not in values.families
    assert "cocu_http_requests" in values.families


def test_form__is_what_is_asked_for(http: httpx.Client) -> None:
    plain = http.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert plain.headers["cache-control"] == "no-store"
    assert {family.name for family in text_string_to_metric_families(plain.text)} >= {"cocu_tasks"}


def test_documentation__lists_what_there_is(url: str, curated: Curated, repository: Path) -> None:
    page = (repository / "docs/metrics.md").read_text()
    listed = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(cocu_\w+)` \| ([^|]*)\|", page, flags=re.MULTILINE)
    }
    metrics = scraped(url)
    exposed: dict[str, set[str]] = {}
    for family in metrics.families.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert listed == exposed


def test_metrics__of_two_platforms_are_apart(server: LocalServer, platform_apart: Platform) -> None:
    assert values_of(Metrics(platform_apart))("cocu_curations") == 0


@pytest.fixture
def platform_apart(tmp_path: Path) -> Any:
    from cocu.settings import Settings

    with Platform.open(Settings(data_folder=tmp_path)) as opened:
        yield opened
