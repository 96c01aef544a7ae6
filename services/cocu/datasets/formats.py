"""Which formats are accepted, and how each is recognised."""

from __future__ import annotations

import zlib
from enum import StrEnum

import pyarrow as pa

from cocu.datasets.columns import Columns, has_header, looks_like_url
from cocu.datasets.tars import BLOCK, is_tar
from cocu.errors import InvalidInputError

HEAD_BYTES = 4096
"""How much of a file `detect_format` wants to see."""

ZSTANDARD = b"\x28\xb5\x2f\xfd"


class Format(StrEnum):
    """The formats that `read_samples` accepts."""

    TAR = "tar"
    TAR_GZIP = "tar.gz"
    TAR_ZSTANDARD = "tar.zst"
    ZIP = "zip"
    FOLDER = "folder"
    PARQUET = "parquet"
    CSV = "csv"
    TSV = "tsv"
    CLIP_RETRIEVAL = "clip-retrieval"


def detect_format(head: bytes, name: str = "", columns: Columns | None = None) -> Format:
    """State the format of a file by its first bytes (`HEAD_BYTES` of them); the name is for the message only.

    columns: what the caller says of the columns, by which a CSV or TSV with unusual names is recognised.
    Raises InvalidInputError, naming the accepted formats, for anything else.
    """
    found = _archive(head) or _table(head, columns or Columns())
    if found is not None:
        return found
    what = f"{name!r} begins" if name else "the file begins"
    raise InvalidInputError(
        f"{what} with {head[:16]!r} and is none of the accepted formats: "
        "a tar (plain, .gz or .zst) or a zip of images (.jpg, .png, .webp) and captions (.txt of the "
        "same names, metadata.jsonl, metadata.csv or COCO captions), Parquet with images or URLs, "
        "CSV or TSV with URLs and captions"
    )


def _archive(head: bytes) -> Format | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Format.ZIP
    if is_tar(head):
        return Format.TAR
    if head.startswith(b"\x1f\x8b") and _begins_tar(_gunzipped(head)):
        return Format.TAR_GZIP
    if head.startswith(ZSTANDARD) and _begins_tar(_unzstandard(head)):
        return Format.TAR_ZSTANDARD
    return Format.PARQUET if head.startswith(b"PAR1") else None


def _begins_tar(unpacked: bytes | None) -> bool:
    """Whether it may: with less than a block to look at, the reader will tell."""
    return unpacked is not None and (len(unpacked) < BLOCK or is_tar(unpacked))


def _gunzipped(head: bytes) -> bytes | None:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, BLOCK)
    except zlib.error:
        return None


def _unzstandard(head: bytes) -> bytes | None:
    try:
        with pa.CompressedInputStream(pa.BufferReader(head), "zstd") as stream:
            return bytes(stream.read(BLOCK))
    except OSError as error:
        return b"" if "truncated" in str(error).lower() else None


def _table(head: bytes, columns: Columns) -> Format | None:
    """A text whose first line names or holds a URL, separated by tabs or commas."""
    line, newline, _ = head.partition(b"\n")
    if b"\0" in head or not (newline or len(head) < HEAD_BYTES):
        return None
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    for format, separator in ((Format.TSV, "\t"), (Format.CSV, ",")):
        fields = [field.strip().strip('"') for field in text.split(separator)]
        known = has_header(fields, columns) or any(map(looks_like_url, fields))
        if len(fields) > 1 and known:
            return format
    return None
