"""The rows whose image could not be fetched, as a Parquet table of URLs that ingest reads like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from cocu import machine
from cocu.catalog import failed_rows
from cocu.formats.metadata import METADATA_MARK
from cocu.platform import Platform

ROWS = 1_000
"""The number of rows held in memory at once."""
READ_BYTES = 1 << 20

_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("key", "url", "caption", "metadata")],
    metadata={METADATA_MARK: "metadata"},
)


def parquet_file(platform: Platform, *, upload_id: str) -> Iterator[bytes]:
    """Yield the failed rows of an upload as the bytes of a Parquet file.

    It is not compressed, because ingest refuses files that grow much when they are unpacked.
    """
    with machine.temporary_file(platform.settings.data_folder) as file:
        with pq.ParquetWriter(file, _SCHEMA, compression="none", use_dictionary=False) as writer:
            for rows in failed_rows.read(platform.catalog, upload_id=upload_id, size=ROWS):
                encoded_rows = [row | {"metadata": json.dumps(row["metadata"])} for row in rows]
                writer.write_table(pa.Table.from_pylist(encoded_rows, schema=_SCHEMA))
        file.seek(0)
        while chunk := file.read(READ_BYTES):
            yield chunk
