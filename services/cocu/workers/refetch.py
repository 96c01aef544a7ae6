"""Rows whose image could not be had → a table of links, which ingest reads as one that was sent in."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from cocu.datasets.metadata import METADATA_MARK
from cocu.platform import Platform
from cocu.storage.catalog import retries

ROWS = 1_000
"""Rows that are held at once."""
PIECE = 1 << 20

_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("key", "url", "caption", "metadata")],
    metadata={METADATA_MARK: "metadata"},
)


def table(platform: Platform, *, upload_id: str) -> Iterator[bytes]:
    """The rows of an upload as Parquet in pieces; written plainly, so that no limit takes it for a bomb."""
    with tempfile.TemporaryFile(dir=platform.settings.data_folder) as file:
        with pq.ParquetWriter(file, _SCHEMA, compression="none", use_dictionary=False) as writer:
            for rows in retries.links(platform.catalog, upload_id=upload_id, size=ROWS):
                texts = [row | {"metadata": json.dumps(row["metadata"])} for row in rows]
                writer.write_table(pa.Table.from_pylist(texts, schema=_SCHEMA))
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece
