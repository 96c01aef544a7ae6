"""Concepts of a curation, and the differences between two curations."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from cocu.client.record_batches import receive_batch
from cocu.client.transport import Transport, segment
from cocu.schemas import (
    Comparison,
    ConceptChange,
    ConceptDetail,
    ConceptFrequency,
    ConceptOrder,
    DrawSampler,
    Effect,
    FeedbackAction,
    SampleChange,
)

if TYPE_CHECKING:
    import pyarrow


class Concepts:
    """`client.concepts`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        curation: str,
        *,
        order: ConceptOrder | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[ConceptFrequency]:
        """The concepts that captions or archives name, at most `limit`; those in most archives first."""
        path = f"/v1/curations/{segment(curation)}/concepts"
        return self._transport.pages(
            ConceptFrequency, path, params={"order": order}, limit=limit, page_size=page_size
        )

    def table(self, curation: str, *, order: ConceptOrder | None = None) -> pyarrow.Table:
        """All of these concepts in one answer, which is quick where there are many; it needs pyarrow.

        Columns: concept, forms, captions, archives, added, captions_rank, archives_rank; a rank is null where
        the count is 0.
        """
        path = f"/v1/curations/{segment(curation)}/concepts"
        batch = receive_batch(self._transport, path, {"order": order})
        table: pyarrow.Table = import_module("pyarrow").Table.from_batches([batch])
        return table

    def get(self, curation: str, concept: str, *, limit: int | None = None) -> ConceptDetail:
        """One concept, by its name or another form; at most `limit` co-occurring concepts and samples."""
        path = f"/v1/curations/{segment(curation)}/concepts/{segment(concept)}"
        return self._transport.get(ConceptDetail, path, params={"limit": limit})

    def effect(
        self,
        curation: str,
        action: FeedbackAction,
        concept: str,
        *,
        into: str | None = None,
        concepts: int | None = None,
        sampler: DrawSampler | None = None,
        temperature: float | None = None,
    ) -> Effect:
        """What feedback about a concept would change in the archives and in a trainer's draws.

        into: of a merge, the concept that it becomes. concepts, sampler, temperature: of the draws, by
        default as in `client.batches.stream`. Nothing is stored.
        """
        return self._transport.get(
            Effect,
            f"/v1/curations/{segment(curation)}/effects",
            params={
                "action": action,
                "concept": concept,
                "into": into,
                "concepts": concepts,
                "sampler": sampler,
                "temperature": temperature,
            },
        )


class Comparisons:
    """`client.comparisons`: a curation (first) and another of the same dataset (second)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, first: str, second: str) -> Comparison:
        """How many concepts the archives gained and lost."""
        return self._transport.get(Comparison, _path(first, second))

    def concepts(
        self, first: str, second: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[ConceptChange]:
        """The concepts that archives gained or lost, at most `limit`; those with most changes first."""
        path = f"{_path(first, second)}/concepts"
        return self._transport.pages(ConceptChange, path, limit=limit, page_size=page_size)

    def samples(
        self, first: str, second: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[SampleChange]:
        """The samples whose archives changed, at most `limit`; those that changed most first."""
        path = f"{_path(first, second)}/samples"
        return self._transport.pages(SampleChange, path, limit=limit, page_size=page_size)


def _path(first: str, second: str) -> str:
    return f"/v1/curations/{segment(first)}/comparisons/{segment(second)}"
