"""Every route, walked with the ids of another tenant: nothing is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.api.dependencies import tenant
from cocu.api.server import LocalServer
from cocu.client import CocuClient

BODIES: dict[str, dict[str, Any]] = {
    "create_curation": {},
    "create_evaluation": {"labels": {"plain": ["dog"]}},
    "create_import": {"url": "https://example.org/photos.tar"},
}
HEADERS = {
    "Tus-Resumable": "1.0.0",
    "Upload-Length": "10",
    "Upload-Metadata": "filename cGhvdG9zLnRhcg==",
    "Upload-Offset": "0",
}
TELLS_NOTHING = {"describe_resumable_uploads"}
"""What answers the same whatever dataset is named."""


@pytest.fixture(scope="module")
def ids(client: CocuClient, curated: Curated) -> dict[str, str]:
    """Of things that are there, by the names that paths give them."""
    evaluation = client.evaluations.create(curated.curation.id, labels={"plain": ["dog"]})
    return {
        "dataset": curated.dataset.id,
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
    """Every operation whose path names a thing: its name, method, path, and what to send."""
    for template, methods in http.get("/openapi.json").json()["paths"].items():
        path = template.format_map({name: quote(value, safe="") for name, value in ids.items()})
        for method, operation in methods.items():
            name, kinds = operation["operationId"], operation.get("requestBody", {}).get("content", {})
            if "{" not in template or name in TELLS_NOTHING:
                continue
            sent: dict[str, Any] = {"headers": dict(HEADERS)}
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
    found = [
        (name, stranger.request(method, path, **sent).status_code) for name, method, path, sent in walked
    ]
    assert [each for each in found if each[1] != 404] == []
    assert len(found) >= 30


def test_routes__find_it_for_the_tenant_itself(http: httpx.Client, ids: dict[str, str]) -> None:
    # Else the walk above would find nothing because it looks in the wrong places.
    for name, method, path, sent in requests(http, ids):
        if method == "get" and name not in {"get_export_file", "stream_events"}:
            assert (name, http.get(path, **sent).status_code) == (name, 200)


def test_problems__do_not_tell_another_tenants_ids_from_none(
    stranger: httpx.Client, ids: dict[str, str]
) -> None:
    for name, path in (("dataset", "/v1/datasets/{}"), ("curation", "/v1/curations/{}/archives")):
        theirs, none = ids[name], "0" * len(ids[name])
        answers = [stranger.get(path.format(each)).text.replace(each, "") for each in (theirs, none)]
        assert answers[0] == answers[1]


def test_bodies__and_queries_name_nothing_of_another_tenant(
    stranger: httpx.Client, ids: dict[str, str]
) -> None:
    searched = {"dataset": ids["dataset"], "text": "a dog"}
    assert stranger.post("/v1/search", json=searched).status_code == 404
    assert stranger.post("/v1/search", json={**searched, "curation": ids["curation"]}).status_code == 404
    mined = {"mined": {"dataset": ids["dataset"]}}
    assert stranger.post("/v1/vocabularies", json=mined).status_code in {404, 422}
    assert stranger.get("/v1/curations", params={"dataset": ids["dataset"]}).status_code == 404
    own = stranger.post("/v1/datasets", json={"name": "own"}).json()["id"]
    made = stranger.post(f"/v1/datasets/{own}/curations", json={"vocabulary": ids["vocabulary"]})
    assert made.status_code == 422


def test_lists__have_nothing_of_another_tenant(stranger: httpx.Client, ids: dict[str, str]) -> None:
    listed = stranger.get("/v1/datasets").json()["items"] + stranger.get("/v1/curations").json()["items"]
    vocabularies = stranger.get("/v1/vocabularies").json()["items"]
    assert not {each["id"] for each in [*listed, *vocabularies]} & set(ids.values())
