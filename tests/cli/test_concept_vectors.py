"""`cocu vocabulary near`, `merge-candidates` and `gaps` against a running platform, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.curated_vocabulary import curated_vocabulary
from typer.testing import CliRunner, Result

from cocu.cli.application import app
from cocu.cli.failures import CommandFailedError
from cocu.client import CocuClient, InvalidInputError


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The address of a platform, a vocabulary, and a curation with it of the dataset `pictures`."""
    with curated_vocabulary(
        tmp_path_factory.mktemp("platform"), "dog = hound\ncat\nboat\ndog boat\n"
    ) as curated:
        yield curated


def cocu(url: str, *arguments: object) -> Result:
    sent = {"COCU_SERVER": url, "COLUMNS": "120"}
    outcome = CliRunner().invoke(app, ["vocabulary", *(str(argument) for argument in arguments)], env=sent)
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome


def items(outcome: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def test_near__a_text_a_concept_and_a_sample(platform: tuple[str, str, str]) -> None:
    url, vocabulary, curation = platform
    by_text = items(cocu(url, "near", vocabulary, "dog", "--json"))
    assert by_text[0]["name"] == "dog"
    assert by_text[0]["similarity"] == pytest.approx(1.0)
    by_concept = items(cocu(url, "near", "words", "--concept", "hound", "--json"))
    assert {concept["name"] for concept in by_concept} == {"cat", "boat", "dog boat"}
    shown = cocu(url, "near", vocabulary, "--sample", "cat", "--dataset", "pictures", "--limit", 2).stdout
    assert len(shown.strip().splitlines()) == 3
    counted = cocu(url, "near", vocabulary, "dog", "--curation", curation, "--limit", 1).stdout
    assert "captions" in counted
    assert "hound" in counted
    assert "6" in counted


@pytest.mark.parametrize(
    "arguments", [(), ("dog", "--concept", "dog"), ("--sample", "cat"), ("dog", "--dataset", "pictures")]
)
def test_near__asks_for_exactly_one(platform: tuple[str, str, str], arguments: tuple[str, ...]) -> None:
    url, vocabulary, _ = platform
    with pytest.raises(CommandFailedError, match="give"):
        cocu(url, "near", vocabulary, *arguments)


def test_near__says_what_is_not_there(platform: tuple[str, str, str]) -> None:
    url, vocabulary, _ = platform
    with pytest.raises(InvalidInputError, match="no such concept"):
        cocu(url, "near", vocabulary, "--concept", "submarine")


def test_merge_candidates__are_pairs(platform: tuple[str, str, str]) -> None:
    url, vocabulary, curation = platform
    asked = ("merge-candidates", vocabulary, "--min-similarity", "-1", "--limit", 3)
    pairs = items(cocu(url, *asked, "--json"))
    assert len(pairs) == 3
    assert [pair["similarity"] for pair in pairs] == sorted(
        (pair["similarity"] for pair in pairs), reverse=True
    )
    shown = cocu(url, *asked, "--curation", curation).stdout
    assert pairs[0]["first"]["name"] in shown
    assert "archives" in shown


def test_gaps__are_phrases_of_the_captions(platform: tuple[str, str, str]) -> None:
    url, vocabulary, _ = platform
    asked = ("gaps", vocabulary, "pictures", "--max-similarity", "1")
    found = items(cocu(url, *asked, "--json"))
    assert [(gap["phrase"], gap["captions"]) for gap in found] == [("bench", 6)]
    assert "bench" in cocu(url, *asked).stdout
    assert "bench" not in cocu(url, *asked, "--min-captions", 7).stdout


def test_client__goes_through_pages(platform: tuple[str, str, str]) -> None:
    url, vocabulary, _ = platform
    with CocuClient(url) as client:
        pairs = list(client.vocabularies.merge_candidates(vocabulary, min_similarity=-1, page_size=2))
        assert len(pairs) == 6
        assert len(list(client.vocabularies.merge_candidates(vocabulary, min_similarity=-1, limit=4))) == 4
