from __future__ import annotations

import json

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated

from cocu.client import CocuClient, ConflictError, InvalidInputError, NotFoundError
from cocu.curation.parameters import CurationParameters
from cocu.schemas import Parameters


def test_parameters__of_the_wire_are_those_of_the_algorithm() -> None:
    assert tuple(Parameters.model_fields) == CurationParameters.names()


def test_curation__completes_and_says_what_it_came_to(curated: Curated) -> None:
    curation = curated.curation
    assert curation.state == "completed"
    assert curation.samples == len(CAPTIONS)
    assert curation.content_hash
    not_waited_for = {"index", "index_concepts"}
    assert all(stage.done == stage.total for stage in curation.stages if stage.stage not in not_waited_for)
    assert set(curation.parameters) == set(CurationParameters.names())


def test_create__the_same_again_is_the_same_curation(http: httpx.Client, curated: Curated) -> None:
    body = {"vocabulary": curated.curation.vocabulary}
    answer = http.post(f"/v1/datasets/{curated.dataset.id}/curations", json=body)
    assert answer.status_code == 200, "it is completed already"
    assert answer.json()["id"] == curated.curation.id
    located = answer.url.join(answer.headers["location"]).path
    assert located == f"/v1/curations/{curated.curation.id}"


def test_create__something_new_is_accepted_and_located(
    http: httpx.Client, client: CocuClient, curated: Curated
) -> None:
    body = {"vocabulary": curated.curation.vocabulary, "parameters": {"neighbours": 3}}
    answer = http.post(f"/v1/datasets/{curated.dataset.id}/curations", json=body)
    assert answer.status_code == 202
    assert answer.headers["retry-after"].isdigit()
    located = answer.url.join(answer.headers["location"]).path
    assert located == f"/v1/curations/{answer.json()['id']}"
    assert client.curations.wait(answer.json()["id"], timeout=120).parameters["neighbours"] == 3


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"neighbours": 0}, "neighbours"),
        ({"neighbours": 2**63}, "neighbours"),
        ({"neighbours": "many"}, "neighbours"),
        ({"scoring": "best"}, "scoring"),
        ({"max_concepts": 0}, "max_concepts"),
        ({"max_concepts": 2**40}, "max_concepts"),
        ({"max_concepts": True}, "max_concepts"),
        ({"clustering": 1}, "clustering"),
        ({"duplicate_similarity": -1}, "duplicate_similarity"),
        ({"seed": -1}, "seed"),
        ({"seed": 10**400}, "seed"),
        ({"neighbors": 8}, "neighbors"),
    ],
)
def test_create__a_wrong_parameter_is_named(
    http: httpx.Client, curated: Curated, parameters: dict[str, object], field: str
) -> None:
    answer = http.post(f"/v1/datasets/{curated.dataset.id}/curations", json={"parameters": parameters})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == f"body.parameters.{field}"
    assert error["problem"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_create__numbers_that_are_none_are_refused(http: httpx.Client, curated: Curated, number: str) -> None:
    answer = http.post(
        f"/v1/datasets/{curated.dataset.id}/curations",
        content=f'{{"parameters": {{"min_score": {number}}}}}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422


def test_create__an_unknown_vocabulary_or_encoder_is_an_invalid_input(
    client: CocuClient, curated: Curated
) -> None:
    with pytest.raises(InvalidInputError, match=r"body\.vocabulary"):
        client.curations.create(curated.dataset.id, vocabulary="none-such")
    with pytest.raises(InvalidInputError, match=r"body\.encoder"):
        client.curations.create(curated.dataset.id, encoder="none-such")
    with pytest.raises(NotFoundError):
        client.curations.create("none-such")


def test_create__of_an_empty_dataset_is_a_conflict(client: CocuClient) -> None:
    empty = client.datasets.create("empty")
    with pytest.raises(ConflictError, match="no accepted samples"):
        client.curations.create(empty.id)
    client.datasets.delete(empty.id)


def test_events__tell_the_whole_story_and_resume(client: CocuClient, curated: Curated) -> None:
    events = list(client.curations.events(curated.curation.id))
    numbers = [event.id for event in events]
    assert numbers == sorted(set(numbers))
    assert events[-1].data["state"] == "completed"
    middle = numbers[len(numbers) // 2]
    assert [event.id for event in client.curations.events(curated.curation.id, after=middle)] == [
        number for number in numbers if number > middle
    ]


def test_events__are_server_sent_events(http: httpx.Client, curated: Curated) -> None:
    answer = http.get(f"/v1/curations/{curated.curation.id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    first = dict(line.split(": ", 1) for line in answer.text.split("\n\n")[0].splitlines())
    assert json.loads(first["data"])["id"] == int(first["id"])
    assert first["event"] in {"state", "stage", "progress"}


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "9" * 30, "١"])
def test_events__after_what_is_no_event_is_a_bad_request(
    http: httpx.Client, curated: Curated, last: str
) -> None:
    answer = http.get(f"/v1/curations/{curated.curation.id}/events", headers={"Last-Event-ID": last.encode()})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_events__of_a_curation_that_is_not_there_is_a_problem(http: httpx.Client) -> None:
    answer = http.get("/v1/curations/none-such/events")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_cancel__of_a_completed_curation_changes_nothing(http: httpx.Client, curated: Curated) -> None:
    answer = http.delete(f"/v1/curations/{curated.curation.id}")
    assert answer.json()["state"] == "completed"


def test_get__answers_304_to_who_has_it(http: httpx.Client, curated: Curated) -> None:
    first = http.get(f"/v1/curations/{curated.curation.id}")
    again = http.get(f"/v1/curations/{curated.curation.id}", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_list__of_one_dataset(client: CocuClient, curated: Curated) -> None:
    curations = list(client.curations.list(dataset=curated.dataset.id))
    assert curated.curation.id in [curation.id for curation in curations]
    assert {curation.dataset for curation in curations} == {curated.dataset.id}
