"""Requests that are refused, and the errors."""

from __future__ import annotations

import httpx
import pytest
from tests.batches.conftest import Curated

from cocu.client import CocuClient


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        ({"rank": 2, "world_size": 2}, {"query.rank"}),
        ({"rank": -1}, {"query.rank"}),
        ({"world_size": 0}, {"query.world_size"}),
        ({"global_batch": 0}, {"query.global_batch"}),
        ({"global_batch": 10_000}, {"query.global_batch"}),
        ({"global_batch": 10**30, "seed": -1}, {"query.global_batch", "query.seed"}),
        ({"start": 99}, {"query.start"}),
        ({"concepts": 0}, {"query.concepts"}),
        ({"concepts": 1000}, {"query.concepts"}),
        ({"sampler": "best"}, {"query.sampler"}),
        ({"temperature": 0}, {"query.temperature"}),
        ({"temperature": "nan"}, {"query.temperature"}),
        ({"temperature": "inf"}, {"query.temperature"}),
        ({"temperature": 1e-300}, {"query.temperature"}),
        ({"prompts": "some"}, {"query.prompts"}),
        ({"template": "without a place"}, {"query.template"}),
        ({"template": ["{} and {}", "{}!"]}, {"query.template"}),
        ({"template": ["{}"] * 501}, {"query.template"}),
        ({"images": "false", "size": 64}, {"query.size"}),
        ({"size": 1}, {"query.size"}),
        ({"format": "csv"}, {"query.format"}),
        ({"epoch": "first"}, {"query.epoch"}),
    ],
)
def test_bad_parameters__are_problems_that_name_the_field(
    curated: Curated, parameters: dict[str, object], fields: set[str]
) -> None:
    answer = httpx.get(curated.url, timeout=60, params=parameters)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["field"] for error in answer.json()["errors"]} == fields


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
@pytest.mark.parametrize("sampler", ["cluster", "uniform", "topk", "caption"])
def test_extreme_temperatures__are_no_error(curated: Curated, temperature: float, sampler: str) -> None:
    parameters = {"temperature": temperature, "sampler": sampler, "include_scores": "true"}
    assert httpx.get(curated.url, timeout=60, params=parameters).status_code == 200


def test_form__is_negotiated(curated: Curated) -> None:
    def form(**headers: str) -> str:
        return httpx.get(curated.url, timeout=60, headers=headers).headers["content-type"]

    assert form(Accept="*/*") == "application/vnd.apache.arrow.stream"
    assert form(Accept="application/x-tar") == "application/x-tar"
    assert form(Accept="application/x-tar;q=0.1, application/x-protobuf;q=0.2") == "application/x-protobuf"
    assert form(Accept="application/vnd.apache.arrow.stream;q=0, */*") == "application/x-protobuf"
    refused = httpx.get(curated.url, timeout=60, headers={"Accept": "text/html"})
    assert refused.status_code == 406
    assert refused.json()["type"] == "urn:cocu:problem:not-acceptable"
    named = httpx.get(curated.url, timeout=60, params={"format": "tar"}, headers={"Accept": "text/html"})
    assert named.headers["content-type"] == "application/x-tar"


def test_only_completed_curations_have_batches(curated: Curated) -> None:
    base = f"{curated.server.url}/v1/curations"
    assert httpx.get(f"{base}/{'0' * 32}/batches").status_code == 404
    with CocuClient(curated.server.url) as client:
        other = client.curations.create(curated.curation.dataset)
        client.curations.cancel(other.id)
        if client.curations.get(other.id).state == "cancelled":
            answer = httpx.get(f"{base}/{other.id}/batches")
            assert answer.status_code == 409
            assert "cancelled" in answer.json()["detail"]


def test_document__names_the_operation_and_its_forms(curated: Curated) -> None:
    document = httpx.get(f"{curated.server.url}/openapi.json").json()
    operation = document["paths"]["/v1/curations/{curation}/batches"]["get"]
    assert operation["operationId"] == "stream_batches"
    assert set(operation["responses"]["200"]["content"]) == {
        "application/vnd.apache.arrow.stream",
        "application/x-protobuf",
        "application/x-tar",
    }
