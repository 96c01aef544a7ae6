"""Every route with the ids of another tenant: it finds nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.api.dependencies import tenant
from cocu.api.server import LocalServer
from cocu.client import CocuClient

BODIES: dict[str, dict[str, Any]] = {
    "create_feedback": {"concept": "dog", "action": "block"},
    "create_curation": {},
    "put_labels": {"labels": {"plain": ["dog"]}},
    "create_judgement": {"key": "plain", "concept": "dog", "right": True},
    "set_threshold": {"score": -2.5},
    "create_evaluation": {"labels": {"plain": ["dog"]}},
    "create_projection": {"method": "pca"},
    "create_import": {"url": "https://example.org/photos.tar"},
}
QUERIES = {
    "list_near_concepts": {"text": "dog"},
    "list_gaps": {"dataset": "{dataset}"},
    "get_effect": {"action": "block", "concept": "dog"},
    "get_map_columns": {"projection": "{projection}", "columns": "gain"},
}
HEADERS = {
    "Tus-Resumable": "1.0.0",
    "Upload-Length": "10",
    "Upload-Metadata": "filename cGhvdG9zLnRhcg==",
    "Upload-Offset": "0",
}
TELLS_NOTHING = {"describe_resumable_uploads"}
"""Operations whose answer does not depend on the dataset."""


@pytest.fixture(scope="module")
def ids(client: CocuClient, curated: Curated) -> dict[str, str]:
    """Ids that exist, by their names in paths."""
    evaluation = client.evaluations.create(curated.curation.id, labels={"plain": ["dog"]})
    projection = client.projections.create(curated.dataset.id, method="pca")
    client.projections.wait(curated.dataset.id, projection.id, timeout=60)
    client.labels.put(curated.dataset.id, "samples.tar", labels={"plain": ["dog"]})
    client.judgements.judge(curated.curation.id, "plain", "dog", True)
    return {
        "dataset": curated.dataset.id,
        "projection": projection.id,
        "curation": curated.curation.id,
        "other": curated.curation.id,
        "vocabulary": curated.curation.vocabulary,
        "evaluation": evaluation.id,
        "key": "plain",
        "concept": "dog",
        "name": "samples.tar",
        "resumable": "0" * 32,
    }


@pytest.fixture(scope="module")
def stranger(server: LocalServer) -> Iterator[httpx.Client]:
    """Another tenant of the same platform."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        LocalServer(server.platform, listening) as second,
    ):
        second._app.dependency_overrides[tenant] = lambda: "stranger"
        with httpx.Client(base_url=second.url, timeout=30) as opened:
            yield opened


def requests(http: httpx.Client, ids: dict[str, str]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Every operation with an id in its path: its name, method, path, and what to send."""
    for template, methods in http.get("/openapi.json").json()["paths"].items():
        path = template.format_map({name: quote(value, safe="") for name, value in ids.items()})
        for method, operation in methods.items():
            name, kinds = operation["operationId"], operation.get("requestBody", {}).get("content", {})
            if "{" not in template or name in TELLS_NOTHING:
                continue
            sent: dict[str, Any] = {"headers": dict(HEADERS)}
            if name in QUERIES:
                sent["params"] = {name: value.format_map(ids) for name, value in QUERIES[name].items()}
            if "application/json" in kinds:
                sent["json"] = BODIES[name]
            elif kinds:
                sent["headers"]["Content-Type"] = next(iter(kinds))
                sent["content"] = b"0123456789"
            yield name, method, path, sent


def test_routes__find_nothing_of_another_tenant(
    http: httpx.Client, stranger: httpx.Client, ids: dict[str, str]
) -> None:
    walked = list(requests(http, ids))
    statuses = [
        (name, stranger.request(method, path, **sent).status_code) for name, method, path, sent in walked
    ]
    assert [status for status in statuses if status[1] != 404] == []
    assert len(statuses) >= 30


def test_routes__find_it_for_the_tenant_itself(http: httpx.Client, ids: dict[str, str]) -> None:
    # Otherwise the test above would find nothing because its paths are wrong.
    for name, method, path, sent in requests(http, ids):
        # Of files and notes there are none yet.
        if method == "get" and name not in {"get_export_file", "get_feedback", "stream_events"}:
            assert (name, http.get(path, **sent).status_code) == (name, 200)


def test_events__of_another_tenant_are_not_told(
    http: httpx.Client, stranger: httpx.Client, client: CocuClient
) -> None:
    lines: list[str] = []
    began = threading.Event()

    def listen() -> None:
        try:
            with stranger.stream("GET", "/v1/events", timeout=10.0) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    began.set()
        except httpx.ReadTimeout:
            pass  # nothing more came

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert began.wait(30)
    dataset = client.datasets.create("told to its tenant").id
    http.put(f"/v1/datasets/{dataset}/uploads/a.tar", content=b"nothing that can be read")
    with closing(client.events(after=0)) as own:
        assert next(event for event in own if event.dataset == dataset).data["upload"] == "a.tar"
    thread.join(60)
    assert "event: now" in lines
    assert "event: upload" not in lines
    assert dataset not in "".join(lines)


def test_problems__do_not_tell_another_tenants_ids_from_none(
    stranger: httpx.Client, ids: dict[str, str]
) -> None:
    for name, path in (("dataset", "/v1/datasets/{}"), ("curation", "/v1/curations/{}/archives")):
        theirs, none = ids[name], "0" * len(ids[name])
        answers = [stranger.get(path.format(key)).text.replace(key, "") for key in (theirs, none)]
        assert answers[0] == answers[1]


def test_bodies__and_queries_name_nothing_of_another_tenant(
    stranger: httpx.Client, ids: dict[str, str]
) -> None:
    searched = {"dataset": ids["dataset"], "text": "a dog"}
    assert stranger.post("/v1/search", json=searched).status_code == 404
    assert stranger.post("/v1/search", json={**searched, "curation": ids["curation"]}).status_code == 404
    assert stranger.get("/v1/search", params=searched).status_code == 404
    mined = {"mined": {"dataset": ids["dataset"]}}
    assert stranger.post("/v1/vocabularies", json=mined).status_code in {404, 422}
    assert stranger.get("/v1/curations", params={"dataset": ids["dataset"]}).status_code == 404
    own = stranger.post("/v1/datasets", json={"name": "own"}).json()["id"]
    answer = stranger.post(f"/v1/datasets/{own}/curations", json={"vocabulary": ids["vocabulary"]})
    assert answer.status_code == 422


def test_lists__have_nothing_of_another_tenant(stranger: httpx.Client, ids: dict[str, str]) -> None:
    listed = stranger.get("/v1/datasets").json()["items"] + stranger.get("/v1/curations").json()["items"]
    vocabularies = stranger.get("/v1/vocabularies").json()["items"]
    assert not {item["id"] for item in [*listed, *vocabularies]} & set(ids.values())
