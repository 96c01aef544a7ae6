"""Unknown query parameters are refused by name, for every operation."""

from __future__ import annotations

import httpx
import pytest
from tests.api.conftest import Curated

KNOWN = {
    "export?max_concept=5": ("max_concept", "max_concepts"),
    "export/manifest?image=false": ("image", "images"),
    "export/files/00000.tar?maxconcepts=1": ("maxconcepts", "max_concepts"),
    "archives?minscore=-1": ("minscore", "min_score"),
    "concepts?sort=archives&Limit=3": ("Limit", "limit"),
    "batches?batch=8&format=tar": ("batch", "global_batch"),
    "evaluations?curser=x": ("curser", "cursor"),
}


@pytest.mark.parametrize("path", KNOWN)
def test_unknown__are_named_with_what_they_may_mean(http: httpx.Client, curated: Curated, path: str) -> None:
    answer = http.get(f"/v1/curations/{curated.curation.id}/{path}")
    assert answer.status_code == 422
    problems = {error["field"]: error["problem"] for error in answer.json()["errors"]}
    name, meant = KNOWN[path]
    assert meant in problems[f"query.{name}"]


def test_unknown__are_refused_by_every_operation(http: httpx.Client, curated: Curated) -> None:
    document = http.get("/openapi.json").json()
    operations = 0
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            assert "422" in operation["responses"], (method, path)
            names = ("dataset", "curation", "other", "vocabulary", "evaluation", "projection")
            ids = dict.fromkeys(names, "none")
            url_path = path.format(**ids, key="k", concept="c", name="n.tar", resumable="none")
            answer = http.request(
                method, url_path, params={"unheard_of": "1"}, headers={"Tus-Resumable": "1.0.0"}
            )
            assert (method, path, answer.status_code) == (method, path, 422)
            if method != "head":
                assert [error["field"] for error in answer.json()["errors"]] == ["query.unheard_of"]
            operations += 1
    assert operations > 40


def test_unknown__create_and_change_nothing(http: httpx.Client) -> None:
    assert http.post("/v1/datasets?nmae=x", json={"name": "never made"}).status_code == 422
    names = [item["name"] for item in http.get("/v1/datasets", params={"limit": 1000}).json()["items"]]
    assert "never made" not in names


def test_given_twice__is_refused_where_one_counts(http: httpx.Client, curated: Curated) -> None:
    answer = http.get("/v1/datasets?limit=1&limit=2")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "query.limit", "problem": "is given 2 times; give it once"}]
    several = (
        f"/v1/curations/{curated.curation.id}/batches?template=a%20%7B%7D&template=the%20%7B%7D&format=tar"
    )
    assert http.get(several).status_code == 200


@pytest.mark.parametrize("path", ["/healthz?probe=1", "/readyz?x", "/metrics?name=up", "/docs?theme=dark"])
def test_beside_the_api__they_are_left_alone(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 200


def test_empty_queries__are_none(http: httpx.Client) -> None:
    assert http.get("/v1/datasets?").status_code == 200
    assert http.get("/v1/datasets?&").status_code == 200
