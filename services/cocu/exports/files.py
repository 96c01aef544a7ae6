"""The files of an export, and the single stream that contains all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from cocu import machine
from cocu.errors import NotFoundError
from cocu.exports import jsonl, parquet, tars, uids, webdataset
from cocu.exports.export import Export, ShardExport
from cocu.schemas import ExportFormat

VERSION = 2
"""Part of every identity: raised whenever the same export gives other bytes."""

Piece = bytes | memoryview
TAR = "application/x-tar"
MIN_PIECE_BYTES = 256 << 10
"""Smaller pieces are merged before they are sent."""
_SPOOL_BYTES = 1 << 20


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export: files of equal identity have equal bytes; `pieces` generates them.

    shard: the id of the shard whose samples the file contains, None for a file about all shards.
    """

    name: str
    samples: int
    shard: str | None
    identity: str
    media_type: str
    pieces: Callable[[], Iterator[Piece]]


@dataclass(frozen=True)
class _Form:
    """How a format names and writes the file of a shard; whole: the media type of the stream of all files."""

    name: str
    media_type: str
    write: Callable[[Export, ShardExport], Iterator[Piece]]
    whole: str
    end: bytes = b""


_FORMS: dict[ExportFormat, _Form] = {
    "webdataset": _Form("{number:05d}.tar", TAR, webdataset.samples, TAR, tars.END),
    "released": _Form("{number:05d}.tar", TAR, webdataset.released, TAR, tars.END),
    "jsonl": _Form("{number:05d}.jsonl", "application/jsonl", jsonl.lines, "application/jsonl"),
    "parquet": _Form("{number:05d}.parquet", "application/vnd.apache.parquet", parquet.table, TAR),
    "huggingface": _Form(
        "data/train-{number:05d}-of-{count:05d}.parquet",
        "application/vnd.apache.parquet",
        parquet.huggingface,
        TAR,
    ),
}

OTHER_MEDIA_TYPES = ("application/octet-stream", "text/markdown")
"""Media types of the files about all shards."""
WHOLE_MEDIA_TYPES = tuple(dict.fromkeys([*(form.whole for form in _FORMS.values()), OTHER_MEDIA_TYPES[0]]))
"""Media types of the stream `whole`."""
MEDIA_TYPES = tuple(
    dict.fromkeys([*WHOLE_MEDIA_TYPES, *(form.media_type for form in _FORMS.values()), *OTHER_MEDIA_TYPES])
)
"""Media types of files."""


def files(export: Export) -> list[ExportedFile]:
    """Every file, in order; its content is read when its pieces are."""
    format = export.parameters.format
    if format == "datacomp":
        return [_common_file(export, "uids.npy", "application/octet-stream", lambda: uids.uid_list(export))]
    form = _FORMS[format]
    shard_files = [_shard_file(export, form, number) for number in range(len(export.shards))]
    if format == "huggingface":
        return [
            _common_file(export, "README.md", "text/markdown", lambda: iter((parquet.card(export),))),
            *shard_files,
        ]
    return shard_files


def file(export: Export, name: str) -> ExportedFile:
    """The file of this name. Raises NotFoundError."""
    for candidate in files(export):
        if candidate.name == name:
            return candidate
    raise NotFoundError("the export has no such file; its manifest lists those it has")


def whole_media_type(export: Export) -> str:
    """The media type of `whole`."""
    form = _FORMS.get(export.parameters.format)
    return "application/octet-stream" if form is None else form.whole


def whole(export: Export) -> Iterator[Piece]:
    """All files as one stream: one long WebDataset, all lines, or, for Parquet, a tar of the files."""
    form = _FORMS.get(export.parameters.format)
    if form is None or form.whole == form.media_type:
        contents = (file.pieces() for file in files(export)) if form is None else _contents(export, form)
        return merge_pieces(chain(chain.from_iterable(contents), (form.end if form else b"",)))
    return merge_pieces(_tar_of(export))


def identity_of_whole(export: Export) -> str:
    """The identity of the stream `whole`: equal ones mean equal bytes."""
    return _identity(export, "whole", *(file.identity for file in files(export)))


def merge_pieces(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same bytes in pieces of at least MIN_PIECE_BYTES, except the last."""
    small = bytearray()
    for piece in pieces:
        if len(piece) >= MIN_PIECE_BYTES and not small:
            yield piece
            continue
        small += piece
        if len(small) >= MIN_PIECE_BYTES:
            yield bytes(small)
            small = bytearray()
    if small:
        yield bytes(small)


def _shard_file(export: Export, form: _Form, number: int) -> ExportedFile:
    shard = export.shards[number]
    name = form.name.format(number=number, count=len(export.shards))
    return ExportedFile(
        name=name,
        samples=shard.samples,
        shard=shard.shard_id,
        identity=_identity(export, name, shard.sha256, shard.content_hash or ""),
        media_type=form.media_type,
        pieces=lambda: merge_pieces(chain(form.write(export, ShardExport(export, shard)), (form.end,))),
    )


def _common_file(
    export: Export, name: str, media_type: str, pieces: Callable[[], Iterator[Piece]]
) -> ExportedFile:
    samples = export.record.samples if export.parameters.format == "datacomp" else 0
    shards = [text for shard in export.shards for text in (shard.sha256, shard.content_hash or "")]
    identity = _identity(export, name, *shards)
    return ExportedFile(name, samples, None, identity, media_type, pieces)


def _identity(export: Export, *parts: str) -> str:
    record = export.record
    inputs = (record.snapshot_hash, record.encoder, record.encoder_hash, record.vocabulary_hash)
    parameters = (str(value) for value in vars(export.parameters).values())
    # With pyarrow's version: another version may write the same table with other bytes.
    texts = (
        f"{VERSION} {pa.__version__}",
        *inputs,
        record.parameters_hash,
        export.content_hash,
        *parameters,
        *parts,
    )
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def _contents(export: Export, form: _Form) -> Iterator[Iterator[Piece]]:
    return (form.write(export, shard) for shard in export.shard_exports())


def _tar_of(export: Export) -> Iterator[Piece]:
    # A tar states the size of a file before its content, so each file is first written to the disk.
    for file in files(export):
        with machine.temporary_file(export.platform.settings.data_folder) as spool:
            with machine.translate_errors("write a part of an export to a temporary file"):
                for piece in file.pieces():
                    spool.write(piece)
                size = spool.tell()
            spool.seek(0)
            yield tars.header(file.name, size)
            while piece := spool.read(_SPOOL_BYTES):
                yield piece
            yield tars.padding(size)
    yield tars.END
