from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.client.models import VocabularyCreate


def test_shipped__is_there_without_being_made(client: CocuClient) -> None:
    (shipped,) = [each for each in client.vocabularies.list() if each.source == "shipped"]
    assert shipped.concepts >= 2000
    assert client.vocabularies.get(shipped.id) == shipped
    assert client.vocabularies.shipped().id == shipped.id


def test_shipped__without_benchmarks_has_none_of_their_names(client: CocuClient) -> None:
    left = client.vocabularies.shipped(without=["voc", "coco"])
    named = {each.benchmark: each.named for each in client.vocabularies.overlap(left.id)}
    assert named["voc"] == named["coco"] == 0
    assert named["lvis"] > 0


def test_from_file__lines_or_document(client: CocuClient, tmp_path: Path) -> None:
    lines = tmp_path / "mine.txt"
    lines.write_text("fire hydrant = hydrant\ndog\n", encoding="utf-8")
    made = client.vocabularies.from_file(lines)
    concepts = {each.name: each.forms for each in client.vocabularies.concepts(made.id)}
    assert set(concepts) == {"dog", "fire hydrant"}
    assert "hydrants" in concepts["fire hydrant"]
    assert client.vocabularies.from_file(lines) == made
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
    made = client.vocabularies.mine(curated.dataset.id, minimum_count=2)
    assert {"dog", "bench", "tree"} <= {each.phrase for each in made.phrases}
    assert all(each.count >= 2 for each in made.phrases)
    assert client.vocabularies.mine(curated.dataset.id, minimum_count=2).id == made.id
    with pytest.raises(NotFoundError):
        client.vocabularies.mine("none-such")


def test_request__fields_that_contradict_each_other_fail_before_sending() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        VocabularyCreate(text="dog", shipped=True)
