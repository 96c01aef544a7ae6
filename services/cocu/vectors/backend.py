"""What a vector store is to the platform, whether it is a folder (`edge`) or a server (`server`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Payload = dict[str, Any]

INDEXED = {"samples": ("concepts",), "concepts": ()}
"""The fields of payloads with an index, by the kind of the points: lists of whole numbers."""


@dataclass(frozen=True)
class VectorOptions:
    """How a Qdrant server is spoken to, and how collections are made there; nothing of it concerns a folder.

    prefer_grpc: vectors go over gRPC (`grpc_port`), about half as many bytes as JSON.
    seconds: how long one request may take that somebody waits for.
    bulk_seconds: how long a request may take that writes many points.
    upserts_at_once: batches that one call sends side by side.
    quantised: one byte a number in memory, from which what is found is ranked by the stored halves.
    on_disk: the vectors themselves are mapped from disk instead of held in memory.
    replicas: copies of every point in a cluster.
    shards: parts of a collection, spread over the nodes of a cluster; None leaves it to the server.
    """

    api_key: str | None = None
    prefer_grpc: bool = True
    grpc_port: int = 6334
    seconds: float = 5.0
    bulk_seconds: float = 30.0
    upserts_at_once: int = 4
    quantised: bool = True
    on_disk: bool = True
    replicas: int = 1
    shards: int | None = None


class Owner(NamedTuple):
    """Whose points: the dataset or vocabulary `id` of a tenant. Every request is about one owner."""

    tenant: str
    id: str


@dataclass(frozen=True)
class Condition:
    """A field holds one of these numbers."""

    field: str
    numbers: Sequence[int]


@dataclass(frozen=True)
class Points:
    """Points to be written: N ids, vectors (N, D) float32, and a payload each."""

    ids: Sequence[str]
    vectors_ND: NDArray[np.float32]
    payloads: Sequence[Payload]


@dataclass(frozen=True)
class Match:
    """A point that was found: its payload (the fields asked for) and the cosine similarity."""

    score: float
    payload: Payload = field(default_factory=dict)


class Backend(Protocol):
    """A store of points in collections, named as `identifiers` says.

    generation: of a collection; None means the one in use. Every method raises UnavailableError when the
    store does not answer, and RefusedError where it refuses what was asked. Writes are waited for: what a
    call has written, the next one finds. A collection, owner or point that is not there is empty, no error.
    """

    is_local: bool
    """Whether the store is a folder of this platform."""
    batch: int
    """Points of one request."""
    batches_at_once: int
    """Requests of one call that are sent side by side."""
    lost: int
    """How often the store has lost points, which it says in the log: they are to be put in again."""

    def close(self) -> None:
        """Release the folder or the connection."""

    def check(self, seconds: float) -> None:
        """Raise UnavailableError unless the store says within this time that it is ready."""

    def ensure(self, collection: str, dimensions: int) -> None:
        """Create a collection, unless it is there. Raises ConflictError where it has other dimensions."""

    def generations(self, collection: str) -> list[str]:
        """The generations of a collection, filled or not."""

    def begin(self, collection: str, dimensions: int) -> str:
        """Create a new, empty generation beside the one in use; its name."""

    def switch(self, collection: str, generation: str) -> bool:
        """Let a generation take the place of the one in use, in one step, and delete all others.

        Whether its graphs were built in time; where not, the store goes on building them.
        """

    def drop(self, collection: str, generation: str) -> None:
        """Delete a generation; nothing happens without it."""

    def upsert(self, collection: str, owner: Owner, points: Points, generation: str | None = None) -> None:
        """Insert or replace points.

        Payloads are never written alone: a store moves a point with indexed fields for that, too, and takes
        whole points several times as fast.
        """

    def search(
        self,
        collection: str,
        owner: Owner,
        vector_D: NDArray[np.float32],
        conditions: Sequence[Condition],
        *,
        limit: int,
        offset: int,
        fields: Sequence[str],
    ) -> list[Match]:
        """The nearest points that satisfy all conditions, nearest first."""

    def count(self, collection: str, owner: Owner, conditions: Sequence[Condition] = ()) -> int:
        """How many points satisfy all conditions."""

    def facet(
        self, collection: str, owner: Owner, name: str, conditions: Sequence[Condition], *, limit: int
    ) -> dict[int, int]:
        """How many of the points that satisfy all conditions hold each number of a field, most first."""

    def delete_owner(self, kind: str, owner: Owner) -> None:
        """Delete an owner's points from every collection of a kind, whatever the generation."""
