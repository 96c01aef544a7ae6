"""Labels that a dataset keeps, and their verdicts: recomputed from the labels and the whole archives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated
from tests.pipeline.damage import flip

from cocu.api.server import LocalServer
from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.pipeline.integrity_check import CACHED, Finding, IntegrityCheck
from cocu.schemas import Archive, CocoInstances

LABELS = {
    "plain": ["dog", "bench", "tree"],
    "with space": ["car", "tree", "cat"],
    "folder/inside": ["cat"],
    "last": ["zeppelin", "car"],
    "nothing": ["boat"],
}
"""Nobody looked for benches in the others; a zeppelin is no concept of the vocabulary."""
CLASSES = {label for labels in LABELS.values() for label in labels}
NAME = "by-hand"


@pytest.fixture(autouse=True)
def kept(client: CocuClient, curated: Curated) -> Iterator[None]:
    client.labels.put(curated.dataset.id, NAME, labels=LABELS)
    yield
    for labels in list(client.labels.list(curated.dataset.id)):
        client.labels.delete(curated.dataset.id, labels.name)


def verdict(labels: Sequence[str] | None, concept: str) -> str | None:
    if labels is None:
        return None
    return "unknown" if concept not in CLASSES else "hit" if concept in labels else "false"


def check(archive: Archive, labels: Mapping[str, Sequence[str]] = LABELS) -> None:
    own = labels.get(archive.key)
    concepts = {concept.concept for concept in archive.concepts}
    assert [concept.verdict for concept in archive.concepts] == [
        verdict(own, concept.concept) for concept in archive.concepts
    ]
    assert archive.missed == (None if own is None else sorted(set(own) - concepts))


def test_labels_are_kept_listed_and_forgotten(client: CocuClient, curated: Curated) -> None:
    labels = client.labels.get(curated.dataset.id, NAME)
    assert (labels.images, labels.classes, labels.matched) == (5, len(CLASSES), 5)
    assert (labels.without_sample, labels.ambiguous, labels.not_matched) == (0, 0, [])
    assert labels.label_map is None
    other = client.labels.put(curated.dataset.id, "another", labels={"elsewhere": ["dog"], "plain": ["dog"]})
    assert (other.matched, other.without_sample, other.not_matched) == (1, 1, ["elsewhere"])
    assert [kept.name for kept in client.labels.list(curated.dataset.id, page_size=1)] == ["another", NAME]
    client.labels.delete(curated.dataset.id, "another")
    client.labels.delete(curated.dataset.id, "another")
    assert [kept.name for kept in client.labels.list(curated.dataset.id)] == [NAME]
    with pytest.raises(NotFoundError):
        client.labels.get(curated.dataset.id, "another")


def without_verdicts(archive: Archive) -> Archive:
    concepts = [concept.model_copy(update={"verdict": None}) for concept in archive.concepts]
    return archive.model_copy(update={"missed": None, "concepts": concepts})


def test_every_archive_has_the_verdicts_of_its_labels(client: CocuClient, curated: Curated) -> None:
    archives = list(client.archives.list(curated.curation.id, labels=NAME))
    assert [archive.key for archive in archives] == list(CAPTIONS)
    for archive in archives:
        check(archive)
        check(client.archives.get(curated.curation.id, archive.key, labels=NAME))
    given = {concept.verdict for archive in archives for concept in archive.concepts}
    assert given == {"hit", "false", None}
    missed = {label for archive in archives for label in archive.missed or ()}
    assert "zeppelin" in missed
    plain = list(client.archives.list(curated.curation.id))
    assert all(archive.missed is None for archive in plain)
    assert {concept.verdict for archive in plain for concept in archive.concepts} == {None}
    assert [without_verdicts(archive) for archive in archives] == plain


def test_concepts_that_nobody_looked_for_are_unknown(client: CocuClient, curated: Curated) -> None:
    client.labels.put(curated.dataset.id, "few", labels={"plain": ["tree"], "last": ["tree"]})
    for archive in client.archives.list(curated.curation.id, labels="few"):
        for concept in archive.concepts:
            expected = None if archive.key not in {"plain", "last"} else "unknown"
            if expected and concept.concept == "tree":
                expected = "hit"
            assert concept.verdict == expected


@pytest.mark.parametrize("choice", ["hit", "false", "missed"])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"added": True},
        {"added": False},
        {"min_score": 0.0},
        {"added": True, "min_score": -1.5},
        {"concept": "cat"},
        {"concept": ["dog", "trees"]},
        {"concept": "cat", "added": True},
    ],
)
def test_a_verdict_selects_what_the_archives_say(
    client: CocuClient, curated: Curated, choice: str, filters: dict[str, object]
) -> None:
    asked = [filters["concept"]] if isinstance(filters.get("concept"), str) else filters.get("concept", [])
    assert isinstance(asked, list)
    names = [name.rstrip("s") for name in asked]
    expected = []
    for archive in client.archives.list(curated.curation.id, labels=NAME):
        meeting = [
            concept.concept
            for concept in archive.concepts
            if filters.get("added") in (None, concept.added)
            and concept.score >= filters.get("min_score", -1e9)  # type: ignore[operator]
            and choice in {"missed", concept.verdict}
        ]
        fits = set(names) <= set(meeting) if names else bool(meeting)
        if choice == "missed":
            fits = bool(archive.missed) and (fits or not filters)
        if fits:
            expected.append(archive.key)
    selection = {"labels": NAME, "verdict": choice, **filters}
    listed = [archive.key for archive in client.archives.list(curated.curation.id, page_size=2, **selection)]  # type: ignore[arg-type]
    assert listed == expected
    assert client.archives.facets(curated.curation.id, **selection).total == len(expected)  # type: ignore[arg-type]
    for position, key in enumerate(expected):
        adjacent = client.archives.adjacent(curated.curation.id, key, **selection)  # type: ignore[arg-type]
        assert (adjacent.position, adjacent.total) == (position + 1, len(expected))
    ordered = client.archives.list(curated.curation.id, order="-gain", **selection)  # type: ignore[arg-type]
    assert sorted(archive.key for archive in ordered) == sorted(expected)


def test_cards_say_the_same(client: CocuClient, curated: Curated) -> None:
    for card in client.archives.cards(curated.curation.id, labels=NAME, concept="cat"):
        archive = client.archives.get(curated.curation.id, card.key, labels=NAME)
        verdicts = {concept.concept: concept.verdict for concept in archive.concepts}
        assert card.missed == archive.missed
        assert [asked.verdict for asked in card.asked] == [verdicts["cat"]]
        assert [best.verdict for best in card.best_added] == [
            verdicts[best.concept] for best in card.best_added
        ]


def test_labels_alone_select_nothing(client: CocuClient, curated: Curated) -> None:
    with_labels = client.archives.facets(curated.curation.id, labels=NAME)
    assert with_labels == client.archives.facets(curated.curation.id)


def test_coco_instances_are_read_with_their_map(client: CocuClient, curated: Curated) -> None:
    instances = CocoInstances.model_validate(
        {
            "images": [{"id": 7, "file_name": "plain.jpg"}, {"id": 8, "file_name": "x/last.png"}],
            "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "dining table"}],
            "annotations": [
                {"image_id": 7, "category_id": 1},
                {"image_id": 8, "category_id": 2},
                {"image_id": 8, "caption": "a car"},
            ],
        }
    )
    labels = client.labels.put(curated.dataset.id, "coco", instances=instances)
    assert (labels.label_map, labels.matched, labels.classes) == ("coco", 2, 2)
    plain = client.archives.get(curated.curation.id, "plain", labels="coco")
    verdicts = {concept.concept: concept.verdict for concept in plain.concepts}
    assert verdicts["dog"] == "hit"
    assert set(verdicts.values()) <= {"hit", "unknown"}
    assert client.archives.get(curated.curation.id, "last", labels="coco").missed == ["dining table"]
    # The same as if they were sent with the evaluation.
    sent = client.evaluations.create(curated.curation.id, instances=instances)
    assert client.evaluations.create(curated.curation.id, kept="coco") == sent
    assert sent.details["annotations_without_category"] == 1


def test_an_evaluation_may_name_kept_labels(client: CocuClient, curated: Curated) -> None:
    sent = client.evaluations.create(curated.curation.id, labels=LABELS)
    assert client.evaluations.create(curated.curation.id, kept=NAME) == sent
    mapped = client.evaluations.create(curated.curation.id, kept=NAME, label_map="coco")
    assert mapped == client.evaluations.create(curated.curation.id, labels=LABELS, label_map="coco")
    with pytest.raises(InvalidInputError, match=r"body\.kept"):
        client.evaluations.create(curated.curation.id, kept="none-such")


def test_other_labels_under_the_name_give_other_verdicts(
    client: CocuClient, http: httpx.Client, server: LocalServer, curated: Curated
) -> None:
    url = f"/v1/curations/{curated.curation.id}/archives/plain"
    first = http.get(url, params={"labels": NAME})
    tag = {"If-None-Match": first.headers["etag"]}
    again = http.get(url, params={"labels": NAME}, headers=tag)
    assert (again.status_code, again.headers["cache-control"]) == (304, "private, no-cache")
    assert first.headers["cache-control"] == "private, no-cache"
    assert "immutable" in http.get(url).headers["cache-control"]
    folder = server.platform.settings.data_folder / "objects" / "datasets" / curated.dataset.id / "labels"
    documents = set(folder.iterdir())
    client.labels.put(curated.dataset.id, NAME, labels={"plain": ["cat"]})
    after = http.get(url, params={"labels": NAME}, headers=tag)
    assert after.status_code == 200
    verdicts = {concept["concept"]: concept["verdict"] for concept in after.json()["concepts"]}
    assert verdicts["dog"] == "unknown"
    # Nothing of the labels before is left.
    assert len(set(folder.iterdir()) & documents) == 0
    client.labels.put(curated.dataset.id, NAME, labels=LABELS)
    for archive in client.archives.list(curated.curation.id, labels=NAME):
        check(archive)


def test_verdicts_are_computed_again_where_their_files_are_lost(
    client: CocuClient, server: LocalServer, curated: Curated
) -> None:
    check(client.archives.get(curated.curation.id, "plain", labels=NAME))
    platform = server.platform
    folder = f"curations/{curated.curation.id}/labels"
    for path in platform.objects.list(folder):
        if not path.endswith("classes.arrow"):
            platform.objects.delete(path)
    server._app.state.verdicts._shards._values.clear()
    for archive in client.archives.list(curated.curation.id, labels=NAME):
        check(archive)


def test_a_check_of_the_platform_knows_labels_and_verdicts(
    client: CocuClient, server: LocalServer, curated: Curated
) -> None:
    check(client.archives.get(curated.curation.id, "plain", labels=NAME))
    (document,) = server.platform.objects.list(f"datasets/{curated.dataset.id}/labels")
    verdicts = server.platform.objects.list(f"curations/{curated.curation.id}/labels")
    looked_at = {document, *verdicts}
    assert {finding.path for finding in findings(server)} & looked_at == set()
    for path in looked_at:
        flip(server.platform, path)
    found = {finding.path: finding for finding in findings(server) if finding.path in looked_at}
    assert found.keys() == looked_at
    assert {path for path, finding in found.items() if finding.remedy == CACHED} == set(verdicts)


def findings(server: LocalServer) -> list[Finding]:
    looking = IntegrityCheck(server.platform)
    looking.list_objects()
    return list(looking.findings())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"labels": {"plain": "dog"}}, "body.labels.plain"),
        ({"labels": {}, "instances": {}}, "body.instances.images"),
        ({"labels": {"plain": ["dog"]}, "label_map": "none-such"}, "body.label_map"),
        ({"labels": {"plain": ["dog"]}, "label_map": 5}, "body.label_map"),
        ({"kept": NAME}, "body.kept"),
        ({"labels": {"plain": ["dog"]}, "more": 1}, "body.more"),
    ],
)
def test_labels_that_are_none_are_refused(
    http: httpx.Client, client: CocuClient, curated: Curated, body: dict[str, object], field: str
) -> None:
    before = client.labels.get(curated.dataset.id, NAME)
    refused = http.put(f"/v1/datasets/{curated.dataset.id}/labels/{NAME}", json=body)
    assert refused.status_code == 422
    assert field in [error["field"] for error in refused.json()["errors"]]
    assert client.labels.get(curated.dataset.id, NAME) == before


@pytest.mark.parametrize("name", ["-x", ".x", "a b", "é", "x" * 65, "a%2Fb", "<b>"])
def test_names_are_short_and_plain(http: httpx.Client, curated: Curated, name: str) -> None:
    url = f"/v1/datasets/{curated.dataset.id}/labels/{name}"
    assert http.put(url, json={"labels": {"plain": ["dog"]}}).status_code in {404, 422}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"verdict": "hit"}, "query.labels"),
        ({"labels": "none-such"}, "query.labels"),
        ({"labels": NAME, "verdict": "unknown"}, "query.verdict"),
        ({"labels": "x" * 65}, "query.labels"),
        ({"labels": "\0"}, "query.labels"),
    ],
)
def test_verdicts_of_nothing(http: httpx.Client, curated: Curated, query: dict[str, str], field: str) -> None:
    for path in ("archives", "facets", "archives/plain/adjacent"):
        refused = http.get(f"/v1/curations/{curated.curation.id}/{path}", params=query)
        assert refused.status_code == 422
        assert field in [error["field"] for error in refused.json()["errors"]]


def test_many_classes_are_refused(
    client: CocuClient, curated: Curated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cocu.api.label_matches.MAX_CLASSES", 3)
    with pytest.raises(InvalidInputError, match="distinct labels"):
        client.labels.put(curated.dataset.id, "many", labels=LABELS)


@pytest.mark.parametrize(("field", "longest"), [("name", 400), ("file_name", 4096)])
def test_names_of_a_coco_file__are_as_long_as_the_document_says(
    http: httpx.Client, curated: Curated, field: str, longest: int
) -> None:
    """Also of a category that no annotation has."""
    for length, status in ((longest, 201), (longest + 1, 422)):
        names = {"name": "dog", "file_name": "plain.jpg", field: "x" * length}
        instances = {
            "images": [{"id": 1, "file_name": names["file_name"]}],
            "annotations": [],
            "categories": [{"id": 1, "name": names["name"]}],
        }
        path = f"/v1/datasets/{curated.dataset.id}/labels/long-{field}-{length}"
        answer = http.put(path, json={"instances": instances})
        assert answer.status_code == status, answer.text
