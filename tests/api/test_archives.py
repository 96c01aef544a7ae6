from __future__ import annotations

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated

from cocu.client import CocuClient, ConflictError, InvalidInputError, NotFoundError


@pytest.mark.parametrize("key", CAPTIONS)
def test_archive__is_found_by_any_key(client: CocuClient, curated: Curated, key: str) -> None:
    archive = client.archives.get(curated.curation.id, key)
    assert archive.key == key
    assert archive.caption == CAPTIONS[key]


def test_archive__says_where_each_concept_came_from(client: CocuClient, curated: Curated) -> None:
    archive = client.archives.get(curated.curation.id, "plain")
    by_name = {concept.concept: concept for concept in archive.concepts}
    assert not by_name["dog"].added
    assert by_name["dog"].origins[0].kind == "own_caption"
    assert archive.added, "neighbours name things that this caption does not"
    for concept in archive.concepts:
        for origin in concept.origins:
            assert concept.concept in origin.caption
            assert CAPTIONS[origin.key] == origin.caption
            if origin.kind == "neighbour":
                assert origin.key != "plain"
    assert [concept.score for concept in archive.concepts] == sorted(
        (concept.score for concept in archive.concepts), reverse=True
    )


def test_list__goes_through_every_sample_in_pages(client: CocuClient, curated: Curated) -> None:
    keys = [archive.key for archive in client.archives.list(curated.curation.id, page_size=3)]
    assert sorted(keys) == sorted(CAPTIONS)


def test_list__filters_by_concept_in_any_form(client: CocuClient, curated: Curated) -> None:
    for form in ("boat", "boats"):
        archives = list(client.archives.list(curated.curation.id, concept=form))
        assert archives
        assert all("boat" in [concept.concept for concept in archive.concepts] for archive in archives)


def test_list__one_concept_must_satisfy_all_filters(client: CocuClient, curated: Curated) -> None:
    own = {archive.key for archive in client.archives.list(curated.curation.id, concept="dog", added=False)}
    added = {archive.key for archive in client.archives.list(curated.curation.id, concept="dog", added=True)}
    assert own == {"plain", "été-日本", "folder/image"}
    assert not own & added
    every = list(client.archives.list(curated.curation.id))
    scores = sorted({concept.score for archive in every for concept in archive.concepts})
    for bound in (scores[0], scores[len(scores) // 2], scores[-1], scores[-1] + 1):
        archives = {archive.key for archive in client.archives.list(curated.curation.id, min_score=bound)}
        expected = {
            archive.key for archive in every if any(concept.score >= bound for concept in archive.concepts)
        }
        assert archives == expected


def test_list__an_unknown_concept_is_an_invalid_input(client: CocuClient, curated: Curated) -> None:
    with pytest.raises(InvalidInputError, match=r"query\.concept"):
        list(client.archives.list(curated.curation.id, concept="zeppelin"))


def test_archive__is_immutable_for_caches(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/curations/{curated.curation.id}/archives/plain"
    first = http.get(path)
    assert "immutable" in first.headers["cache-control"]
    again = http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert http.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_cursor__of_another_list_is_refused(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/curations/{curated.curation.id}/archives"
    cursor = http.get(path, params={"limit": 2}).json()["next"]
    assert http.get(path, params={"limit": 2, "cursor": cursor}).status_code == 200
    for other in ({"concept": "dog"}, {"added": "true"}):
        refused = http.get(path, params={"limit": 2, "cursor": cursor, **other})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "query.cursor"


def test_archive__of_a_key_that_is_not_there(client: CocuClient, curated: Curated) -> None:
    for key in ("missing", "folder", "plain/", "../plain", "x" * 10_000, "nul\0", "%"):
        with pytest.raises(NotFoundError):
            client.archives.get(curated.curation.id, key)


def test_archives__of_a_curation_that_does_not_complete(client: CocuClient, curated: Curated) -> None:
    other = client.curations.create(curated.dataset.id)
    client.curations.cancel(other.id)
    if client.curations.get(other.id).state == "cancelled":
        with pytest.raises(ConflictError, match="cancelled"):
            client.archives.get(other.id, "plain")


def test_archives__without_own_captions_still_tell_added_from_named(
    client: CocuClient, curated: Curated
) -> None:
    from cocu.schemas import Parameters

    curation = client.curations.create(
        curated.dataset.id,
        vocabulary=curated.curation.vocabulary,
        parameters=Parameters(own_caption=False, neighbours=2),
    )
    client.curations.wait(curation.id, timeout=120)
    archives = list(client.archives.list(curation.id))
    for archive in archives:
        for concept in archive.concepts:
            assert concept.added == (concept.concept not in archive.caption)
            assert all(origin.kind == "neighbour" for origin in concept.origins)
    added = {archive.key for archive in client.archives.list(curation.id, added=True)}
    assert added == {archive.key for archive in archives if archive.added}
