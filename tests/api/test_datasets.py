from __future__ import annotations

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated

from cocu.client import CocuClient, ConflictError, NotFoundError


def test_dataset__is_created_listed_and_deleted(client: CocuClient, http: httpx.Client) -> None:
    made = client.datasets.create("  a name, with ünicode ")
    assert made.id in [each.id for each in client.datasets.list()]
    assert client.datasets.get(made.id) == made
    client.datasets.delete(made.id)
    with pytest.raises(NotFoundError):
        client.datasets.get(made.id)
    with pytest.raises(NotFoundError):
        client.datasets.delete(made.id)


def test_dataset__a_name_that_is_taken_is_a_conflict(client: CocuClient) -> None:
    made = client.datasets.create("taken")
    with pytest.raises(ConflictError, match="taken"):
        client.datasets.create("taken")
    client.datasets.delete(made.id)
    client.datasets.delete(client.datasets.create("taken").id)


def test_create__answers_where_it_is(http: httpx.Client, client: CocuClient) -> None:
    answer = http.post("/v1/datasets", json={"name": "located"})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/datasets/{answer.json()['id']}"
    client.datasets.delete(answer.json()["id"])


def test_list__goes_through_every_dataset_in_pages(client: CocuClient, http: httpx.Client) -> None:
    made = {client.datasets.create(f"page {number}").id for number in range(5)}
    seen: list[str] = []
    cursor = None
    while True:
        page = http.get("/v1/datasets", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 2
        seen += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert made <= set(seen)
    for dataset in made:
        client.datasets.delete(dataset)


def test_dataset__counts_its_samples(client: CocuClient, curated: Curated) -> None:
    assert client.datasets.get(curated.dataset.id).samples == len(CAPTIONS)
    report = client.datasets.report(curated.dataset.id)
    assert (report.complete, report.accepted, report.skipped) == (True, len(CAPTIONS), 0)
