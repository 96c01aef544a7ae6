from __future__ import annotations

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated

from cocu.client import CocuClient, ConflictError, NotFoundError


def test_dataset__is_created_listed_and_deleted(client: CocuClient, http: httpx.Client) -> None:
    made = client.datasets.create("  a name, with ünicode ")
    assert made.id in [dataset.id for dataset in client.datasets.list()]
    assert client.datasets.get(made.id) == made
    client.datasets.delete(made.id)
    with pytest.raises(NotFoundError):
        client.datasets.get(made.id)
    with pytest.raises(NotFoundError):
        client.datasets.delete(made.id)


def test_dataset__a_name_that_is_taken_is_a_conflict(client: CocuClient) -> None:
    dataset = client.datasets.create("taken")
    with pytest.raises(ConflictError, match="taken"):
        client.datasets.create("taken")
    client.datasets.delete(dataset.id)
    client.datasets.delete(client.datasets.create("taken").id)


def test_create__answers_where_it_is(http: httpx.Client, client: CocuClient) -> None:
    answer = http.post("/v1/datasets", json={"name": "located"})
    assert answer.status_code == 201
    located = answer.url.join(answer.headers["location"]).path
    assert located == f"/v1/datasets/{answer.json()['id']}"
    client.datasets.delete(answer.json()["id"])


def test_list__goes_through_every_dataset_in_pages(client: CocuClient, http: httpx.Client) -> None:
    created_ids = {client.datasets.create(f"page {number}").id for number in range(5)}
    listed_ids: list[str] = []
    cursor = None
    while True:
        page = http.get("/v1/datasets", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 2
        listed_ids += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(listed_ids) == len(set(listed_ids))
    assert created_ids <= set(listed_ids)
    for dataset in created_ids:
        client.datasets.delete(dataset)


def test_dataset__counts_its_samples(client: CocuClient, curated: Curated) -> None:
    assert client.datasets.get(curated.dataset.id).samples == len(CAPTIONS)
    report = client.datasets.report(curated.dataset.id)
    assert (report.complete, report.accepted, report.skipped) == (True, len(CAPTIONS), 0)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\0b", "U+0000"),
        ("a\r\nb", "U+000D"),
        ("bell\x07", "U+0007"),
        ("a\x9bb", "U+009B"),
        ("exe.\u202egpj", "right-to-left override"),
        ("a\u2066b", "left-to-right isolate"),
        ("two\u2028lines", "line separator"),
        ("   ", "white space"),
    ],
)
def test_names__are_one_line_in_one_direction(http: httpx.Client, name: str, problem: str) -> None:
    answers = [
        http.post("/v1/datasets", json={"name": name}),
        http.post("/v1/vocabularies", json={"name": name, "text": "dog"}),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "body.name"
        assert problem in answer.json()["errors"][0]["problem"]


def test_names__of_every_script_are_taken_and_composed(client: CocuClient) -> None:
    dataset = client.datasets.create("cafe\u0301 – 狗 🐕 שלום")
    assert dataset.name == "café – 狗 🐕 שלום"
    with pytest.raises(ConflictError):
        client.datasets.create("café – 狗 🐕 שלום")
    client.datasets.delete(dataset.id)


def test_options__columns_have_no_control_characters(client: CocuClient, http: httpx.Client) -> None:
    dataset = client.datasets.create("odd columns")
    answer = http.put(f"/v1/datasets/{dataset.id}/uploads/a.csv", params={"url_column": "a\0b"}, content=b"x")
    assert answer.status_code == 422
    answer = http.get(f"/v1/datasets/{dataset.id}/rejections", params={"reason": "a\0b"})
    assert answer.status_code == 422
    client.datasets.delete(dataset.id)
