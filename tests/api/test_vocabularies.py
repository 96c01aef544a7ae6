from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.api.conftest import Curated

from cocu.api.server import LocalServer
from cocu.client import CocuClient, ConflictError, InvalidInputError, NotFoundError
from cocu.curation.vocabulary import Vocabulary
from cocu.pipeline import concept_vectors
from cocu.schemas import VocabularyCreate
from cocu.vectors.concepts import ConceptVectors


def test_shipped__is_there_without_being_made(client: CocuClient) -> None:
    (shipped,) = [vocabulary for vocabulary in client.vocabularies.list() if vocabulary.source == "shipped"]
    assert shipped.concepts >= 2000
    assert client.vocabularies.get(shipped.id) == shipped
    assert client.vocabularies.shipped().id == shipped.id


def test_shipped__without_benchmarks_has_none_of_their_names(client: CocuClient) -> None:
    left = client.vocabularies.shipped(without=["voc", "coco"])
    named = {overlap.benchmark: overlap.named for overlap in client.vocabularies.overlap(left.id)}
    assert named["voc"] == named["coco"] == 0
    assert named["lvis"] > 0


def test_from_file__lines_or_document(client: CocuClient, tmp_path: Path) -> None:
    lines = tmp_path / "mine.txt"
    lines.write_text("fire hydrant = hydrant\ndog\n", encoding="utf-8")
    vocabulary = client.vocabularies.from_file(lines)
    concepts = {concept.name: concept.forms for concept in client.vocabularies.concepts(vocabulary.id)}
    assert set(concepts) == {"dog", "fire hydrant"}
    assert "hydrants" in concepts["fire hydrant"]
    assert client.vocabularies.from_file(lines) == vocabulary
    document = tmp_path / "mine.json"
    document.write_text(
        json.dumps({"name": "j", "concepts": ["cat", {"name": "sofa", "synonyms": ["couch"]}]})
    )
    assert client.vocabularies.from_file(document).concepts == 2


def test_from_file__a_changed_file_is_a_new_version(client: CocuClient, tmp_path: Path) -> None:
    file = tmp_path / "versions.txt"
    file.write_text("dog\n")
    first = client.vocabularies.from_file(file)
    file.write_text("dog\ncat\n")
    second = client.vocabularies.from_file(file)
    assert first.name == second.name
    assert first.version != second.version


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"shipped": True, "text": "dog"},
        {"text": "= nothing"},
        {"text": ""},
        {"text": "# only a comment"},
        {"text": "dog\ndog"},
        {"text": "!!!"},
        {"document": "{"},
        {"document": "[]"},
        {"document": '{"concepts": 5}'},
        {"document": '{"concepts": ["dog"], "templates": ["no place"]}'},
        {"document": '{"concepts": ' + "[" * 5000 + "]" * 5000 + "}"},
        {"shipped": True, "without": ["no benchmark"]},
        {"text": "dog", "name": ""},
        {"text": "dog", "surprise": 1},
        {"mined": {"dataset": "x", "minimum_count": 0}},
    ],
)
def test_create__a_wrong_vocabulary_is_refused(http: httpx.Client, body: dict[str, object]) -> None:
    answer = http.post("/v1/vocabularies", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ('{"concepts": {"pets": ["dog"], "pets": ["cat"]}}', "'pets' is there twice"),
        ('{"concepts": ["dog"], "name": NaN}', "NaN is no number"),
        (f'{{"concepts": [{2**70}]}}', "must be a text"),
    ],
    ids=["twice", "NaN", "large"],
)
def test_create__says_what_a_document_has_that_would_be_lost(
    http: httpx.Client, document: str, words: str
) -> None:
    (error,) = http.post("/v1/vocabularies", json={"document": document}).json()["errors"]
    assert (error["field"], words in error["problem"]) == ("body.document", True)


@pytest.mark.parametrize(
    ("names", "encoding"),
    [
        ("красный автомобиль\nзелёное дерево\n", "cp1251"),
        ("forêt brûlée\nmâchoire\n", "cp1252"),
        ("消防车\n红色的消防栓\n", "gb18030"),
        ("Σκύλος\nδέντρο\n", "utf-16"),
    ],
)
def test_from_file__in_the_encoding_that_fits(
    client: CocuClient, tmp_path: Path, names: str, encoding: str
) -> None:
    lines, document = tmp_path / f"{encoding}.txt", tmp_path / f"{encoding}.json"
    lines.write_bytes(names.encode(encoding))
    stated = {"name": f"document {encoding}", "concepts": names.split()}
    document.write_bytes(json.dumps(stated, ensure_ascii=False).encode(encoding))
    of_lines, of_document = client.vocabularies.from_file(lines), client.vocabularies.from_file(document)
    assert {concept.name for concept in client.vocabularies.concepts(of_lines.id)} == set(names.splitlines())
    assert {concept.name for concept in client.vocabularies.concepts(of_document.id)} == set(names.split())


def test_create__says_which_line_is_wrong(client: CocuClient, tmp_path: Path) -> None:
    file = tmp_path / "wrong.txt"
    file.write_text("dog\n= cat\n")
    with pytest.raises(InvalidInputError, match="line 2"):
        client.vocabularies.from_file(file)


def test_create__a_name_and_version_stand_for_one_vocabulary(http: httpx.Client) -> None:
    for concepts, status in ((["dog"], 201), (["dog"], 200), (["cat"], 409)):
        document = json.dumps({"name": "stated", "version": "7", "concepts": concepts})
        assert http.post("/v1/vocabularies", json={"document": document}).status_code == status


def test_mine__finds_what_captions_name(client: CocuClient, curated: Curated) -> None:
    vocabulary = client.vocabularies.mine(curated.dataset.id, minimum_count=2)
    assert {"dog", "bench", "tree"} <= {phrase.phrase for phrase in vocabulary.phrases}
    assert all(phrase.count >= 2 for phrase in vocabulary.phrases)
    assert client.vocabularies.mine(curated.dataset.id, minimum_count=2).id == vocabulary.id
    with pytest.raises(NotFoundError):
        client.vocabularies.mine("none-such")


def test_request__fields_that_contradict_each_other_fail_before_sending() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        VocabularyCreate(text="dog", shipped=True)


LINES = "fire hydrant = hydrant, red hydrant\nbow (weapon)\nÉclair\nEclipse\nt-shirt\n消防车\ndog = hound\n"


def test_document__sent_again_is_the_same_vocabulary(client: CocuClient, curated: Curated) -> None:
    own = client.vocabularies.from_text(LINES, name="sent again")
    client.feedback.merge(own.id, "dog", "Éclair")
    merged = client.vocabularies.next_version(own.id)
    mined = client.vocabularies.mine(curated.dataset.id, name="mined again", minimum_count=1)
    for vocabulary in (own, merged, mined, client.vocabularies.shipped()):
        document = client.vocabularies.document(vocabulary.id)
        again = client.vocabularies.from_document(document)
        assert (again.id, again.hash) == (vocabulary.id, vocabulary.hash)
        assert Vocabulary.from_json(document).hash == vocabulary.hash


def test_document__as_lines_makes_the_same_concepts(client: CocuClient) -> None:
    own = client.vocabularies.from_text(LINES, name="as lines")
    text = client.vocabularies.document(own.id, format="text")
    assert "dog = hound\n" in text
    again = client.vocabularies.from_text(text, name="as lines again")
    assert list(client.vocabularies.concepts(again.id)) == list(client.vocabularies.concepts(own.id))
    stated = {"name": "with templates", "concepts": ["dog"], "templates": ["a drawing of a {}"]}
    drawn = client.vocabularies.from_document(json.dumps(stated))
    with pytest.raises(ConflictError, match=r"a drawing of a {}.*take it as JSON"):
        client.vocabularies.document(drawn.id, format="text")


def test_document__is_asked_for_once(http: httpx.Client, client: CocuClient) -> None:
    own = client.vocabularies.from_text("dog\n", name="asked for once")
    path = f"/v1/vocabularies/{own.id}/document"
    tags = {format_name: http.get(path, params={"format": format_name}) for format_name in ("json", "text")}
    assert tags["json"].headers["content-type"] == "application/json"
    assert tags["text"].headers["content-type"] == "text/plain; charset=utf-8"
    assert tags["json"].headers["etag"] != tags["text"].headers["etag"]
    for answer in tags.values():
        again = http.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "private, no-cache")
    assert http.get(path, params={"format": "yaml"}).status_code == 422


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("ecl", ["Eclipse", "Éclair"]),
        ("ÉCL", ["Eclipse", "Éclair"]),
        ("  fire   hy", ["fire hydrant"]),
        ("T-S", ["t-shirt"]),
        ("bow (w", ["bow (weapon)"]),
        ("消防", ["消防车"]),
        ("hound", []),
        ("zzz", []),
    ],
)
def test_concepts__by_how_they_begin(client: CocuClient, prefix: str, names: list[str]) -> None:
    own = client.vocabularies.from_text(LINES, name="begins")
    for size in (1, 50):
        listed = client.vocabularies.concepts(own.id, prefix=prefix, page_size=size)
        assert [concept.name for concept in listed] == names


def test_delete__where_no_curation_uses_it(client: CocuClient, http: httpx.Client, curated: Curated) -> None:
    own = client.vocabularies.from_text("dog\ncat\n", name="unwanted")
    other = client.vocabularies.from_text("dog\nbird\n", name="unwanted")
    client.feedback.block(own.id, "dog")
    with pytest.raises(NotFoundError):
        client.vocabularies.delete("unwanted")  # a name: which version would it be?
    client.vocabularies.delete(own.id)
    for call in (client.vocabularies.get, client.vocabularies.document, client.vocabularies.delete):
        with pytest.raises(NotFoundError):
            call(own.id)
    assert own.id not in {vocabulary.id for vocabulary in client.vocabularies.list()}
    assert client.vocabularies.get("unwanted") == other
    assert list(client.feedback.list(client.vocabularies.from_text("dog\ncat\n", name="unwanted").id)) == []
    body = {"vocabulary": own.id}
    client.vocabularies.delete(own.id)
    assert http.post(f"/v1/datasets/{curated.dataset.id}/curations", json=body).status_code == 422


def test_delete__takes_the_points_of_the_concepts(client: CocuClient, server: LocalServer) -> None:
    own = client.vocabularies.from_text("dog\ncat\n", name="with points")
    platform, points = server.platform, ConceptVectors(server.platform.vectors)
    names = {"tenant": "default", "vocabulary": own.id}
    vectors_VD = np.eye(2, 8, dtype=np.float32)
    loaded = platform.vocabularies.of_hash(own.hash)
    concept_vectors.put(
        platform, loaded, vectors_VD, tenant="default", vocabulary_id=own.id, encoder_hash="e" * 64
    )
    assert points.count(encoder="e" * 64, **names) == 2
    client.vocabularies.delete(own.id)
    assert points.count(encoder="e" * 64, **names) == 0


def test_delete__not_what_curations_use_nor_the_shipped_one(client: CocuClient, curated: Curated) -> None:
    with pytest.raises(ConflictError, match=r"curations? uses? this vocabulary"):
        client.vocabularies.delete(curated.curation.vocabulary)
    with pytest.raises(ConflictError, match="shipped vocabulary cannot be deleted"):
        client.vocabularies.delete(client.vocabularies.shipped().id)
    assert client.vocabularies.get(curated.curation.vocabulary).concepts
