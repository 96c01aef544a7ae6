"""How samples are addressed: names of collections, ids of points, the filter that every request carries."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from qdrant_client import models

_NAMESPACE = uuid.UUID("6f0d3c2e-6d35-5a3b-9c53-0e7d2b8f4a11")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ALIAS = "samples-"
COLLECTIONS = "vectors-"
"""What the names of all collections begin with; those of aliases begin otherwise."""
FIRST = "first"
"""The generation of a collection that was never rebuilt: two that create it at once create the same."""


def alias(encoder: str) -> str:
    """The name by which the vectors of an encoder are read and written, whatever collection holds them."""
    if not _NAME.fullmatch(encoder):
        raise ValueError(f"an encoder is named by letters, digits, _ and -, not {encoder[:100]!r}")
    return _ALIAS + encoder


def collection(encoder: str, generation: str) -> str:
    """The name of the collection itself; a generation has no `-`."""
    alias(encoder)
    return f"{COLLECTIONS}{generation}-{encoder}"


def encoder_of(collection: str) -> str | None:
    """The encoder whose collection has this name; None for one that is not ours."""
    if not collection.startswith(COLLECTIONS):
        return None
    return collection.removeprefix(COLLECTIONS).partition("-")[2] or None


def archive_field(curation: str | None) -> str:
    """The field under `archives` with the concepts of a curation."""
    if curation is None or not _NAME.fullmatch(curation):
        raise ValueError(f"a curation is named by letters, digits, _ and -, not {curation!r}")
    return curation


def within(tenant: str, dataset: str) -> list[models.Condition]:
    """The conditions that keep a request within a dataset of a tenant."""
    if not tenant or not dataset:
        raise ValueError("tenant and dataset must be named in every call")
    return [equals("tenant", tenant), equals("dataset", dataset)]


def equals(field: str, value: str) -> models.FieldCondition:
    """The condition that a field holds a word, or holds it among others."""
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def ids(tenant: str, dataset: str, keys: Sequence[str]) -> list[str]:
    """The ids of samples: the same sample is the same point, however often it is sent."""
    within(tenant, dataset)
    # With the lengths, no choice of names makes two samples one.
    start = f"{len(tenant)}/{tenant}/{len(dataset)}/{dataset}/"
    return [str(uuid.uuid5(_NAMESPACE, start + key)) for key in keys]
