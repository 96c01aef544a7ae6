"""Shards as Parquet: plain, and in the layout of Hugging Face `datasets`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cocu.exports.export import Export, ShardExport
from cocu.exports.rows import EXPORTED
from cocu.formats.metadata import METADATA_MARK

METADATA = pa.field("metadata", pa.string())
"""The metadata uploaded with a sample, as a JSON object; null where there is none."""
_MARK = {METADATA_MARK: METADATA.name}

IMAGE_STRUCT = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

_CONCEPT = {
    "concept": "string", "score": "float32", "global": "float32", "local": "float32", "cluster": "int32",
}  # fmt: skip
_PLAIN = {"key": "string", "caption": "string", "width": "int32", "height": "int32", "sha256": "string"}


def table(export: Export, shard: ShardExport) -> Iterator[bytes]:
    """The columns of `rows.EXPORTED`, `metadata` (JSON), and `image` (binary) in an export with images."""
    schema = EXPORTED.append(METADATA).with_metadata(_MARK)
    if export.parameters.with_images:
        schema = schema.append(pa.field("image", pa.binary()))
    return _write(shard, schema)


def huggingface(export: Export, shard: ShardExport) -> Iterator[bytes]:
    """The same, with `image` as a struct of bytes and path, and the features that `datasets` reads."""
    schema = EXPORTED.append(METADATA)
    if export.parameters.with_images:
        schema = schema.insert(0, pa.field("image", IMAGE_STRUCT))
    features = json.dumps({"info": {"features": _features(images=export.parameters.with_images)}})
    return _write(shard, schema.with_metadata({"huggingface": features} | _MARK))


def card(export: Export) -> bytes:
    """The README.md of a Hugging Face dataset: its files and their content."""
    record = export.record
    lines = (
        "---", "configs:", "- config_name: default", "  data_files:", "  - split: train",
        "    path: data/train-*.parquet", "---", "", "# Curated image–caption pairs", "",
        f"{record.samples} samples with their concept archives, exported by cocu.", "",
        f"- curation content hash: `{export.content_hash}`",
        f"- encoder: {record.encoder} (`{record.encoder_hash}`)",
        f"- vocabulary: `{record.vocabulary_hash}`",
        f"- parameters: `{json.dumps(record.parameters, sort_keys=True)}`", "",
        "`concepts` come best first; `origins` are the keys of the samples whose captions name the concept.",
        "`metadata` is what came with a sample, as JSON.",
        "",
    )  # fmt: skip
    return "\n".join(lines).encode()


def _features(*, images: bool) -> dict[str, Any]:
    def value(kind: str) -> dict[str, str]:
        return {"dtype": kind, "_type": "Value"}

    concept: dict[str, Any] = {name: value(kind) for name, kind in _CONCEPT.items()}
    plain: dict[str, Any] = {name: value(kind) for name, kind in _PLAIN.items()}
    neighbour = {"key": value("string"), "similarity": value("float32")}
    lists = {"concepts": [concept | {"origins": [value("string")]}], "neighbours": [neighbour]}
    texts = {METADATA.name: value("string")}
    return ({"image": {"_type": "Image"}} if images else {}) | plain | lists | texts


def _write(shard: ShardExport, schema: pa.Schema) -> Iterator[bytes]:
    sink = _Sink()
    # Only these columns: images do not repeat, and are compressed already.
    leaves = ["concepts.list.element.concept", "concepts.list.element.origins.list.element"]
    codecs = dict.fromkeys((*leaves, "caption", METADATA.name), "zstd")
    metadata = shard.metadata()
    with pq.ParquetWriter(sink, schema, use_dictionary=leaves, compression=codecs) as writer:
        for block, images, extensions in shard.blocks():
            documents = [_json(document) for document in islice(metadata, block.num_rows)]
            rows = block.append_column(METADATA, pa.array(documents, METADATA.type))
            columns = [_column(field, rows, images, extensions) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=block.num_rows)
            yield sink.take()
    yield sink.take()


def _json(metadata: dict[str, Any]) -> str | None:
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True) if metadata else None


def _column(field: pa.Field, block: pa.Table, images: list[memoryview], extensions: list[str]) -> pa.Array:
    if field.name != "image":
        return block[field.name]
    data = pa.array([bytes(image) or None for image in images], pa.binary())
    if field.type != IMAGE_STRUCT:
        return data
    names = [
        f"{key}.{extension}" for key, extension in zip(block["key"].to_pylist(), extensions, strict=True)
    ]
    fields = list(IMAGE_STRUCT)
    return pa.StructArray.from_arrays(
        [data, pa.array(names, pa.string())], fields=fields, mask=data.is_null()
    )


class _Sink:
    """A file in memory from which the bytes written so far can be taken."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """The remaining bytes can still be taken."""

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
