"""Draws from one archive: what the batch stream sends, and how likely."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import CAPTIONS, Curated
from tests.curation.draw_probabilities import sequence_probabilities

from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.client.transport import segment

SAMPLERS = ["cluster", "topk", "uniform", "caption"]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**53),
    epoch=st.integers(0, 2**53 - 3),
    concepts=st.integers(1, 8),
    sampler=st.sampled_from(SAMPLERS),
    temperature=st.sampled_from([0.01, 1.0, 3.5]),
    prompts=st.sampled_from(["raw", "templates"]),
    templates=st.sampled_from([(), ("a {}", "the {} there")]),
)
def test_draws_are_what_the_batch_stream_sends(
    client: CocuClient, curated: Curated, epoch: int, **parameters
) -> None:
    epochs = 3
    streamed = {
        (number, key): (concepts, texts)
        for number in range(epoch, epoch + epochs)
        for batch in client.batches.stream(
            curated.curation.id, epoch=number, images=False, prefetch=0, **parameters
        )
        for key, concepts, texts in zip(batch.keys, batch.concepts, batch.texts, strict=True)
    }
    for key in CAPTIONS:
        draws = client.archives.draws(curated.curation.id, key, epoch=epoch, epochs=epochs, **parameters)
        assert [drawn.epoch for drawn in draws.epochs] == list(range(epoch, epoch + epochs))
        for drawn in draws.epochs:
            assert (drawn.concepts, drawn.texts) == streamed[drawn.epoch, key]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("concepts", [1, 2, 5])
def test_chances_are_the_sum_over_all_sequences_of_draws(
    client: CocuClient, curated: Curated, sampler: str, concepts: int
) -> None:
    for key in CAPTIONS:
        archive = client.archives.get(curated.curation.id, key)
        draws = client.archives.draws(
            curated.curation.id, key, concepts=concepts, sampler=sampler, temperature=0.7
        )
        assert [chance.concept for chance in draws.concepts] == [
            concept.concept for concept in archive.concepts
        ]
        assert [chance.added for chance in draws.concepts] == [concept.added for concept in archive.concepts]
        first, inclusion = np.zeros(len(archive.concepts)), np.zeros(len(archive.concepts))
        for sequence, chance in sequence_probabilities(
            np.array([concept.score for concept in archive.concepts], np.float32),
            np.array([-1 if concept.cluster is None else concept.cluster for concept in archive.concepts]),
            np.array([not concept.added for concept in archive.concepts], bool),
            count=concepts,
            sampler=sampler,
            temperature=0.7,
        ).items():
            if sequence:
                first[sequence[0]] += chance
                inclusion[list(sequence)] += chance
        assert [chance.first_draw for chance in draws.concepts] == pytest.approx(first.tolist())
        assert [chance.inclusion for chance in draws.concepts] == pytest.approx(inclusion.tolist())


def test_defaults_are_those_of_the_stream(client: CocuClient, http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/curations/{curated.curation.id}/archives/plain/draws"
    draws = http.get(path).json()
    assert len(draws["epochs"]) == 5
    (batch,) = client.batches.stream(curated.curation.id, images=False, prefetch=0)
    assert draws["epochs"][0]["texts"] == batch.texts[batch.keys.index("plain")]


@pytest.mark.parametrize("key", CAPTIONS)
def test_draws_of_any_key(client: CocuClient, curated: Curated, key: str) -> None:
    draws = client.archives.draws(curated.curation.id, key, epochs=1)
    assert draws.key == key
    assert len(draws.epochs[0].texts) == draws.count == 3


@pytest.mark.parametrize("key", ["missing", "plain/draws", "draws"])
def test_draws_of_a_key_that_is_not_there(client: CocuClient, curated: Curated, key: str) -> None:
    with pytest.raises(NotFoundError):
        client.archives.draws(curated.curation.id, key)
    # A key that ends like this path is a key, when it is encoded.
    with pytest.raises(NotFoundError):
        client.archives.get(curated.curation.id, f"{key}/draws")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"epochs": 21}, "query.epochs"),
        ({"epochs": 0}, "query.epochs"),
        ({"epoch": 2**53, "epochs": 2}, "query.epochs"),
        ({"concepts": 65}, "query.concepts"),
        ({"temperature": "0"}, "query.temperature"),
        ({"temperature": "nan"}, "query.temperature"),
        ({"sampler": "best"}, "query.sampler"),
        ({"template": "{}{}"}, "query.template"),
        ({"rank": 0}, "query.rank"),
    ],
)
def test_draws_that_the_stream_would_not_make(
    http: httpx.Client, curated: Curated, query: dict[str, object], field: str
) -> None:
    path = f"/v1/curations/{curated.curation.id}/archives/plain/draws"
    refused = http.get(path, params=query)
    assert refused.status_code == 422
    assert field in [error["field"] for error in refused.json()["errors"]]


def test_draws_are_immutable_for_caches(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/curations/{curated.curation.id}/archives/{segment('folder/image')}/draws"
    first = http.get(path)
    assert http.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    for query in ({"seed": 1}, {"epochs": 4}, {"prompts": "raw"}, {"temperature": 2}):
        other = http.get(path, params=query, headers={"If-None-Match": first.headers["etag"]})
        assert other.status_code == 200


def test_a_client_learns_what_is_wrong(client: CocuClient, curated: Curated) -> None:
    with pytest.raises(InvalidInputError, match=r"query\.epochs"):
        client.archives.draws(curated.curation.id, "plain", epochs=100)
