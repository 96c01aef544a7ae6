"""The files that an export consists of, and the one stream that holds them all."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from cocu.errors import NotFoundError
from cocu.exports import jsonl, parquet, tars, uids, webdataset
from cocu.exports.export import Export, ShardExport
from cocu.exports.parameters import ExportFormat

VERSION = 2
"""Another number wherever the same export comes to other bytes."""

Piece = bytes | memoryview
TAR = "application/x-tar"
LEAST_BYTES = 256 << 10
_SPOOL_BYTES = 1 << 20


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export: files of equal identity have equal bytes; `pieces` makes them.

    shard: the id of the shard whose samples it holds, None where it is about all.
    """

    name: str
    samples: int
    shard: str | None
    identity: str
    media_type: str
    pieces: Callable[[], Iterator[Piece]]


@dataclass(frozen=True)
class _Form:
    """How a format names and writes the file of a shard; whole: its media type when all are in one stream."""

    name: str
    media_type: str
    written: Callable[[Export, ShardExport], Iterator[Piece]]
    whole: str
    end: bytes = b""


_FORMS = {
    ExportFormat.WEBDATASET: _Form("{number:05d}.tar", TAR, webdataset.samples, TAR, tars.END),
    ExportFormat.RELEASED: _Form("{number:05d}.tar", TAR, webdataset.released, TAR, tars.END),
    ExportFormat.JSONL: _Form("{number:05d}.jsonl", "application/jsonl", jsonl.lines, "application/jsonl"),
    ExportFormat.PARQUET: _Form("{number:05d}.parquet", "application/vnd.apache.parquet", parquet.table, TAR),
    ExportFormat.HUGGINGFACE: _Form(
        "data/train-{number:05d}-of-{count:05d}.parquet",
        "application/vnd.apache.parquet",
        parquet.huggingface,
        TAR,
    ),
}


def files(export: Export) -> list[ExportedFile]:
    """Every file, in order; nothing is read before its pieces are asked for."""
    format = export.parameters.format
    if format is ExportFormat.DATACOMP:
        return [_about_all(export, "uids.npy", "application/octet-stream", lambda: uids.uid_list(export))]
    form = _FORMS[format]
    found = [_of_shard(export, form, number) for number in range(len(export.shards))]
    if format is ExportFormat.HUGGINGFACE:
        return [
            _about_all(export, "README.md", "text/markdown", lambda: iter((parquet.card(export),))),
            *found,
        ]
    return found


def file(export: Export, name: str) -> ExportedFile:
    """The file of this name. Raises NotFoundError."""
    for each in files(export):
        if each.name == name:
            return each
    raise NotFoundError("the export has no such file; its manifest lists those it has")


def whole_media_type(export: Export) -> str:
    """The media type of `whole`."""
    form = _FORMS.get(export.parameters.format)
    return "application/octet-stream" if form is None else form.whole


def whole(export: Export) -> Iterator[Piece]:
    """All files as one stream: a long WebDataset, all lines, or a tar of the files where they are Parquet."""
    form = _FORMS.get(export.parameters.format)
    if form is None or form.whole == form.media_type:
        written = (each.pieces() for each in files(export)) if form is None else _contents(export, form)
        return joined(chain(chain.from_iterable(written), (form.end if form else b"",)))
    return joined(_tar_of(export))


def identity_of_whole(export: Export) -> str:
    """The same for equal bytes of `whole`."""
    return _identity(export, "whole", *(each.identity for each in files(export)))


def joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same bytes with small pieces put together, so that each is worth sending."""
    small = bytearray()
    for piece in pieces:
        if len(piece) >= LEAST_BYTES and not small:
            yield piece
            continue
        small += piece
        if len(small) >= LEAST_BYTES:
            yield bytes(small)
            small = bytearray()
    if small:
        yield bytes(small)


def _of_shard(export: Export, form: _Form, number: int) -> ExportedFile:
    shard = export.shards[number]
    name = form.name.format(number=number, count=len(export.shards))
    return ExportedFile(
        name=name,
        samples=shard.samples,
        shard=shard.shard_id,
        identity=_identity(export, name, shard.sha256, shard.content_hash or ""),
        media_type=form.media_type,
        pieces=lambda: joined(chain(form.written(export, ShardExport(export, shard)), (form.end,))),
    )


def _about_all(
    export: Export, name: str, media_type: str, pieces: Callable[[], Iterator[Piece]]
) -> ExportedFile:
    samples = export.record.samples if export.parameters.format is ExportFormat.DATACOMP else 0
    shards = [text for shard in export.shards for text in (shard.sha256, shard.content_hash or "")]
    identity = _identity(export, name, *shards)
    return ExportedFile(name, samples, None, identity, media_type, pieces)


def _identity(export: Export, *parts: str) -> str:
    record = export.record
    made_of = (record.snapshot_hash, record.encoder, record.encoder_hash, record.vocabulary_hash)
    asked = (str(value) for value in vars(export.parameters).values())
    # pyarrow's version: another one may write the same table otherwise.
    texts = (
        f"{VERSION} {pa.__version__}",
        *made_of,
        record.parameters_hash,
        export.content_hash,
        *asked,
        *parts,
    )
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def _contents(export: Export, form: _Form) -> Iterator[Iterator[Piece]]:
    return (form.written(export, shard) for shard in export.shard_exports())


def _tar_of(export: Export) -> Iterator[Piece]:
    """A tar says how long a file is before it comes, so each is put aside on the disk first."""
    for each in files(export):
        with tempfile.TemporaryFile(dir=export.platform.settings.data_folder) as aside:
            for piece in each.pieces():
                aside.write(piece)
            size = aside.tell()
            aside.seek(0)
            yield tars.header(each.name, size)
            while piece := aside.read(_SPOOL_BYTES):
                yield piece
            yield tars.padding(size)
    yield tars.END
