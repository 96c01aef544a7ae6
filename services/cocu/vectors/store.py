"""The vectors of samples: what the platform asks of a vector store, whatever it is.

One collection per encoder holds the samples of all tenants, and every call names its tenant and dataset. A
point's id is made of tenant, dataset and key, so that doing a thing twice changes nothing and nobody can
address another's point. Writes are waited for: what a call has written, the next one finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu import machine
from cocu.vectors import identifiers
from cocu.vectors.backend import Backend, Condition, Floats, Owner, Payload, Points, VectorOptions
from cocu.vectors.identifiers import HIGHEST_BAND, LOWEST_BAND


@dataclass(frozen=True)
class Hit:
    """A sample that was found: its key, its global row in the snapshot, and the cosine similarity.

    score: in [-1, 1], of vectors that are kept as halves: the fourth digit may differ from the files'.
    """

    key: str
    row: int
    score: float


@dataclass(frozen=True)
class Archives:
    """The archives of N samples in one curation, as ragged arrays: those of sample n from offsets[n] on.

    concepts_C: numbers in the vocabulary, int. scores_C: float. added_C: whether the own caption lacks it.
    """

    curation: str
    offsets_N1: NDArray[np.integer[Any]]
    concepts_C: NDArray[np.integer[Any]]
    scores_C: Floats
    added_C: NDArray[np.bool_]


@dataclass(frozen=True)
class ArchivedConcept:
    """A filter: the archive in `curation` holds `concept` with `min_score` or more.

    concept: its number in the vocabulary; min_score: a whole number from LOWEST_BAND to HIGHEST_BAND.
    added: only where the sample's own caption does not name it.
    """

    curation: str
    concept: int
    min_score: int = LOWEST_BAND
    added: bool = False


class Vectors:
    """Sample vectors, one collection per encoder. Safe to use from many threads.

    Every method raises UnavailableError when the store does not answer, RefusedError where it refuses what
    it was asked, and ValueError for an empty tenant or dataset or for names other than letters, digits, `_`
    and `-` where encoders and curations are meant.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    def open(cls, location: str, *, options: VectorOptions | None = None) -> Vectors:
        """Open a folder (created if need be), ":memory:" or an http(s) URL, whose server may come up later.

        Raises UnavailableError when another process holds the folder.
        """
        # Loaded by name: a platform with a folder loads no client of a server, nor the other way round. A
        # module is a file, too, which cannot be read where no descriptor is left.
        with machine.translate_errors("open the vector store"):
            if location.startswith(("http://", "https://")):
                server = import_module("cocu.vectors.server").ServerStore
                return cls(server.open(location, options or VectorOptions()))
            edge = import_module("cocu.vectors.edge").EdgeStore
            if location == ":memory:":
                return cls(edge.in_memory())
            return cls(edge.open(Path(location.removeprefix("file://")).expanduser().absolute()))

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder of this platform."""
        return self._backend.is_local

    @property
    def lost(self) -> int:
        """How often the store has lost points, and logged it: the platform puts them in again."""
        return self._backend.lost

    def close(self) -> None:
        """Release the folder or the connection."""
        self._backend.close()

    def check(self, *, seconds: float = 1.0) -> None:
        """Raise UnavailableError unless the store says within this time that it is ready."""
        self._backend.check(seconds)

    def ensure_collection(self, *, encoder: str, dimensions: int) -> None:
        """Create the collection of an encoder (named by its hash) and its payload indexes, unless it exists.

        Raises ConflictError when it exists with other dimensions.
        """
        self._backend.ensure(identifiers.collection("samples", encoder), dimensions)

    def upsert_samples(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        keys: Sequence[str],
        first_row: int,
        embeddings_ND: Floats,
        archives: Sequence[Archives] = (),
    ) -> None:
        """Insert or replace samples with consecutive global rows from `first_row` on, and their archives.

        archives: of all curations that have any; those of a replaced sample are forgotten. Concepts with
        scores under LOWEST_BAND are left out. Raises ValueError for vectors that do not fit the keys or are
        not finite. A zero vector is similar to nothing (cosine 0).
        """
        collection = identifiers.collection("samples", encoder)
        self._upsert(collection, None, tenant, dataset, keys, first_row, embeddings_ND, archives)

    @contextmanager
    def shadow(self, *, encoder: str, dimensions: int) -> Iterator[ShadowCollection]:
        """A new, empty generation of a collection; `switch` lets it take the place of the one in use.

        It is deleted at the end where that did not happen.
        """
        collection = identifiers.collection("samples", encoder)
        shadow = ShadowCollection(self, collection, self._backend.begin(collection, dimensions))
        try:
            yield shadow
        finally:
            if not shadow.switched:
                self._backend.drop(collection, shadow.generation)

    def search(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        vector_D: Floats,
        limit: int = 20,
        offset: int = 0,
        concepts: Sequence[ArchivedConcept] = (),
    ) -> list[Hit]:
        """The nearest samples, nearest first, ties by row; none of a dataset that is not indexed.

        offset: how many of the nearest to leave out. concepts: only samples whose archives hold all of them.
        """
        collection, owner = _place(encoder, tenant, dataset)
        matches = self._backend.search(
            collection,
            owner,
            np.asarray(vector_D, dtype=np.float32),
            [_condition(concept) for concept in concepts],
            limit=limit,
            offset=offset,
            fields=["key", "row"],
        )
        # Lengths of halves round: a vector may be nearer to itself than 1.
        hits = [
            Hit(match.payload["key"], match.payload["row"], min(1.0, max(-1.0, match.score)))
            for match in matches
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.row))

    def count(
        self, *, encoder: str, tenant: str, dataset: str, concepts: Sequence[ArchivedConcept] = ()
    ) -> int:
        """How many samples of the dataset are indexed, and have archives with all of these concepts."""
        collection, owner = _place(encoder, tenant, dataset)
        return self._backend.count(collection, owner, [_condition(concept) for concept in concepts])

    def facets(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        curation: str,
        concepts: Sequence[ArchivedConcept] = (),
        min_score: int = LOWEST_BAND,
        limit: int = 100_000,
    ) -> dict[int, int]:
        """How many of the samples with all of these concepts have each concept of a curation.

        By number of the concept, most first; with `min_score` or more, as in `ArchivedConcept`.
        """
        collection, owner = _place(encoder, tenant, dataset)
        conditions = [_condition(concept) for concept in concepts]
        counts = self._backend.facet(collection, owner, "concepts", conditions, limit=limit)
        asked = identifiers.curation_number(curation)
        totals: dict[int, int] = {}
        for number, samples in counts.items():
            of, concept, band = identifiers.read_archive_number(number)
            if of == asked and band >= min_score:
                totals[concept] = totals.get(concept, 0) + samples
        return dict(sorted(totals.items(), key=lambda total: (-total[1], total[0])))

    def delete_dataset(self, *, tenant: str, dataset: str) -> None:
        """Forget a dataset in every collection, also in those that are being filled."""
        identifiers.require_owner(tenant, dataset)
        self._backend.delete_owner("samples", Owner(tenant, dataset))

    def _upsert(
        self,
        collection: str,
        generation: str | None,
        tenant: str,
        dataset: str,
        keys: Sequence[str],
        first_row: int,
        embeddings_ND: Floats,
        archives: Sequence[Archives],
    ) -> None:
        if np.ndim(embeddings_ND) != 2 or len(embeddings_ND) != len(keys):
            shape = np.shape(embeddings_ND)
            raise ValueError(f"{len(keys)} keys and vectors of shape {shape} do not belong together")
        if not np.isfinite(embeddings_ND).all():
            raise ValueError("vectors must be finite")
        if len({identifiers.curation_number(of.curation) for of in archives}) < len(archives):
            raise ValueError("two of these curations have ids that the store cannot tell apart")
        for of in archives:
            if len(of.offsets_N1) != len(keys) + 1:
                raise ValueError(f"{len(keys)} keys and archives of {len(of.offsets_N1) - 1} samples")
        ids = identifiers.point_ids(tenant, dataset, keys)
        owner = Owner(tenant, dataset)
        numbers = [_numbers(of) for of in archives]

        def send(start: int) -> None:
            part = slice(start, start + self._backend.batch)
            points = Points(
                ids=ids[part],
                vectors_ND=np.asarray(embeddings_ND[part], np.float32),
                payloads=[
                    _payload(key, first_row + row, [number for of in numbers for number in of[row]])
                    for row, key in enumerate(keys[part], start)
                ],
            )
            self._backend.upsert(collection, owner, points, generation)

        self._side_by_side(send, range(0, len(keys), self._backend.batch))

    def _side_by_side(self, send: Callable[[int], None], starts: Sequence[int]) -> None:
        """Call with every start, several at once on a server; the first error ends it."""
        at_once = min(self._backend.batches_at_once, len(starts))
        if at_once <= 1:
            for start in starts:
                send(start)
            return
        with ThreadPoolExecutor(at_once, thread_name_prefix="vectors") as pool:
            calls = [pool.submit(send, start) for start in starts]
            try:
                for call in calls:
                    call.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


class ShadowCollection:
    """A generation of a collection that is being filled beside the one in use."""

    def __init__(self, vectors: Vectors, collection: str, generation: str) -> None:
        self._vectors = vectors
        self._collection = collection
        self.generation = generation
        self.switched = False

    def upsert_samples(
        self,
        *,
        tenant: str,
        dataset: str,
        keys: Sequence[str],
        first_row: int,
        embeddings_ND: Floats,
        archives: Sequence[Archives] = (),
    ) -> None:
        """As `Vectors.upsert_samples`."""
        self._vectors._upsert(
            self._collection, self.generation, tenant, dataset, keys, first_row, embeddings_ND, archives
        )

    def switch(self) -> bool:
        """Let it take the place of the generation in use in one step, and delete that one.

        Whether the graphs were built in time: if not, the store goes on building them.
        """
        built = self._vectors._backend.switch(self._collection, self.generation)
        self.switched = True
        return built


def _place(encoder: str, tenant: str, dataset: str) -> tuple[str, Owner]:
    identifiers.require_owner(tenant, dataset)
    return identifiers.collection("samples", encoder), Owner(tenant, dataset)


def _condition(concept: ArchivedConcept) -> Condition:
    numbers = identifiers.matching_numbers(
        concept.curation, concept.concept, concept.min_score, added=concept.added
    )
    return Condition("concepts", numbers)


def _payload(key: str, row: int, numbers: list[int]) -> Payload:
    payload: Payload = {"key": key, "row": row}
    return payload | {"concepts": numbers} if numbers else payload


def _numbers(archives: Archives) -> list[list[int]]:
    """The numbers of every sample's archive."""
    # The arrays may hold those of other samples too: a task of 2,048 of a shard shares them with the others.
    first, end = int(archives.offsets_N1[0]), int(archives.offsets_N1[-1])
    bands_C = np.minimum(np.floor(archives.scores_C[first:end]), HIGHEST_BAND).astype(np.int64)
    told_C = bands_C >= LOWEST_BAND
    numbers = identifiers.archive_numbers(
        archives.curation,
        archives.concepts_C[first:end][told_C],
        bands_C[told_C],
        archives.added_C[first:end][told_C],
    ).tolist()
    offsets_N1 = np.append(0, np.cumsum(told_C))[archives.offsets_N1 - first]
    return [numbers[start:end] for start, end in pairwise(offsets_N1.tolist())]
