"""Feedback about concepts over HTTP: kept per concept, undone, and made the next version of a vocabulary."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import VOCABULARY, Curated
from tests.api.test_hostile_requests import TEXT, well_answered

from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.client.transport import segment
from cocu.schemas import Vocabulary

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def things(client: CocuClient, tmp_path: Path) -> Vocabulary:
    """A vocabulary of this test alone."""
    file = tmp_path / f"{tmp_path.name[-60:]}.txt"
    file.write_text(f"{VOCABULARY}hot dog\n# {tmp_path}")
    return client.vocabularies.from_file(file)


def names(client: CocuClient, vocabulary: str) -> list[str]:
    return [concept.name for concept in client.vocabularies.concepts(vocabulary)]


def test_a_note_is_kept_with_who_and_when(client: CocuClient, things: Vocabulary) -> None:
    said = client.feedback.block(things.id, "dogs", note="every cat is one", author="Ana")
    assert (said.concept, said.action, said.into) == ("dog", "block", None)
    assert (said.note, said.author, said.replaced) == ("every cat is one", "Ana", None)
    assert said.created_at >= things.created_at
    assert client.feedback.get(things.id, "dog") == said
    assert list(client.feedback.list(things.id)) == [said]


def test_of_two_people_the_later_wins_and_both_are_told(client: CocuClient, things: Vocabulary) -> None:
    first = client.feedback.block(things.id, "dog", author="Ana")
    second = client.feedback.merge(things.id, "dog", "cat", author="Ben", note="they look alike")
    assert second.replaced is not None
    assert second.replaced.model_dump() == {
        **{name: getattr(first, name) for name in ("action", "into", "note", "author")},
        "created_at": second.replaced.created_at,
    }
    assert abs(second.replaced.created_at - first.created_at).total_seconds() < 0.001
    assert list(client.feedback.list(things.id)) == [second]
    third = client.feedback.allow(things.id, "dog", author="Ana")
    assert third.replaced is not None
    assert (third.replaced.action, third.replaced.into, third.replaced.author) == ("merge", "cat", "Ben")


def test_the_same_note_again_changes_nothing(client: CocuClient, things: Vocabulary) -> None:
    client.feedback.block(things.id, "dog", author="Ana")
    second = client.feedback.allow(things.id, "dog", author="Ben")
    assert client.feedback.allow(things.id, "dog", author="Ben") == second


def test_undo_forgets(client: CocuClient, things: Vocabulary) -> None:
    client.feedback.block(things.id, "dog")
    client.feedback.undo(things.id, "dogs")
    client.feedback.undo(things.id, "dog")
    assert list(client.feedback.list(things.id)) == []
    with pytest.raises(NotFoundError):
        client.feedback.get(things.id, "dog")
    assert client.feedback.block(things.id, "dog").replaced is None


def test_the_list_comes_in_pages(client: CocuClient, things: Vocabulary) -> None:
    for concept in ("tree", "hot dog", "cat"):
        client.feedback.allow(things.id, concept)
    listed = [note.concept for note in client.feedback.list(things.id, page_size=1)]
    assert listed == ["cat", "hot dog", "tree"]


def test_merges_never_go_round(client: CocuClient, things: Vocabulary) -> None:
    client.feedback.merge(things.id, "dog", "cat")
    client.feedback.merge(things.id, "cat", "car")
    with pytest.raises(InvalidInputError, match="'car' → 'dog' → 'cat' → 'car'"):
        client.feedback.merge(things.id, "car", "dog")
    # What a note replaces is not in the way.
    client.feedback.merge(things.id, "dog", "tree")
    client.feedback.merge(things.id, "car", "dog")


def test_merges_at_the_same_time_never_go_round(client: CocuClient, things: Vocabulary) -> None:
    circle = [("dog", "cat"), ("cat", "car"), ("car", "dog")] * 4

    def merge(pair: tuple[str, str]) -> bool:
        try:
            client.feedback.merge(things.id, *pair)
        except InvalidInputError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        stored = dict(zip(circle, pool.map(merge, circle), strict=True))
    assert sum(stored.values()) == 2
    assert len(list(client.feedback.list(things.id))) == 2
    client.vocabularies.next_version(things.id)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"concept": "zeppelin", "action": "block"}, "body.concept"),
        ({"concept": "dog", "action": "merge", "into": "zeppelin"}, "body.into"),
        ({"concept": "dog", "action": "merge", "into": "dogs"}, "body.into"),
        ({"concept": "dog", "action": "merge"}, "body"),
        ({"concept": "dog", "action": "block", "into": "cat"}, "body"),
        ({"concept": "dog", "action": "delete"}, "body.action"),
        ({"concept": "", "action": "block"}, "body.concept"),
        ({"concept": "dog", "action": "block", "note": "two\nlines"}, "body.note"),
        ({"concept": "dog", "action": "block", "author": " "}, "body.author"),
        ({"concept": "dog", "action": "block", "who": "me"}, "body.who"),
    ],
)
def test_what_cannot_be_said(
    http: httpx.Client, things: Vocabulary, body: dict[str, str], field: str
) -> None:
    refused = http.post(f"/v1/vocabularies/{things.id}/feedback", json=body)
    assert refused.status_code == 422
    assert field in [error["field"] for error in refused.json()["errors"]]


def test_statuses_and_location(http: httpx.Client, things: Vocabulary) -> None:
    url = f"/v1/vocabularies/{things.id}/feedback"
    body = {"concept": "hot dog", "action": "block"}
    first = http.post(url, json=body, headers={"Idempotency-Key": f'"{things.id}"'})
    assert first.status_code == 201
    assert http.get(httpx.URL(str(first.url)).join(first.headers["location"])).json() == first.json()
    assert http.post(url, json={**body, "action": "allow"}).status_code == 200
    # The answer of the first request again; what was said since stays.
    again = http.post(url, json=body, headers={"Idempotency-Key": f'"{things.id}"'})
    assert (again.status_code, again.json()) == (201, first.json())
    assert http.get(f"{url}/hot%20dog").json()["action"] == "allow"
    assert http.delete(f"{url}/zeppelin").status_code == 404
    assert http.get("/v1/vocabularies/missing/feedback").status_code == 404


def test_the_next_version_is_what_was_said(client: CocuClient, things: Vocabulary) -> None:
    client.feedback.block(things.id, "tree", note="a")
    client.feedback.merge(things.id, "boat", "car")
    client.feedback.allow(things.id, "cat")
    after = client.vocabularies.next_version(things.id)
    assert (after.name, after.source, after.concepts) == (things.name, "feedback", things.concepts - 2)
    assert names(client, after.id) == ["bench", "car", "cat", "dog", "hot dog"]
    (car,) = (concept for concept in client.vocabularies.concepts(after.id) if concept.name == "car")
    assert set(car.forms) >= {"car", "cars", "boat", "boats"}
    # This version and its feedback stay as they were.
    assert "tree" in names(client, things.id)
    assert len(list(client.feedback.list(things.id))) == 3
    assert list(client.feedback.list(after.id)) == []


def test_the_same_feedback_gives_the_same_vocabulary(client: CocuClient, things: Vocabulary) -> None:
    assert client.vocabularies.next_version(things.id).id == things.id
    client.feedback.block(things.id, "tree", author="Ana")
    first = client.vocabularies.next_version(things.id)
    client.feedback.block(things.id, "tree", author="Ben", note="for another reason")
    client.feedback.allow(things.id, "cat")
    assert client.vocabularies.next_version(things.id) == first
    client.feedback.undo(things.id, "tree")
    assert client.vocabularies.next_version(things.id).id == things.id


def test_versions_of_versions(client: CocuClient, things: Vocabulary) -> None:
    current, versions = things, [things.version]
    for concept in ("tree", "boat", "car"):
        client.feedback.block(current.id, concept)
        current = client.vocabularies.next_version(current.id)
        versions.append(current.version)
    assert names(client, current.id) == ["bench", "cat", "dog", "hot dog"]
    assert len(set(versions)) == 4
    assert max(map(len, versions)) < 60


def test_a_vocabulary_keeps_a_concept(client: CocuClient, things: Vocabulary) -> None:
    for concept in names(client, things.id):
        client.feedback.block(things.id, concept)
    with pytest.raises(InvalidInputError, match="no concepts"):
        client.vocabularies.next_version(things.id)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"feedback": True, "text": "dog"}, 422),
        ({"from": "missing", "feedback": True}, 404),
        ({"from": "x\0"}, 422),
        ({"from": "a", "text": "dog"}, 422),
        ({"from": "a" * 201}, 422),
        ({"from": ""}, 404),
    ],
)
def test_next_versions_that_cannot_be_made(http: httpx.Client, body: dict[str, object], status: int) -> None:
    refused = http.post("/v1/vocabularies", json=body)
    assert refused.status_code == status, refused.text


def test_another_name_and_less_of_another_vocabulary(http: httpx.Client, things: Vocabulary) -> None:
    renamed = http.post("/v1/vocabularies", json={"from": things.id, "name": "mine"}).json()
    assert (renamed["name"], renamed["concepts"]) == ("mine", things.concepts)
    less = http.post("/v1/vocabularies", json={"from": things.name, "without_phrases": ["dogs"]}).json()
    assert less["concepts"] == things.concepts - 1


def test_a_curation_with_the_next_version_has_no_blocked_concept(
    client: CocuClient, curated: Curated
) -> None:
    before = curated.curation
    client.feedback.block(before.vocabulary, "tree")
    client.feedback.merge(before.vocabulary, "boat", "car")
    after = client.vocabularies.next_version(before.vocabulary)
    client.feedback.undo(before.vocabulary, "tree")
    client.feedback.undo(before.vocabulary, "boat")
    again = client.curations.create(curated.dataset.id, vocabulary=after.id)
    client.curations.wait(again.id, timeout=120)
    archives = {archive.key: archive for archive in client.archives.list(again.id)}
    concepts = {concept.concept for archive in archives.values() for concept in archive.concepts}
    assert concepts == {"bench", "car", "cat", "dog"}
    boat = archives["été-日本"]  # “a boat and a dog”
    assert {concept.concept for concept in boat.concepts if not concept.added} == {"car", "dog"}


@QUICK
@given(
    concept=TEXT,
    into=TEXT | st.none(),
    action=st.sampled_from(["block", "merge", "allow"]) | TEXT,
    note=TEXT | st.none(),
)
def test_requests_of_any_values(
    http: httpx.Client, curated: Curated, concept: str, into: str | None, action: str, note: str | None
) -> None:
    url = f"/v1/vocabularies/{curated.curation.vocabulary}/feedback"
    body = {"concept": concept, "into": into, "action": action, "note": note}
    with suppress(UnicodeEncodeError):
        assert well_answered(http.post(url, json=body))
    assert well_answered(http.get(f"{url}/{segment(concept)}"))
    assert well_answered(http.get(url, params={"cursor": concept}))
