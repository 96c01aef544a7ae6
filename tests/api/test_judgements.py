"""Judgements and the audit, over HTTP: what it deals, what it sums up, and what it is asked for wrongly."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO

import httpx
import numpy as np
import pytest
from tests.api.conftest import VOCABULARY, Curated

from cocu.api.server import LocalServer
from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.schemas import Archive, AuditPair, Parameters

Pair = tuple[str, str]


@pytest.fixture(autouse=True)
def nothing_is_judged(client: CocuClient, curated: Curated) -> Iterator[None]:
    forget(client, curated)
    yield
    forget(client, curated)
    client.curations.set_threshold(curated.curation.id, None)


def forget(client: CocuClient, curated: Curated) -> None:
    for judgement in list(client.judgements.list(curated.curation.id)):
        client.judgements.undo(curated.curation.id, judgement.key, judgement.concept)


@pytest.fixture(scope="module")
def archives(client: CocuClient, curated: Curated) -> list[Archive]:
    return list(client.archives.list(curated.curation.id))


@pytest.fixture(scope="module")
def added(archives: list[Archive]) -> dict[Pair, float]:
    """The score of everything that was added."""
    return {
        (archive.key, concept.concept): concept.score for archive in archives for concept in archive.added
    }


def pair_of(pair: AuditPair) -> Pair:
    return pair.key, pair.concept


def deck(client: CocuClient, curated: Curated) -> list[AuditPair]:
    return client.judgements.next(curated.curation.id, 100).items


def test_everything_that_was_added_is_dealt_once(
    client: CocuClient, curated: Curated, added: dict[Pair, float]
) -> None:
    pairs = deck(client, curated)
    assert len(added) <= 100, "a small dataset"
    assert {pair_of(pair): pair.score for pair in pairs} == added
    assert [pair.turn for pair in pairs] == list(range(1, len(added) + 1))
    dealt = client.judgements.next(curated.curation.id, 3)
    assert (dealt.items, dealt.dealt, dealt.judged) == (pairs[:3], len(added), 0)
    sample = client.datasets.sample(curated.dataset.id, pairs[0].key)
    assert (pairs[0].caption, pairs[0].image) == (sample.caption, sample.image)


def test_bins_hold_what_was_added(client: CocuClient, curated: Curated, added: dict[Pair, float]) -> None:
    summary = client.judgements.summary(curated.curation.id)
    scores = np.array(list(added.values()), np.float32)
    for bin_ in summary.bins:
        inside = (scores >= np.float32(bin_.low)) & (scores < np.float32(bin_.high))
        assert bin_.added == inside.sum() > 0
    assert sum(bin_.added for bin_ in summary.bins) == len(added)
    assert [estimate.score for estimate in summary.by_threshold] == [bin_.low for bin_ in summary.bins]
    assert {estimate.precision for estimate in summary.by_threshold} == {None}
    # The same scores select the same archives.
    for estimate in summary.by_threshold:
        facets = client.archives.facets(curated.curation.id, added=True, min_score=estimate.score)
        keys = {key for (key, _), score in added.items() if score >= np.float32(estimate.score)}
        assert facets.total == len(keys)


def test_every_round_has_a_pair_of_each_bin(client: CocuClient, curated: Curated) -> None:
    pairs = deck(client, curated)
    bins = client.judgements.summary(curated.curation.id).bins

    def bin_of(pair: AuditPair) -> int:
        return max(number for number, bin_ in enumerate(bins) if pair.score >= np.float32(bin_.low))

    first = [bin_of(pair) for pair in pairs[: len(bins)]]
    assert sorted(first) == list(range(len(bins)))


def test_a_judgement_is_kept_and_the_later_wins(client: CocuClient, curated: Curated) -> None:
    (pair, *_) = deck(client, curated)
    form = f"{pair.concept}s"
    first = client.judgements.judge(curated.curation.id, pair.key, form, True, author="Ana")
    assert (first.key, first.concept, first.right, first.author) == (*pair_of(pair), True, "Ana")
    assert (first.added, first.dealt, first.score, first.replaced) == (True, True, pair.score, None)
    second = client.judgements.judge(curated.curation.id, pair.key, pair.concept, None, author="Ben")
    assert second.replaced is not None
    assert (second.right, second.replaced.right, second.replaced.author) == (None, True, "Ana")
    assert second.replaced.created_at == first.created_at
    assert client.judgements.judge(curated.curation.id, pair.key, pair.concept, None, author="Ben") == second
    assert client.judgements.get(curated.curation.id, pair.key, pair.concept) == second
    assert list(client.judgements.list(curated.curation.id)) == [second]
    client.judgements.undo(curated.curation.id, pair.key, pair.concept)
    client.judgements.undo(curated.curation.id, pair.key, pair.concept)
    with pytest.raises(NotFoundError):
        client.judgements.get(curated.curation.id, pair.key, pair.concept)
    assert list(client.judgements.list(curated.curation.id)) == []


def test_what_nobody_judged_is_dealt(client: CocuClient, curated: Curated) -> None:
    pairs = deck(client, curated)
    for pair in (pairs[0], pairs[2]):
        client.judgements.judge(curated.curation.id, pair.key, pair.concept, False)
    dealt = client.judgements.next(curated.curation.id, 100)
    turns = [pair.turn for pair in pairs]
    assert [pair.turn for pair in dealt.items] == [2, *turns[3:]]
    assert dealt.judged == 2
    client.judgements.undo(curated.curation.id, pairs[0].key, pairs[0].concept)
    assert client.judgements.next(curated.curation.id).items == [pairs[0]]


def test_where_everything_is_judged_precision_is_exact(
    client: CocuClient, curated: Curated, added: dict[Pair, float]
) -> None:
    pairs = deck(client, curated)
    truth = {pair_of(pair): pair.turn % 3 != 0 for pair in pairs}
    for pair in reversed(pairs):
        client.judgements.judge(curated.curation.id, pair.key, pair.concept, truth[pair_of(pair)])
    summary = client.judgements.summary(curated.curation.id, precision=0.5)
    assert (summary.judgements, summary.counted) == (len(pairs), len(pairs))
    assert (summary.right, summary.wrong, summary.unsure) == (
        sum(truth.values()),
        len(pairs) - sum(truth.values()),
        0,
    )
    for estimate in summary.by_threshold:
        judged = [truth[pair] for pair, score in added.items() if score >= np.float32(estimate.score)]
        assert (estimate.added, estimate.judged) == (len(judged), len(judged))
        assert estimate.precision == pytest.approx(np.mean(judged))
        assert (estimate.precision_low, estimate.precision_high) == pytest.approx((np.mean(judged),) * 2)
    assert summary.overall == summary.by_threshold[0]
    for bin_ in summary.bins:
        inside = [
            truth[pair]
            for pair, score in added.items()
            if np.float32(bin_.low) <= score < np.float32(bin_.high)
        ]
        assert (bin_.judged, bin_.right) == (len(inside), sum(inside))
        assert bin_.precision_low == bin_.precision == bin_.precision_high == np.mean(inside)
    reached = [estimate for estimate in summary.by_threshold if (estimate.precision or 0) >= 0.5]
    assert summary.reached == reached[0]
    for pair in pairs:
        client.judgements.judge(curated.curation.id, pair.key, pair.concept, True)
    perfect = client.judgements.summary(curated.curation.id, precision=1)
    assert perfect.reached == perfect.overall


def test_no_threshold_is_known_until_every_bin_has_a_judgement(client: CocuClient, curated: Curated) -> None:
    """One answer is no reason for a threshold, however right it is."""
    for pair in deck(client, curated):
        bins = client.judgements.summary(curated.curation.id, precision=0.5).bins
        if np.float32(pair.score) >= np.float32(bins[-1].low):
            client.judgements.judge(curated.curation.id, pair.key, pair.concept, True)
            break
    summary = client.judgements.summary(curated.curation.id, precision=0.5)
    assert summary.counted in {0, 1}
    assert summary.by_threshold[-1].precision == (1 if summary.counted else None)
    assert summary.reached is None


def test_after_one_round_there_is_an_estimate(client: CocuClient, curated: Curated) -> None:
    bins = len(client.judgements.summary(curated.curation.id).bins)
    pairs = deck(client, curated)
    for pair in pairs[: bins - 1]:
        client.judgements.judge(curated.curation.id, pair.key, pair.concept, True)
    assert client.judgements.summary(curated.curation.id).overall.precision is None  # type: ignore[union-attr]
    last = pairs[bins - 1]
    client.judgements.judge(curated.curation.id, last.key, last.concept, None)
    summary = client.judgements.summary(curated.curation.id)
    assert (summary.unsure, summary.counted) == (1, bins - 1)
    assert summary.overall is not None
    assert summary.overall.precision is None, "nobody was sure about anything of one bin"
    client.judgements.judge(curated.curation.id, last.key, last.concept, False)
    overall = client.judgements.summary(curated.curation.id).overall
    assert overall is not None
    assert overall.precision is not None
    assert overall.precision_low is not None
    assert overall.precision_high is not None
    assert 0 <= overall.precision_low < overall.precision < overall.precision_high <= 1


def test_what_people_pick_out_does_not_bend_the_estimate(
    client: CocuClient, curated: Curated, archives: list[Archive]
) -> None:
    pairs = deck(client, curated)
    for pair in pairs[-5:]:
        client.judgements.judge(curated.curation.id, pair.key, pair.concept, False)
    named = next(
        (archive.key, concept.concept)
        for archive in archives
        for concept in archive.concepts
        if not concept.added
    )
    of_caption = client.judgements.judge(curated.curation.id, *named, True)
    assert (of_caption.added, of_caption.dealt) == (False, False)
    summary = client.judgements.summary(curated.curation.id)
    assert (summary.judgements, summary.counted) == (6, 0)
    assert sum(bin_.judged for bin_ in summary.bins) == 0


def test_judgements_leave_as_lines_and_as_a_table(client: CocuClient, curated: Curated) -> None:
    said = [True, False, None]
    for pair, right in zip(deck(client, curated), said, strict=False):
        client.judgements.judge(curated.curation.id, pair.key, pair.concept, right, author="=1+1")
    listed = list(client.judgements.list(curated.curation.id, page_size=1))
    lines = client.judgements.export(curated.curation.id).splitlines()
    assert [json.loads(line) for line in lines] == [
        json.loads(judgement.model_dump_json()) for judgement in listed
    ]
    rows = list(csv.DictReader(StringIO(client.judgements.export(curated.curation.id, "csv"))))
    words = {True: "right", False: "wrong", None: "unsure"}
    assert [(row["key"], row["concept"], row["judgement"]) for row in rows] == [
        (judgement.key, judgement.concept, words[judgement.right]) for judgement in listed
    ]
    assert {row["author"] for row in rows} == {"'=1+1"}, "no formula for a spreadsheet"


def test_the_deck_is_made_again_where_its_file_is_lost(
    client: CocuClient, server: LocalServer, curated: Curated
) -> None:
    pairs = deck(client, curated)
    objects = server.platform.objects
    (path,) = objects.list(f"curations/{curated.curation.id}/audit")
    before = objects.get(path)
    objects.delete(path)
    server._app.state.judgements._decks._decks._values.clear()
    assert deck(client, curated) == pairs
    assert objects.get(path) == before


def test_a_threshold_is_kept_with_the_curation(
    client: CocuClient, http: httpx.Client, curated: Curated
) -> None:
    url = f"/v1/curations/{curated.curation.id}"
    before = http.get(url)
    assert before.json()["threshold"] is None
    assert client.curations.set_threshold(curated.curation.id, -2.25).threshold == -2.25
    after = http.get(url, headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["threshold"]) == (200, -2.25)
    assert after.json() | {"threshold": None} == before.json()
    assert client.curations.set_threshold(curated.curation.id, None).threshold is None
    assert http.get(url).headers["etag"] == before.headers["etag"]


@pytest.mark.parametrize(
    "body", [{}, {"score": "high"}, {"score": 1, "more": 2}, {"score": True}, [], {"score": [1]}]
)
def test_thresholds_are_numbers(http: httpx.Client, curated: Curated, body: object) -> None:
    assert http.put(f"/v1/curations/{curated.curation.id}/threshold", json=body).status_code == 422
    for number in ("1e400", "NaN", "-Infinity"):
        answer = http.put(
            f"/v1/curations/{curated.curation.id}/threshold",
            content=f'{{"score": {number}}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": "none-such"}, "body.key"),
        ({"key": "a\0b"}, "body.key"),
        ({"key": ""}, "body.key"),
        ({"concept": "zeppelin"}, "body.concept"),
        ({"concept": "\0"}, "body.concept"),
        ({"right": "yes"}, "body.right"),
        ({"right": 1}, "body.right"),
        ({"author": "\u202eanA"}, "body.author"),
        ({"more": 1}, "body.more"),
    ],
)
def test_judgements_of_nothing(
    http: httpx.Client, client: CocuClient, curated: Curated, change: dict[str, object], field: str
) -> None:
    (pair, *_) = deck(client, curated)
    body = {"key": pair.key, "concept": pair.concept, "right": True}
    refused = http.post(f"/v1/curations/{curated.curation.id}/judgements", json={**body, **change})
    assert refused.status_code == 422
    assert field in [error["field"] for error in refused.json()["errors"]]
    del body["right"]
    assert http.post(f"/v1/curations/{curated.curation.id}/judgements", json=body).status_code == 422
    assert list(client.judgements.list(curated.curation.id)) == []


def test_a_concept_that_the_archive_lacks_cannot_be_judged(client: CocuClient, curated: Curated) -> None:
    small = client.curations.create(
        curated.dataset.id, vocabulary=curated.curation.vocabulary, parameters=Parameters(neighbours=1)
    )
    assert client.curations.wait(small.id, timeout=120).completed
    archives = list(client.archives.list(small.id))
    key, absent = next(
        (archive.key, name)
        for archive in archives
        for name in VOCABULARY.split()
        if name not in {concept.concept for concept in archive.concepts}
    )
    with pytest.raises(InvalidInputError, match=r"body\.concept"):
        client.judgements.judge(small.id, key, absent, True)


@pytest.mark.parametrize("query", ["precision=0", "precision=1.1", "precision=nan", "n=5", "precision="])
def test_a_wished_precision_is_a_share(http: httpx.Client, curated: Curated, query: str) -> None:
    url = f"/v1/curations/{curated.curation.id}/judgements/summary?{query}"
    assert http.get(url).status_code == 422


@pytest.mark.parametrize("query", ["n=0", "n=101", "n=x", "precision=0.5"])
def test_pairs_are_dealt_by_the_hundred(http: httpx.Client, curated: Curated, query: str) -> None:
    url = f"/v1/curations/{curated.curation.id}/judgements/next?{query}"
    assert http.get(url).status_code == 422
