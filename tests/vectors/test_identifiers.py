"""Numbers of payloads: what is written into one can be read from it, and filters find just that."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cocu.vectors import Archives, Vectors, identifiers
from cocu.vectors.identifiers import HIGHEST_BAND, LOWEST_BAND, MAX_CONCEPTS

CURATIONS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
CONCEPTS = st.integers(0, MAX_CONCEPTS - 1)
BANDS = st.integers(LOWEST_BAND, HIGHEST_BAND)


def number(curation: str, concept: int, band: int, added: bool) -> int:
    of = np.array([concept]), np.array([band]), np.array([added])
    return int(identifiers.archive_numbers(curation, *of)[0])


@given(CURATIONS, CONCEPTS, BANDS, st.booleans())
def test_numbers__say_what_was_written(curation: str, concept: int, band: int, added: bool) -> None:
    written = number(curation, concept, band, added)
    assert 0 <= written < 2**63
    assert identifiers.read_archive_number(written) == (identifiers.curation_number(curation), concept, band)


@given(CURATIONS, CONCEPTS, BANDS, st.booleans(), BANDS, st.booleans())
def test_filters__match_the_numbers_at_or_above_their_score(
    curation: str, concept: int, band: int, added: bool, min_score: int, only_added: bool
) -> None:
    matching = identifiers.matching_numbers(curation, concept, min_score, added=only_added)
    matches = number(curation, concept, band, added) in matching
    assert matches == (band >= min_score and (added or not only_added))
    assert number(curation, (concept + 1) % MAX_CONCEPTS, band, added) not in matching
    assert number(curation + "x", concept, band, added) not in matching


def test_concepts__beyond_what_a_number_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="16,777,216"):
        number("c", MAX_CONCEPTS, 0, True)


def test_curations__that_cannot_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifiers, "curation_number", len)
    archives = [
        Archives(name, np.array([0, 1]), np.array([1]), np.array([0.0]), np.array([True]))
        for name in ("one", "two")
    ]
    vectors = Vectors.open(":memory:")
    vectors.ensure_collection(encoder="e", dimensions=2)
    with pytest.raises(ValueError, match="cannot tell apart"):
        vectors.upsert_samples(
            encoder="e",
            tenant="t",
            dataset="d",
            keys=["a"],
            first_row=0,
            embeddings_ND=np.ones((1, 2), np.float16),
            archives=archives,
        )
    vectors.close()


@given(st.text(), st.text(min_size=1), st.lists(st.text(max_size=20), max_size=5))
def test_ids__are_uuids_of_version_5(tenant: str, owner: str, keys: list[str]) -> None:
    assume(tenant)
    start = f"{len(tenant)}/{tenant}/{len(owner)}/{owner}/"
    namespace = uuid.UUID("6f0d3c2e-6d35-5a3b-9c53-0e7d2b8f4a11")
    assert identifiers.point_ids(tenant, owner, keys) == [str(uuid.uuid5(namespace, start + k)) for k in keys]
