"""Datasets: create, fill and inspect them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cocu.client import sources
from cocu.client.exceptions import NothingToUploadError
from cocu.client.resumable import ResumableUpload
from cocu.client.sources import Part
from cocu.client.transport import Call, Transport, segment
from cocu.client.wait import wait_until
from cocu.schemas import (
    Dataset,
    DatasetCreate,
    Import,
    ImportCreate,
    Rejection,
    Report,
    Retries,
    Sample,
    SampleOrder,
    SamplePage,
    ThumbnailSize,
    Upload,
    UploadOptions,
)

ROWS_AT_ONCE = 200
"""The most rows that the platform takes in one request."""

Progress = Callable[[int, int], None]
"""Called with the bytes sent and the total; the first can go down when an attempt is repeated."""

CHUNK = 1 << 20
RESUMABLE_BYTES = 16 << 20


class Datasets:
    """`client.datasets`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str) -> Dataset:
        """Create an empty dataset."""
        return self._transport.post(Dataset, "/v1/datasets", DatasetCreate(name=name))

    def list(self, *, limit: int | None = None, page_size: int | None = None) -> Iterator[Dataset]:
        """The datasets, oldest first; at most `limit`."""
        return self._transport.pages(Dataset, "/v1/datasets", limit=limit, page_size=page_size)

    def get(self, dataset: str) -> Dataset:
        """One dataset by id."""
        return self._transport.get(Dataset, self._path(dataset))

    def delete(self, dataset: str) -> None:
        """Delete a dataset and everything derived from it."""
        self._transport.send(Call(method="DELETE", path=self._path(dataset)))

    def upload(
        self,
        dataset: str,
        path: str | Path,
        *,
        options: UploadOptions | None = None,
        resumable: bool | None = None,
        progress: Progress | None = None,
    ) -> tuple[Upload, ...]:
        """Upload a file, or everything in a folder (see `sources`); the platform reads it with these options.

        To upload the same content again changes nothing. Each file is sent with its SHA-256, so that damaged
        data is not stored.

        resumable: whether a file continues where its connection broke, also in a later call; by default for
        files larger than RESUMABLE_BYTES.
        """
        parts = parts_of(path, options)
        return self.upload_parts(dataset, parts, options=options, resumable=resumable, progress=progress)

    def upload_parts(
        self,
        dataset: str,
        parts: Sequence[Part],
        *,
        options: UploadOptions | None = None,
        resumable: bool | None = None,
        progress: Progress | None = None,
    ) -> tuple[Upload, ...]:
        """Like `upload`, for the result of `parts_of`."""
        total = sum(part.size for part in parts)
        uploads, sent = [], 0
        for part in parts:
            with part.opened() as file:
                size = file.stat().st_size
                # A packed tar is a little larger than the files in it.
                total += size - part.size
                part_progress = _shifted(progress, sent, total)
                resume = size > RESUMABLE_BYTES if resumable is None else resumable
                send = self._resume if resume else self._put
                # The images of a table are packed into a tar, so the table's format does not hold for it.
                part_options = options or UploadOptions()
                if part.table_images:
                    part_options = part_options.model_copy(update={"format": None})
                uploads.append(send(dataset, part.name, file, part_options, part_progress))
            sent += size
        return tuple(uploads)

    def _put(self, dataset: str, name: str, file: Path, options: UploadOptions, progress: Progress) -> Upload:
        size = file.stat().st_size
        digest = base64.b64encode(_sha256(file)).decode()
        call = Call(
            method="PUT",
            path=f"{self._path(dataset)}/uploads/{segment(name)}",
            params=options.model_dump(exclude_defaults=True),
            content=lambda: _chunks(file, progress),
            headers={"Content-Digest": f"sha-256=:{digest}:", "Content-Type": "application/octet-stream"},
            size=size,
        )
        return self._transport.parse(Upload, self._transport.send(call))

    def _resume(
        self, dataset: str, name: str, file: Path, options: UploadOptions, progress: Progress
    ) -> Upload:
        return ResumableUpload(
            transport=self._transport,
            path=self._path(dataset),
            name=name,
            file=file,
            sha256=_sha256(file),
            options=options,
            progress=progress,
        ).send()

    def fetch(
        self,
        dataset: str,
        *urls: str,
        s3: str | None = None,
        name: str | None = None,
        options: UploadOptions | None = None,
    ) -> Import:
        """Let the platform fetch files from URLs, or all files under an s3:// prefix; `wait` waits for it.

        name: of the upload, for a single URL.
        """
        fields = {"s3": s3} if s3 is not None else {}
        fields |= {"name": name} if name is not None else {}
        source = {"url": urls[0]} if len(urls) == 1 else {"urls": list(urls)} if urls else {}
        body = ImportCreate.model_validate({**fields, **source, "options": options or UploadOptions()})
        return self._transport.post(Import, f"{self._path(dataset)}/imports", body)

    def uploads(
        self, dataset: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[Upload]:
        """The uploads of a dataset, oldest first; at most `limit`."""
        path = f"{self._path(dataset)}/uploads"
        return self._transport.pages(Upload, path, limit=limit, page_size=page_size)

    def wait(
        self,
        dataset: str,
        *,
        progress: Callable[[Dataset], None] | None = None,
        outage: Callable[[str], None] | None = None,
        timeout: float | None = None,
        every: float = 0.25,
    ) -> Dataset:
        """Wait until all uploads are read; return the dataset. Raises TimeoutError after `timeout` seconds.

        Waiting goes on while the platform restarts (see `wait_until`); `outage` is called with the reason.
        """
        return wait_until(
            lambda: self.get(dataset),
            lambda state: state.ingesting == 0,
            doing=lambda state: f"dataset {dataset} still reads {state.ingesting} uploads",
            progress=progress,
            outage=outage,
            timeout=timeout,
            every=every,
        )

    def report(self, dataset: str) -> Report:
        """How many samples were accepted, skipped or failed so far, and why."""
        return self._transport.get(Report, f"{self._path(dataset)}/report")

    def report_csv(self, dataset: str) -> Iterator[bytes]:
        """The samples that were not accepted so far, as CSV in pieces: a line for each."""
        call = Call(path=f"{self._path(dataset)}/report", params={"format": "csv"})
        with self._transport.stream(call) as answer:
            yield from answer.iter_bytes()

    def retry(self, dataset: str) -> Retries:
        """Retry what failed and may succeed now: uploads, rows with URLs, embeddings.

        `wait` waits for it. A curation with the samples gained this way is a new curation.
        """
        path = f"{self._path(dataset)}/retries"
        return self._transport.parse(Retries, self._transport.send(Call(method="POST", path=path)))

    def rejections(
        self,
        dataset: str,
        *,
        reason: str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Rejection]:
        """The skipped samples, or those skipped for one reason; at most `limit`."""
        path = f"{self._path(dataset)}/rejections"
        return self._transport.pages(
            Rejection, path, params={"reason": reason}, limit=limit, page_size=page_size
        )

    def samples(
        self,
        dataset: str,
        *,
        caption: str | None = None,
        order: SampleOrder | None = None,
        row: int | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Sample]:
        """The samples in the order of their keys, at most `limit`.

        caption: only those whose captions have all of these words. order: "row" for the order of rows, in
        which samples selected by words come too. row: the global row to begin with, from 0.
        """
        path = f"{self._path(dataset)}/samples"
        params = {"caption": caption, "order": order, "row": row}
        return self._transport.pages(Sample, path, params=params, limit=limit, page_size=page_size)

    def sample_page(
        self,
        dataset: str,
        *,
        caption: str | None = None,
        order: SampleOrder | None = None,
        row: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SamplePage:
        """One page of samples, as `samples` selects them: at most `limit`, with their total.

        cursor: `next` of the page before. With words, a page with a `next` can be short or even empty.
        """
        path = f"{self._path(dataset)}/samples"
        params = {"caption": caption, "order": order, "row": row, "limit": limit, "cursor": cursor}
        return self._transport.get(SamplePage, path, params=params)

    def samples_of_rows(self, dataset: str, rows: Sequence[int]) -> Sequence[Sample]:
        """The samples of these global rows, in this order, asked for ROWS_AT_ONCE at a time."""
        path = f"{self._path(dataset)}/samples"
        samples: tuple[Sample, ...] = ()
        for start in range(0, len(rows), ROWS_AT_ONCE):
            params = {"rows": ",".join(map(str, rows[start : start + ROWS_AT_ONCE]))}
            samples += tuple(self._transport.get(SamplePage, path, params=params).items)
        return samples

    def sample(self, dataset: str, key: str) -> Sample:
        """One sample by key."""
        return self._transport.get(Sample, f"{self._path(dataset)}/samples/{segment(key)}")

    def image(self, dataset: str, key: str, *, size: ThumbnailSize | None = None) -> bytes:
        """The bytes of an image as stored, or of a JPEG thumbnail that fits into size × size pixels."""
        path = f"{self._path(dataset)}/samples/{segment(key)}/image"
        return self._transport.send(Call(path=path, params={"size": size})).content

    def _path(self, dataset: str) -> str:
        return f"/v1/datasets/{segment(dataset)}"


def parts_of(path: str | Path, options: UploadOptions | None = None) -> Sequence[Part]:
    """The uploads that a path would result in; needs no platform. Raises NothingToUploadError."""
    options_or_default = options or UploadOptions()
    parts = sources.parts(
        Path(path),
        image_column=options_or_default.image_column,
        caption_column=options_or_default.caption_column,
    )
    require_encoder_name(path, parts, options)
    return parts


def require_encoder_name(path: str | Path, parts: Sequence[Part], options: UploadOptions | None) -> None:
    """Raise NothingToUploadError for embeddings where the options do not name their encoder."""
    if any(part.embeddings for part in parts) and (options is None or options.encoder is None):
        raise NothingToUploadError(
            f"{path} holds embeddings; say with the option encoder which encoder made them"
        )


def _shifted(progress: Progress | None, offset: int, total: int) -> Progress:
    """The progress of one part as progress of the whole upload."""

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(offset + done, total)

    return report


def _sha256(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _chunks(file: Path, progress: Progress) -> Iterator[bytes]:
    size = file.stat().st_size
    done = 0
    progress(0, size)
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk
            done += len(chunk)
            progress(done, size)
