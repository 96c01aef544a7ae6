"""Parquet tables of samples and archives, and the hash of a table's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.curation.archives import Archives
from cocu.storage.objects import ObjectStore, StoredObject


def samples_table(rows: Sequence[Any]) -> pa.Table:
    """Rows with attributes key, caption, offset, size, width, height, sha256 (`datasets.shards.SampleRow`)."""
    raise NotImplementedError


def archives_table(
    archives: Archives,
    *,
    keys: Sequence[str],
    names: Sequence[str],
    neighbours_BL: NDArray[np.int64],
    neighbour_similarities_BL: NDArray[np.floating],
) -> pa.Table:
    """A row per sample: key, neighbours, neighbour_similarities, concepts. NO_NEIGHBOUR pads are left out."""
    raise NotImplementedError


def archives_of(table: pa.Table, names: Sequence[str]) -> Archives:
    """The arrays of an archives table; names as for `archives_table`."""
    raise NotImplementedError


def write_table(objects: ObjectStore, path: str, table: pa.Table, *, row_group: int = 256) -> StoredObject:
    """Write a table as Parquet, in small row groups so that one row is read quickly."""
    raise NotImplementedError


def read_table(objects: ObjectStore, path: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns. Raises NotFoundError, IntegrityError."""
    raise NotImplementedError


def read_row(objects: ObjectStore, path: str, row: int) -> Mapping[str, Any]:
    """One row as Python values. Raises NotFoundError for a row beyond the table."""
    raise NotImplementedError


def content_hash(table: pa.Table) -> str:
    """SHA-256 (hex) over the values of a table, independent of chunking, compression and file bytes."""
    raise NotImplementedError
