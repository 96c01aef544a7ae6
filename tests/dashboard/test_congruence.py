"""The numbers on pages are those of the files of the curation, counted anew from its tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown

from cocu.catalog import curations

OWN_CAPTION = -1


@pytest.fixture(scope="module")
def archives(shown: Shown) -> dict[str, dict[str, Any]]:
    """The rows of the archive tables, by key."""
    folder = shown.objects / "curations" / shown.curation.id / "archives"
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return {row["key"]: row for table in tables for row in table.to_pylist()}


@pytest.fixture(scope="module")
def captions(shown: Shown) -> Counter[str]:
    """In how many captions each concept is named: the matcher asked again, caption by caption."""
    folder = shown.objects / "datasets" / shown.dataset.id / "samples"
    platform = shown.server.platform
    record = curations.get(platform.catalog, tenant="default", curation_id=shown.curation.id)
    vocabulary = platform.vocabularies.of_hash(record.vocabulary_hash)
    counts: Counter[str] = Counter()
    for path in folder.glob("*.parquet"):
        for caption in pq.read_table(path, columns=["caption"])["caption"].to_pylist():
            counts.update(vocabulary.names[number] for number in set(vocabulary.match(caption)))
    return counts


def added(archive: dict[str, Any]) -> list[dict[str, Any]]:
    return [concept for concept in archive["concepts"] if OWN_CAPTION not in concept["origins"]]


def page_at(http: httpx.Client, path: str) -> PageDocument:
    answer = http.get(path)
    assert answer.status_code == 200
    return PageDocument(answer.text)


def numbers(text: str) -> list[float]:
    """The numbers of a text, as pages write them."""
    plain = text.replace("\u202f", "").replace("\u2212", "-")
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", plain)]


def figure(page: PageDocument, name: str) -> list[float]:
    """The numbers of a key figure."""
    (term,) = [term for term in page.all("dt") if term.text == name]
    (value,) = [value for value in page.all("dd") if value.around[-1] is term.around[-1]]
    return numbers(value.text)


def test_overview(shown: Shown, http: httpx.Client, archives: dict[str, dict[str, Any]]) -> None:
    page = page_at(http, "/")
    concepts = sum(len(archive["concepts"]) for archive in archives.values()) / len(archives)
    gain = sum(len(added(archive)) for archive in archives.values()) / len(archives)
    (row,) = [item for item in page.all("li") if shown.curation.id[:8] in item.text]
    shown_concepts, shown_gain = numbers(row.text.split("archives")[1])[:2]
    assert shown_concepts == pytest.approx(concepts, abs=0.05)
    assert shown_gain == pytest.approx(gain, abs=0.05)
    (dataset,) = [
        item
        for item in page.all("li")
        if item.text.startswith("scenes")
        and "curation" in item.text
        and shown.curation.id[:8] not in item.text
    ]
    assert numbers(dataset.text)[0] == len(archives) == shown.dataset.samples


def test_curation(
    shown: Shown, http: httpx.Client, archives: dict[str, dict[str, Any]], captions: Counter[str]
) -> None:
    page = page_at(http, f"/curations/{shown.curation.id}")
    gained = sum(bool(added(archive)) for archive in archives.values()) / len(archives)
    assert figure(page, "pictures that gained something") == [pytest.approx(100 * gained, abs=0.05)]
    names = Counter(concept["concept"] for archive in archives.values() for concept in archive["concepts"])
    gains = Counter(concept["concept"] for archive in archives.values() for concept in added(archive))
    own, all_ = figure(page, "concepts a picture")
    assert own == pytest.approx(captions.total() / len(archives), abs=0.05)
    assert all_ == pytest.approx(names.total() / len(archives), abs=0.05)
    assert figure(page, "distinct concepts") == [len(captions), len(names)]
    rows = [row for row in page.all("tr") if any(outer.tag == "tbody" for outer in row.around)]
    rows = [
        row for row in rows if any(link in page.all("a") and row in link.around for link in page.all("a"))
    ]
    assert len(rows) == min(12, len(gains))
    for row in rows:
        cells = [cell.text for cell in page.all("td") if row in cell.around]
        before, after, more = (int(numbers(cell)[0]) for cell in cells[1:])
        assert (before, after, more) == (captions[cells[0]], names[cells[0]], gains[cells[0]]), cells[0]
    assert {int(numbers(row.text)[-1]) for row in rows} == {count for _, count in gains.most_common(12)}
    bars = [title for title in page.all("title") if "pictures" in title.text]
    gain_bars = [numbers(title.text) for title in bars if "." not in title.text]
    assert sum(int(bar[2]) for bar in gain_bars) == len(archives)


def test_request__that_the_page_shows_gives_the_same_curation(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, f"/curations/{shown.curation.id}")
    body = json.loads(page.first("pre", id="request").text)
    asked = http.post(f"/v1/datasets/{shown.dataset.id}/curations", json=body)
    assert (asked.status_code, asked.json()["id"]) == (200, shown.curation.id)
    assert f"POST /v1/datasets/{shown.dataset.id}/curations" in page.first("main").text


def test_recall_by_labels__is_that_of_the_evaluation(shown: Shown, http: httpx.Client) -> None:
    (evaluation,) = shown.client.evaluations.list(shown.curation.id)
    page = page_at(http, f"/curations/{shown.curation.id}")
    before, after = figure(page, f"recall by labels ({evaluation.images})")
    assert before == pytest.approx(evaluation.row("caption").metrics["recall"], abs=0.005)
    assert after == pytest.approx(evaluation.row("archive").metrics["recall"], abs=0.005)


def test_grid(shown: Shown, http: httpx.Client, archives: dict[str, dict[str, Any]]) -> None:
    gains = Counter(concept["concept"] for archive in archives.values() for concept in added(archive))
    name, count = gains.most_common(1)[0]
    page = page_at(http, f"{shown.grid}?concept={name}&in=added&order=-score")
    with_it = {
        key: concept["score"]
        for key, archive in archives.items()
        for concept in added(archive)
        if concept["concept"] == name
    }
    assert numbers(page.first("span", id="total").text) == [count, len(archives)]
    best = sorted(with_it.values(), reverse=True)[:60]
    cards = page.all("span", class_="best")
    assert [numbers(card.text)[-1] for card in cards] == [pytest.approx(score, abs=0.051) for score in best]
    facets = page_at(http, shown.grid).first("nav", class_="top-here")
    names = Counter(concept["concept"] for archive in archives.values() for concept in archive["concepts"])
    for shown_name, archives_with_it in re.findall(r"([a-z][a-z ]*?) (\d+)", facets.text.split(":")[1]):
        assert names[shown_name] == int(archives_with_it)
    least = sorted(with_it.values())[len(with_it) // 2]
    cut = page_at(http, f"{shown.grid}?concept={name}&in=added&min_score={least:.9g}")
    expected = sum(score >= float(f"{least:.9g}") for score in with_it.values())
    assert numbers(cut.first("span", id="total").text)[0] == pytest.approx(expected, abs=1)


def test_inspector(shown: Shown, http: httpx.Client, archives: dict[str, dict[str, Any]]) -> None:
    order = sorted(archives, key=lambda key: -len(added(archives[key])))
    key = order[0]
    archive = archives[key]
    page = page_at(http, f"{shown.grid}/{key}?order=-gain")
    head = next(element for element in page.all("span", class_="muted") if "clusters" in element.text)
    clusters = {concept["cluster"] for concept in archive["concepts"]} - {-1}
    assert numbers(head.text) == [len(archive["concepts"]), len(clusters), len(added(archive))]
    position = 1 + sum(len(added(other)) > len(added(archive)) for other in archives.values())
    steps = numbers(page.first("nav", class_="steps").text)
    assert steps[0] >= position
    assert steps[1] == len(archives)

    rows = [row for row in page.all("div", class_="concept-row") if "data-concept" in row.attributes]
    by_name = {concept["concept"]: concept for concept in archive["concepts"]}
    assert {row.attributes["data-concept"] for row in rows} == by_name.keys()
    for row in rows:
        concept = by_name[row.attributes["data-concept"]]
        assert float(row.attributes["data-score"]) == pytest.approx(concept["score"], abs=1e-5)
        (bar,) = [svg for svg in page.all("svg") if row in svg.around]
        parts = numbers(bar.attributes["aria-label"])
        assert parts == [pytest.approx(concept[part], abs=0.0051) for part in ("score", "local", "global")]
        named = sorted(int(place) for place in row.attributes["data-neighbours"].split())
        assert named == sorted(place for place in concept["origins"] if place != OWN_CAPTION)
        weights = [float(weight) for weight in row.attributes["data-weights"].split() if weight]
        assert not weights or sum(weights) == pytest.approx(1, abs=0.001)
    similarities = [
        numbers(item.text)[0]
        for item in page.all("span", class_="muted")
        if item.around[-1].classes == {"text"} and "share" not in item.classes
    ]
    stored = [pytest.approx(value, abs=0.0051) for value in archive["neighbour_similarities"]]
    assert similarities == stored
