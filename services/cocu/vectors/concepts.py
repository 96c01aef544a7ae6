"""The vectors of concepts: a collection per encoder, where every point belongs to a tenant's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cocu.vectors import identifiers
from cocu.vectors.backend import Floats, Owner, Payload, Points
from cocu.vectors.store import Vectors


class Frequency(NamedTuple):
    """How often a curation's captions (before) and archives (after) name a concept.

    added: archives that hold it though the image's own caption does not name it.
    """

    captions: int
    archives: int
    added: int


@dataclass(frozen=True)
class ConceptPoint:
    """A concept: its number in the vocabulary, its name, its surface forms.

    frequencies: by the version of a curation, a name of letters, digits, `_` and `-`.
    """

    number: int
    name: str
    forms: Sequence[str]
    frequencies: Mapping[str, Frequency] = field(default_factory=dict)


@dataclass(frozen=True)
class NearConcept:
    """A concept that was found. frequency: in the curation asked for, None if the point lacks it.

    score: the cosine, in [-1, 1], of vectors that are kept as halves.
    """

    number: int
    name: str
    forms: tuple[str, ...]
    frequency: Frequency | None
    score: float


class ConceptVectors:
    """Concept vectors in the store of `Vectors`. Safe to use from many threads.

    Methods raise the errors of `Vectors`. A vocabulary never changes, so writing it again changes only
    frequencies.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def ensure_collection(self, *, encoder: str, dimensions: int) -> None:
        """Create the collection of an encoder (named by its hash), unless it exists.

        Raises ConflictError when it exists with other dimensions.
        """
        self._vectors._backend.ensure(identifiers.collection("concepts", encoder), dimensions)

    def upsert(
        self,
        *,
        encoder: str,
        tenant: str,
        vocabulary: str,
        concepts: Sequence[ConceptPoint],
        vectors_CD: Floats,
    ) -> None:
        """Insert or replace concepts. Raises ValueError for vectors that do not fit or are not finite."""
        if np.ndim(vectors_CD) != 2 or len(vectors_CD) != len(concepts):
            shape = np.shape(vectors_CD)
            raise ValueError(f"{len(concepts)} concepts and vectors of shape {shape} do not belong together")
        if not np.isfinite(vectors_CD).all():
            raise ValueError("vectors must be finite")
        collection, owner = _place(encoder, tenant, vocabulary)
        ids = identifiers.point_ids(tenant, vocabulary, (str(concept.number) for concept in concepts))
        backend = self._vectors._backend

        def send(start: int) -> None:
            part = slice(start, start + backend.batch)
            points = Points(
                ids=ids[part],
                vectors_ND=np.asarray(vectors_CD[part], np.float32),
                payloads=[_payload(concept) for concept in concepts[part]],
            )
            backend.upsert(collection, owner, points)

        self._vectors._side_by_side(send, range(0, len(concepts), backend.batch))

    def near(
        self,
        *,
        encoder: str,
        tenant: str,
        vocabulary: str,
        vector_D: Floats,
        limit: int,
        curation: str | None = None,
    ) -> list[NearConcept]:
        """Find the nearest concepts, nearest first, ties by number; none if the vocabulary has no points.

        curation: the version whose frequencies are returned.
        """
        collection, owner = _place(encoder, tenant, vocabulary)
        frequency = None if curation is None else _field(curation)
        matches = self._vectors._backend.search(
            collection,
            owner,
            np.asarray(vector_D, np.float32),
            (),
            limit=limit,
            offset=0,
            fields=["concept", "name", "forms", *([] if frequency is None else [frequency])],
        )
        concepts = [
            NearConcept(
                number=match.payload["concept"],
                name=match.payload["name"],
                forms=tuple(match.payload["forms"]),
                frequency=_frequency(match.payload, frequency),
                # Lengths of halves round: a vector may be nearer to itself than 1.
                score=min(1.0, max(-1.0, match.score)),
            )
            for match in matches
        ]
        return sorted(concepts, key=lambda concept: (-concept.score, concept.number))

    def count(self, *, encoder: str, tenant: str, vocabulary: str) -> int:
        """Count the points of a vocabulary."""
        return self._vectors._backend.count(*_place(encoder, tenant, vocabulary))

    def delete_vocabulary(self, *, tenant: str, vocabulary: str) -> None:
        """Delete a vocabulary's points from every collection of concepts."""
        identifiers.require_owner(tenant, vocabulary)
        self._vectors._backend.delete_owner("concepts", Owner(tenant, vocabulary))


def _place(encoder: str, tenant: str, vocabulary: str) -> tuple[str, Owner]:
    identifiers.require_owner(tenant, vocabulary)
    return identifiers.collection("concepts", encoder), Owner(tenant, vocabulary)


def _field(curation: str) -> str:
    """Return the field with a curation's frequencies. Each has its own, so that one can be read alone."""
    return f"frequency-{identifiers.require_curation(curation)}"


def _payload(concept: ConceptPoint) -> Payload:
    frequencies = {_field(curation): [*counts] for curation, counts in concept.frequencies.items()}
    return {"concept": concept.number, "name": concept.name, "forms": [*concept.forms], **frequencies}


def _frequency(payload: Payload, field: str | None) -> Frequency | None:
    counts = None if field is None else payload.get(field)
    return None if counts is None else Frequency(*counts)
