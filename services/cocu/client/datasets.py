"""Datasets: create, fill, look."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cocu.client import sources
from cocu.client.exceptions import NothingToUploadError
from cocu.client.models import (
    Dataset,
    DatasetCreate,
    Import,
    ImportCreate,
    Rejection,
    Report,
    Retries,
    Sample,
    Upload,
    UploadOptions,
)
from cocu.client.resumable import ResumableUpload
from cocu.client.transport import Call, Transport, segment

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all; may count backwards when an attempt is repeated."""

CHUNK = 1 << 20
RESUMABLE_BYTES = 16 << 20


class Datasets:
    """`client.datasets`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str) -> Dataset:
        """Create an empty dataset."""
        return self._transport.post(Dataset, "/v1/datasets", DatasetCreate(name=name))

    def list(self) -> Iterator[Dataset]:
        """Every dataset, oldest first."""
        return self._transport.pages(Dataset, "/v1/datasets")

    def get(self, dataset: str) -> Dataset:
        """One dataset by id."""
        return self._transport.get(Dataset, self._path(dataset))

    def delete(self, dataset: str) -> None:
        """Delete a dataset with all that was made of it."""
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
        """Put a file in, or everything a folder holds (see `sources`), to be read with these options.

        The same content again changes nothing. Each file goes with its SHA-256, so that what arrives damaged
        is not stored.

        resumable: whether a file whose connection drops goes on where it stopped, also when this is called
        again later; by default where it is larger than RESUMABLE_BYTES.
        """
        parts = sources.parts(Path(path))
        if any(part.embeddings for part in parts) and (options is None or options.encoder is None):
            raise NothingToUploadError(
                f"{path} holds embeddings; say with the option encoder which encoder made them"
            )
        total = sum(part.size for part in parts)
        uploads, before = [], 0
        for part in parts:
            with part.opened() as file:
                shown = _shifted(progress, before, total)
                resume = file.stat().st_size > RESUMABLE_BYTES if resumable is None else resumable
                send = self._resume if resume else self._put
                uploads.append(send(dataset, part.name, file, options or UploadOptions(), shown))
            before += part.size
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
        """Let the platform fetch files from URLs, or what lies under an s3:// prefix; `wait` waits for it.

        name: of the upload, where there is one URL.
        """
        given = {"s3": s3} if s3 is not None else {}
        given |= {"name": name} if name is not None else {}
        one = {"url": urls[0]} if len(urls) == 1 else {"urls": list(urls)} if urls else {}
        body = ImportCreate.model_validate({**given, **one, "options": options or UploadOptions()})
        return self._transport.post(Import, f"{self._path(dataset)}/imports", body)

    def uploads(self, dataset: str) -> Iterator[Upload]:
        """The uploads of a dataset, oldest first."""
        return self._transport.pages(Upload, f"{self._path(dataset)}/uploads")

    def wait(
        self,
        dataset: str,
        *,
        progress: Callable[[Dataset], None] | None = None,
        timeout: float | None = None,
        every: float = 0.25,
    ) -> Dataset:
        """The dataset once every upload that arrived is read; raises TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = self.get(dataset)
            if progress is not None:
                progress(seen)
            if seen.ingesting == 0:
                return seen
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(
                    f"dataset {dataset} still reads {seen.ingesting} uploads after {timeout:g} s"
                )
            time.sleep(every)

    def report(self, dataset: str) -> Report:
        """What became of every sample so far."""
        return self._transport.get(Report, f"{self._path(dataset)}/report")

    def report_csv(self, dataset: str) -> Iterator[bytes]:
        """What became of every sample so far, as CSV in pieces: a line for each that was not accepted."""
        call = Call(path=f"{self._path(dataset)}/report", params={"format": "csv"})
        with self._transport.stream(call) as answer:
            yield from answer.iter_bytes()

    def retry(self, dataset: str) -> Retries:
        """Let what failed and may succeed be tried once more: uploads, rows given by URL, embeddings.

        `wait` waits for it; a curation of what was gained is another one.
        """
        path = f"{self._path(dataset)}/retries"
        return self._transport.parse(Retries, self._transport.send(Call(method="POST", path=path)))

    def rejections(self, dataset: str, *, reason: str | None = None) -> Iterator[Rejection]:
        """Every skipped sample, or those skipped for one reason."""
        return self._transport.pages(
            Rejection, f"{self._path(dataset)}/rejections", params={"reason": reason}
        )

    def samples(self, dataset: str) -> Iterator[Sample]:
        """Every sample, by key."""
        return self._transport.pages(Sample, f"{self._path(dataset)}/samples")

    def sample(self, dataset: str, key: str) -> Sample:
        """One sample by key."""
        return self._transport.get(Sample, f"{self._path(dataset)}/samples/{segment(key)}")

    def image(self, dataset: str, key: str, *, size: int | None = None) -> bytes:
        """The bytes of an image as stored, or of a thumbnail that fits into size × size pixels."""
        path = f"{self._path(dataset)}/samples/{segment(key)}/image"
        return self._transport.send(Call(path=path, params={"size": size})).content

    def _path(self, dataset: str) -> str:
        return f"/v1/datasets/{segment(dataset)}"


def _shifted(progress: Progress | None, before: int, total: int) -> Progress:
    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, total)

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
