"""`cocu vocabulary block`, `merge`, … and `cocu effect` against a running platform, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.curated_vocabulary import curated_vocabulary
from typer.testing import CliRunner

from cocu.cli.application import app
from cocu.client import CocuClient, ConflictError, InvalidInputError, NotFoundError


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The address of a platform, a vocabulary, and a curation with it."""
    with curated_vocabulary(
        tmp_path_factory.mktemp("platform"), "dog = hound\ncat\ntree\nbench\n"
    ) as curated:
        yield curated


def cocu(url: str, *arguments: str) -> str:
    outcome = CliRunner().invoke(app, arguments, env={"COCU_SERVER": url, "COLUMNS": "120"})
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_from_an_effect_to_the_next_version(platform: tuple[str, str, str]) -> None:
    url, vocabulary, curation = platform
    with CocuClient(url) as client:
        effect = client.concepts.effect(curation, "block", "dog")
    shown = cocu(url, "effect", curation, "block", "hound")
    assert f"{effect.archives} archives changed ({effect.added} where it was added)" in shown
    assert json.loads(cocu(url, "effect", curation, "merge", "dog", "cat", "--json"))["into"] == "cat"

    assert "dog: block" in cocu(url, "vocabulary", "block", vocabulary, "hound", "--author", "Ana")
    said = cocu(url, "vocabulary", "merge", vocabulary, "dog", "cat", "--author", "Ben", "--note", "why not")
    assert "dog: merge into cat" in said
    assert "before: block by Ana" in said
    cocu(url, "vocabulary", "allow", vocabulary, "bench")
    cocu(url, "vocabulary", "block", vocabulary, "tree")
    cocu(url, "vocabulary", "undo", vocabulary, "tree")
    listed = cocu(url, "vocabulary", "feedback", vocabulary)
    assert all(text in listed for text in ("merge into cat", "Ben", "why not", "allow"))
    assert "tree" not in listed

    identity, counts = cocu(url, "vocabulary", "next", vocabulary).splitlines()
    assert counts == "4 concepts before, 3 now"
    with CocuClient(url) as client:
        forms = {concept.name: concept.forms for concept in client.vocabularies.concepts(identity)}
    assert forms.keys() == {"bench", "cat", "tree"}
    assert {"dog", "hound"} <= set(forms["cat"])
    assert "nothing to change" in cocu(url, "vocabulary", "next", identity)


def test_a_concept_in_detail(platform: tuple[str, str, str]) -> None:
    url, _, curation = platform
    shown = cocu(url, "concepts", curation, "dog")
    assert "written as dog, dogs, hound, hounds" in shown
    assert "rank by captions 1, by archives" in shown


def test_feedback_about_nothing(platform: tuple[str, str, str]) -> None:
    url, vocabulary, curation = platform
    with pytest.raises(InvalidInputError, match="no such concept"):
        cocu(url, "vocabulary", "block", vocabulary, "submarine")
    with pytest.raises(InvalidInputError, match="no such concept"):
        cocu(url, "effect", curation, "block", "submarine")


def test_a_vocabulary_of_the_server_is_shown_and_deleted(
    platform: tuple[str, str, str], tmp_path: Path
) -> None:
    url, vocabulary, _ = platform
    file = tmp_path / "again.json"
    file.write_text(cocu(url, "vocabulary", "show", vocabulary, "--document"))
    with CocuClient(url) as client:
        assert client.vocabularies.from_file(file).id == vocabulary
        unwanted = client.vocabularies.from_text("zebra = quagga\n", name="unwanted").id
    assert cocu(url, "vocabulary", "show", str(file), "--document") == file.read_text()
    assert "zebra: quagga, quaggas, zebra, zebras" in cocu(url, "vocabulary", "show", "unwanted")
    assert cocu(url, "vocabulary", "show", "unwanted", "--document").startswith("{")
    cocu(url, "vocabulary", "delete", unwanted)
    with pytest.raises(NotFoundError):
        cocu(url, "vocabulary", "show", "unwanted")
    with pytest.raises(ConflictError, match="1 curation uses this vocabulary"):
        cocu(url, "vocabulary", "delete", vocabulary)
    with pytest.raises(FileNotFoundError):
        cocu(url, "vocabulary", "show", "missing.txt")
