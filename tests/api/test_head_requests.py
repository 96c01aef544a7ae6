"""HEAD for every path with GET; OPTIONS and Allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.errors import UnavailableError

BESIDE = ["/", "/docs", "/openapi.json"]
DIFFERENT = {"date", "transfer-encoding"}
"""Headers in which HEAD may differ from GET (RFC 9110, 9.3.2): the time, and the transfer of the body."""


ENDLESS = "/v1/events"
"""A stream that never ends: its GET cannot be read to the end."""


def paths(http: httpx.Client, curated: Curated, evaluation: str, projection: str) -> Iterator[str]:
    """The paths of all GET operations, with ids that exist."""
    ids = {
        "dataset": curated.dataset.id,
        "curation": curated.curation.id,
        "other": curated.curation.id,
        "vocabulary": curated.curation.vocabulary,
        "evaluation": evaluation,
        "projection": projection,
        "key": "folder%2Finside",
        "concept": "dog",
    }
    for path, methods in http.get("/openapi.json").json()["paths"].items():
        if "get" in methods and path != ENDLESS:
            name = "00000.tar" if "/export/" in path else "samples.tar"
            yield path.format(**ids, name=name)
    yield from BESIDE


def test_head__says_what_get_says_and_no_more(
    http: httpx.Client, curated: Curated, client: CocuClient
) -> None:
    evaluation = client.evaluations.create(curated.curation.id, labels={"plain": ["dog"]}).id
    checked = 0
    projection = client.projections.create(curated.dataset.id, method="pca").id
    client.projections.wait(curated.dataset.id, projection, timeout=60)
    client.labels.put(curated.dataset.id, "samples.tar", labels={"plain": ["dog"]})
    for path in paths(http, curated, evaluation, projection):
        head, get = http.head(path), http.get(path)
        assert (path, head.status_code) == (path, get.status_code)
        assert head.content == b""
        kept = [
            {name: value for name, value in answer.headers.items() if name not in DIFFERENT}
            for answer in (head, get)
        ]
        assert (path, kept[0]) == (path, kept[1])
        checked += 1
    assert checked > 30


@pytest.mark.parametrize(
    "path", ["/v1/datasets/none", "/v1/nothing", "/v1/datasets?limit=0", "/v1/curations/none/export"]
)
def test_head__of_what_is_refused_has_the_status_of_get(http: httpx.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == "application/problem+json"
    assert head.headers["content-length"] == str(len(get.content))
    assert head.content == b""


def test_head__of_an_etag_that_is_held_is_304(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/datasets/{curated.dataset.id}/samples/plain/image"
    etag = http.head(path).headers["etag"]
    assert http.head(path, headers={"If-None-Match": etag}).status_code == 304


def test_head__is_counted_as_what_it_is(http: httpx.Client) -> None:
    http.head("/v1/encoders")
    text = http.get("/metrics").text
    assert 'cocu_http_requests_total{method="HEAD",route="/v1/encoders",status="200"}' in text


def test_head__starts_no_stream(
    http: httpx.Client, curated: Curated, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise UnavailableError("the objects do not answer")

    base = f"/v1/curations/{curated.curation.id}"
    paths = [f"{base}/export?format=webdataset", f"{base}/batches?format=tar", f"{base}/events"]
    heads = [http.head(path) for path in paths]
    monkeypatch.setattr(server.platform.objects, "read_into", gone)
    monkeypatch.setattr(server.platform.objects, "read_all_into", gone)
    assert [http.head(path).headers["content-type"] for path in paths] == [
        head.headers["content-type"] for head in heads
    ]
    assert [http.get(path).status_code for path in paths[:2]] == [503, 503]
    assert [head.headers["accept-ranges"] for head in heads] == ["none"] * 3


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/datasets", "GET, HEAD, POST, OPTIONS"),
        ("/v1/datasets/none", "GET, HEAD, DELETE, OPTIONS"),
        ("/v1/datasets/none/uploads", "GET, HEAD, POST, OPTIONS"),
        ("/v1/datasets/none/uploads/a.tar", "GET, HEAD, PUT, OPTIONS"),
        ("/v1/datasets/none/uploads/resumable/none", "HEAD, PATCH, DELETE, OPTIONS"),
        ("/v1/search", "GET, HEAD, POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ],
)
def test_options__lists_every_method(http: httpx.Client, path: str, allowed: str) -> None:
    answer = http.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
    assert http.options("/nothing/here").status_code == 404
