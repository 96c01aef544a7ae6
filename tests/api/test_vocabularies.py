from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.schemas import VocabularyCreate


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
