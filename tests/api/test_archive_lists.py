"""Lists, facets and adjacent archives, against the same computed from all archives in plain Python."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import VOCABULARY
from tests.api.listed_archives import WORDS, Filter, Listed, captions
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.api import cursors
from cocu.api.dependencies import DEFAULT_TENANT
from cocu.api.queries import ArchiveFilter, Concepts, Facets, Samples
from cocu.catalog import curations
from cocu.cli.application import app
from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.schemas import Archive, ArchiveOrder, Histogram, Parameters

ORDERS: tuple[ArchiveOrder, ...] = get_args(ArchiveOrder)
BY_SCORE: tuple[ArchiveOrder, ...] = ("score", "-score")
SAMPLES = 90
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listed]:
    folder = tmp_path_factory.mktemp("lists")
    encoder = write_tiny_encoder(folder / "encoder")
    first = captions(0, SAMPLES - 30)
    # The second time with keys that look like paths of the API, and with two pictures that are the same.
    second = captions(SAMPLES - 30, 26)
    second |= {"adjacent": "a dog", "060/adjacent": "a cat", "facets": "a tree and a car", "même": "a tree"}
    (folder / "first.tar").write_bytes(tar_of_samples(first))
    (folder / "second.tar").write_bytes(tar_of_samples(second, first_seed=SAMPLES - 40))
    (folder / "words.txt").write_text(VOCABULARY)
    with running(folder / "data", encoder, samples_per_shard=13) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("lists").id
        vocabulary = client.vocabularies.from_file(folder / "words.txt").id
        for name in ("first", "second"):
            client.datasets.upload(dataset, folder / f"{name}.tar")
            client.datasets.wait(dataset, timeout=60)
            curation = client.curations.create(
                dataset, vocabulary=vocabulary, parameters=Parameters(neighbours=3)
            )
            client.curations.wait(curation.id, timeout=120)
        yield Listed(client, server, curation.id)


def test_the_data_has_what_the_tests_need(listed: Listed) -> None:
    assert len({archive.key for archive in listed.archives}) == SAMPLES
    assert {archive.changed for archive in listed.archives} == {True, False}
    gains = Counter(len(archive.added) for archive in listed.archives)
    assert gains[0]
    assert max(gains.values()) > 13, "ties are longer than a shard"


FILTERS = st.builds(
    Filter,
    concept=st.lists(st.sampled_from(WORDS), unique=True, max_size=3).map(tuple),
    added=st.sampled_from([None, True, False]),
    min_score=st.none() | st.floats(-2, 2) | st.sampled_from([1e300, -1e300]),
    changed=st.sampled_from([None, None, True, False]),
)
QUANTILES = st.none() | st.floats(0, 1)
"""A score that archives have takes the place of the bound, where it matters most."""


def bounded(listed: Listed, chosen: Filter, quantile: float | None) -> Filter:
    if quantile is None:
        return chosen
    return replace(chosen, min_score=listed.scores[int(quantile * (len(listed.scores) - 1))])


def expected_order(listed: Listed, chosen: Filter, order: ArchiveOrder) -> list[str]:
    """The keys of the list; the archives are in sample order and `sorted` is stable."""

    def position(archive: Archive) -> float:
        match order:
            case "-gain":
                return -len(archive.added)
            case "-best_added":
                return -max((concept.score for concept in archive.added), default=-np.inf)
            case "score" | "-score":
                sign = -1 if order == "-score" else 1
                scores = {concept.concept: concept.score for concept in archive.concepts}
                return sign * scores[chosen.concept[0]]
            case _:
                return 0

    return [archive.key for archive in sorted(filter(chosen.holds, listed.archives), key=position)]


@QUICK
@given(chosen=FILTERS, quantile=QUANTILES, page_size=st.integers(4, 60), order=st.sampled_from(ORDERS))
def test_every_order_is_that_of_all_archives_sorted(
    listed: Listed, chosen: Filter, quantile: float | None, page_size: int, order: ArchiveOrder
) -> None:
    chosen = bounded(listed, chosen, quantile)
    if order in BY_SCORE and not chosen.concept:
        chosen = replace(chosen, concept=("dog",))
    expected = expected_order(listed, chosen, order)
    cards = listed.client.archives.cards(
        listed.curation,
        order=order,
        page_size=page_size,
        **chosen.params,  # type: ignore[arg-type]
    )
    assert [card.key for card in cards] == expected
    whole = listed.client.archives.list(
        listed.curation,
        order=order,
        page_size=page_size,
        **chosen.params,  # type: ignore[arg-type]
    )
    assert [archive.key for archive in whole] == expected


def test_cards_say_what_the_archives_say(listed: Listed) -> None:
    by_key = {archive.key: archive for archive in listed.archives}
    cards = list(listed.client.archives.cards(listed.curation))
    assert len(cards) == SAMPLES
    for card in cards:
        archive = by_key[card.key]
        assert (card.caption, card.image, card.thumbnail) == (
            archive.caption,
            archive.image,
            archive.thumbnail,
        )
        assert (card.concepts, card.gain) == (len(archive.concepts), len(archive.added))
        assert [(best.concept, best.score) for best in card.best_added] == [
            (concept.concept, concept.score) for concept in archive.added[:5]
        ]
        assert card.asked == []


def test_cards_show_the_concepts_that_were_asked_for(listed: Listed) -> None:
    by_key = {archive.key: archive for archive in listed.archives}
    # "cats" is another form of the same concept.
    cards = list(listed.client.archives.cards(listed.curation, concept=["dogs", "cats"], order="-score"))
    assert cards
    for card in cards:
        concepts = {concept.concept: concept for concept in by_key[card.key].concepts}
        assert [(asked.concept, asked.score, asked.added) for asked in card.asked] == [
            (name, concepts[name].score, concepts[name].added) for name in ("dog", "cat")
        ]


def test_a_page_of_60_cards_is_small(listed: Listed) -> None:
    answer = httpx.get(
        f"{listed.url}/archives",
        params={"view": "card", "limit": 60, "order": "-gain"},
    )
    assert len(answer.json()["items"]) == 60
    assert len(gzip.compress(answer.content)) <= 12_000


def counted(histogram: Histogram, values: list[float]) -> None:
    """Hold a histogram against numpy's; edges are compared as the scores are, as 32-bit floats."""
    edges = np.array(histogram.edges, np.float32)
    counts, _ = np.histogram(np.array(values, np.float32), edges)
    assert histogram.counts == counts.tolist()
    assert sum(histogram.counts) == len(values)


@QUICK
@given(chosen=FILTERS, quantile=QUANTILES, top=st.integers(1, 8))
def test_facets_are_what_counting_gives(
    listed: Listed, chosen: Filter, quantile: float | None, top: int
) -> None:
    chosen = bounded(listed, chosen, quantile)
    selected = [archive for archive in listed.archives if chosen.holds(archive)]
    facets = listed.client.archives.facets(listed.curation, top=top, **chosen.params)  # type: ignore[arg-type]
    assert facets.total == len(selected)
    archives = Counter(concept.concept for archive in selected for concept in archive.concepts)
    added = Counter(concept.concept for archive in selected for concept in archive.added)
    expected = sorted(archives.items(), key=lambda item: (-item[1], item[0]))[:top]
    assert [(facet.concept, facet.archives, facet.added) for facet in facets.concepts] == [
        (name, count, added[name]) for name, count in expected
    ]
    counted(facets.best_added, [archive.added[0].score for archive in selected if archive.added])
    counted(facets.gain, [len(archive.added) for archive in selected])


@pytest.mark.parametrize(
    ("chosen", "order"),
    [
        (Filter(), "sample"),
        (Filter(), "-gain"),
        (Filter(added=True), "-best_added"),
        (Filter(concept=("dog",), added=True), "-score"),
        (Filter(concept=("cat", "dog")), "score"),
        (Filter(changed=False), "-gain"),
    ],
    ids=str,
)
def test_adjacent_goes_through_the_whole_list_both_ways(
    listed: Listed, chosen: Filter, order: ArchiveOrder
) -> None:
    expected = expected_order(listed, chosen, order)
    assert len(expected) > 3
    for position, key in enumerate(expected, start=1):
        adjacent = listed.client.archives.adjacent(
            listed.curation,
            key,
            order=order,
            **chosen.params,  # type: ignore[arg-type]
        )
        assert (adjacent.position, adjacent.total) == (position, len(expected))
        assert adjacent.previous == (expected[position - 2] if position > 1 else None)
        assert adjacent.next == (expected[position] if position < len(expected) else None)


def test_adjacent_of_an_archive_outside_the_list_are_those_around_it(listed: Listed) -> None:
    order: ArchiveOrder = "-gain"
    chosen = Filter(concept=("dog",))
    everything = expected_order(listed, Filter(), order)
    outside = [archive.key for archive in listed.archives if not chosen.holds(archive)]
    assert outside
    for key in outside:
        adjacent = listed.client.archives.adjacent(listed.curation, key, concept="dog", order=order)
        selected = {archive.key for archive in listed.archives if chosen.holds(archive)}
        place = everything.index(key)
        before = [other for other in everything[:place] if other in selected]
        after = [other for other in everything[place:] if other in selected]
        assert adjacent.position is None
        assert adjacent.total == len(selected)
        assert adjacent.previous == (before[-1] if before else None)
        assert adjacent.next == (after[0] if after else None)
        by_score = listed.client.archives.adjacent(listed.curation, key, concept="dog", order="score")
        assert (by_score.previous, by_score.next, by_score.position) == (None, None, None)


def test_no_archive_is_read_for_cards_facets_and_adjacent(listed: Listed) -> None:
    table_folder = listed.folder / "archives"
    hidden = table_folder.with_name("hidden")
    table_folder.rename(hidden)
    try:
        cards = list(listed.client.archives.cards(listed.curation, concept="tree", order="-best_added"))
        assert cards
        assert listed.client.archives.facets(listed.curation, concept="tree", added=False).total
        assert listed.client.archives.adjacent(listed.curation, cards[0].key, order="-gain").position
    finally:
        hidden.rename(table_folder)


def test_an_order_by_score_needs_a_concept(listed: Listed) -> None:
    for order in BY_SCORE:
        with pytest.raises(InvalidInputError, match=r"query\.order"):
            list(listed.client.archives.cards(listed.curation, order=order))
        with pytest.raises(InvalidInputError, match=r"query\.order"):
            listed.client.archives.adjacent(listed.curation, "000", order=order)


def test_unknown_concepts_and_keys_are_told(listed: Listed) -> None:
    client = listed.client
    with pytest.raises(InvalidInputError, match=r"query\.concept"):
        list(client.archives.cards(listed.curation, concept=["dog", "zeppelin"]))
    with pytest.raises(InvalidInputError, match=r"query\.concept"):
        client.archives.facets(listed.curation, concept="zeppelin")
    for key in ("missing", "000/adjacent", "adjacent/adjacent", "nul\0"):
        with pytest.raises(NotFoundError):
            client.archives.adjacent(listed.curation, key)
    assert client.archives.get(listed.curation, "060/adjacent").caption == "a cat"
    assert client.archives.adjacent(listed.curation, "060/adjacent").total == SAMPLES


@pytest.mark.parametrize(
    "place", ["", "0x0.0p+0", "nan:1", "0x0.0p+0:-1", "inf:" + "9" * 30, "x:1", ":", "1:1e3"]
)
def test_a_cursor_that_holds_no_place_is_refused(listed: Listed, place: str) -> None:
    listing = f"archives {listed.curation} {ArchiveFilter()} -gain"
    answer = httpx.get(
        f"{listed.url}/archives",
        params={"order": "-gain", "cursor": cursors.encode(listing, place)},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "query.cursor"


@pytest.mark.parametrize(
    "query",
    ["order=gain", "view=tiny", "view=card&order=", "concept=" + "x" * 401, "concept=dog&" * 21, "top=0"],
)
def test_wrong_parameters_are_refused(listed: Listed, query: str) -> None:
    path = "facets" if query.startswith("top") else "archives"
    answer = httpx.get(f"{listed.url}/{path}?{query}")
    assert answer.status_code == 422


def test_a_concept_that_is_given_twice_counts_once(listed: Listed) -> None:
    cards = list(listed.client.archives.cards(listed.curation, concept=["dog", "dog"]))
    assert [len(card.asked) for card in cards] == [1] * len(cards)


def test_lists_and_facets_do_not_change(listed: Listed) -> None:
    for path in ("archives?view=card&order=-gain", "facets?concept=dog", "archives/000/adjacent?order=-gain"):
        url = f"{listed.url}/{path}"
        first = httpx.get(url)
        assert "immutable" in first.headers["cache-control"]
        assert httpx.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_columns_that_are_missing_or_damaged_are_made_again(listed: Listed) -> None:
    columns = listed.folder / "columns"
    files = sorted(columns.iterdir())
    assert len(files) == -(-(SAMPLES - 30) // 13) + -(-30 // 13)
    before = {file.name: file.read_bytes() for file in files}
    files[0].unlink()
    files[1].write_bytes(b"damaged")
    # Queries of their own have read nothing yet.
    platform = listed.server.platform
    concepts = Concepts(platform, Samples(platform))
    record = curations.get(platform.catalog, tenant=DEFAULT_TENANT, curation_id=listed.curation)
    facets = Facets(concepts).get(record, ArchiveFilter(added=True), top=20)
    assert facets == listed.client.archives.facets(listed.curation, added=True)
    assert {file.name: file.read_bytes() for file in sorted(columns.iterdir())} == before


def test_the_command_line_lists_and_counts(listed: Listed) -> None:
    options = ["--server", listed.server.url, "--concept", "dog", "--added"]
    shown = CliRunner().invoke(
        app, ["archive", "list", listed.curation, *options, "--order", "-score", "--json"]
    )
    assert shown.exit_code == 0, shown.output
    keys = [json.loads(line)["key"] for line in shown.stdout.splitlines()]
    assert keys == expected_order(listed, Filter(("dog",), added=True), "-score")[:20]
    table = CliRunner().invoke(app, ["archive", "list", listed.curation, *options])
    assert "best added" in table.output
    counts = CliRunner().invoke(app, ["archive", "facets", listed.curation, *options])
    assert counts.exit_code == 0, counts.output
    total = listed.client.archives.facets(listed.curation, concept="dog", added=True).total
    assert counts.output.startswith(f"{total} archives")
