"""Concepts of a curation, and what is different between two."""

from __future__ import annotations

from collections.abc import Iterator

from cocu.client.models import (
    Comparison,
    ConceptChange,
    ConceptDetail,
    ConceptFrequency,
    ConceptOrder,
    SampleChange,
)
from cocu.client.transport import Transport, segment


class Concepts:
    """`client.concepts`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, curation: str, *, order: ConceptOrder | None = None, limit: int | None = None
    ) -> Iterator[ConceptFrequency]:
        """The concepts that captions or archives name, most archives first, fetched in pages of `limit`."""
        path = f"/v1/curations/{segment(curation)}/concepts"
        return self._transport.pages(ConceptFrequency, path, params={"order": order, "limit": limit})

    def get(self, curation: str, concept: str, *, limit: int | None = None) -> ConceptDetail:
        """One concept, by its name or another form; `limit` of co-occurring concepts and of samples."""
        path = f"/v1/curations/{segment(curation)}/concepts/{segment(concept)}"
        return self._transport.get(ConceptDetail, path, params={"limit": limit})


class Comparisons:
    """`client.comparisons`: a curation (first) and another of the same dataset (second)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, first: str, second: str) -> Comparison:
        """What archives gained and lost, in numbers."""
        return self._transport.get(Comparison, _path(first, second))

    def concepts(self, first: str, second: str, *, limit: int | None = None) -> Iterator[ConceptChange]:
        """The concepts that archives gained or lost, those with the most changes first."""
        path = f"{_path(first, second)}/concepts"
        return self._transport.pages(ConceptChange, path, params={"limit": limit})

    def samples(self, first: str, second: str, *, limit: int | None = None) -> Iterator[SampleChange]:
        """The samples whose archives changed, those that changed most first."""
        path = f"{_path(first, second)}/samples"
        return self._transport.pages(SampleChange, path, params={"limit": limit})


def _path(first: str, second: str) -> str:
    return f"/v1/curations/{segment(first)}/comparisons/{segment(second)}"
