"""Answers that are no JSON: Arrow streams, and how the OpenAPI document shows bytes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cocu.batches.arrow import MEDIA_TYPE as ARROW

__all__ = ["ARROW", "arrow_stream", "binary_content"]


def arrow_stream(batch: pa.RecordBatch) -> bytes:
    """Return a record batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def binary_content(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route whose answer is bytes of this type."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"content": {media_type: {"schema": schema}}, "description": description}}
