"""Vectors of samples in Qdrant: every call names a tenant and a dataset, and sees nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hit:
    """One found sample: its key, its global row in the snapshot, and the cosine similarity."""

    key: str
    row: int
    score: float


class Vectors:
    """Sample vectors, one collection per encoder. Safe to use from many threads."""

    @classmethod
    def open(cls, location: str, *, api_key: str | None = None, prefer_grpc: bool = True) -> Vectors:
        """Open a folder (or path of one; embedded), ":memory:" or an http(s) URL. Raises UnavailableError."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the folder or the connection."""
        raise NotImplementedError

    def ensure_collection(self, *, encoder: str, dimensions: int) -> None:
        """Create the collection of an encoder (its hash) and its payload indexes, unless it exists."""
        raise NotImplementedError

    def upsert_samples(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        keys: Sequence[str],
        first_row: int,
        embeddings_ND: NDArray[np.floating],
    ) -> None:
        """Insert or replace samples with consecutive global rows; ids are uuid5 of tenant, dataset and key."""
        raise NotImplementedError

    def search(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        vector_D: NDArray[np.floating],
        limit: int = 20,
        curation: str | None = None,
        concepts: Sequence[str] = (),
    ) -> list[Hit]:
        """The nearest samples; with `curation` and `concepts` only those whose archive holds all of the concepts."""
        raise NotImplementedError

    def set_concepts(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        curation: str,
        keys: Sequence[str],
        concepts: Sequence[Sequence[str]],
    ) -> None:
        """Note the archived concepts of samples under a curation."""
        raise NotImplementedError

    def count(self, *, encoder: str, tenant: str, dataset: str) -> int:
        """How many samples of the dataset are indexed."""
        raise NotImplementedError

    def delete_dataset(self, *, tenant: str, dataset: str) -> None:
        """Forget a dataset in every collection."""
        raise NotImplementedError
