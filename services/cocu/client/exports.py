"""Exports to a folder: the files of a manifest, and a record of the files that are complete."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from cocu.client.exceptions import ClientError, ConnectionFailedError, UnavailableError, UnexpectedAnswerError
from cocu.client.transport import Call, Params, Transport
from cocu.schemas import ExportFile, ExportFormat, ExportManifest

RECORD = "cocu-export.json"
"""The record in the folder: what was exported, and the etag, size and SHA-256 of every complete file."""

ATTEMPTS = 5
PIECE_BYTES = 1 << 20

Progress = Callable[[int, int, int], None]
"""Called with the samples in complete files, the samples in total, and the bytes received."""


@dataclass(frozen=True)
class ExportParameters:
    """What to export; see the API's `GET …/export`."""

    format: ExportFormat
    images: bool = True
    max_concepts: int | None = None
    clusters: bool = False

    @property
    def params(self) -> Params:
        """The query of a request."""
        return {
            "format": self.format,
            "images": "true" if self.images else "false",
            "max_concepts": self.max_concepts,
            "clusters": "true" if self.clusters else "false",
        }


def export(
    transport: Transport,
    curation: str,
    folder: Path,
    parameters: ExportParameters,
    *,
    progress: Progress | None = None,
) -> ExportManifest:
    """Fetch every file of an export that the folder does not have yet; `curation` is the curation's path.

    A file gets its name only when it is complete; after an interruption, the same call fetches the rest. A
    file that was changed, or that belongs to other parameters, is replaced. Raises ClientError when the
    folder contains the export of another curation.
    """
    answer = transport.send(Call(path=f"{curation}/export/manifest", params=parameters.params))
    manifest = transport.parse(ExportManifest, answer)
    record = _Record.read(folder, manifest)
    samples = received = 0
    total = sum(file.samples for file in manifest.files)
    for file in manifest.files:
        if not record.has(file):
            url = transport.resolve(answer, file.url)
            size, digest = _fetch(transport, file.name, url, record.path_of(file))
            received += size
            record.add(file, size, digest)
        samples += file.samples
        if progress is not None:
            progress(samples, total, received)
    return manifest


class _Record:
    """The complete files of a folder, as its record says."""

    def __init__(self, folder: Path, manifest: ExportManifest, files: dict[str, Any]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._files = files

    @classmethod
    def read(cls, folder: Path, manifest: ExportManifest) -> _Record:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RECORD
        if not path.exists():
            return cls(folder, manifest, {})
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            content, files = document["manifest"]["content_hash"], dict(document["files"])
            format = document["manifest"]["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClientError(f"{path} is damaged; delete it, or export to another folder") from error
        if (content, format) != (manifest.content_hash, manifest.format):
            raise ClientError(
                f"{folder} holds the {format} export of another curation; export to another folder"
            )
        return cls(folder, manifest, files)

    def path_of(self, file: ExportFile) -> Path:
        # The name comes from the server: it must not lead out of the folder.
        parts = PurePosixPath(file.name).parts
        if not parts or any(part in ("..", "/") for part in parts) or "\\" in file.name:
            raise UnexpectedAnswerError(f"the platform names a file {file.name!r}, which is not written")
        return self._folder.joinpath(*parts)

    def has(self, file: ExportFile) -> bool:
        entry = self._files.get(file.name)
        if not isinstance(entry, dict) or entry.get("etag") != file.etag:
            return False
        path = self.path_of(file)
        return path.is_file() and path.stat().st_size == entry.get("bytes")

    def add(self, file: ExportFile, size: int, digest: str) -> None:
        self._files[file.name] = {"etag": file.etag, "bytes": size, "sha256": digest}
        manifest = self._manifest.model_dump(mode="json", exclude={"files"})
        document = {"manifest": manifest, "files": self._files}
        # Written to another name and renamed, so that an interruption never leaves half a record.
        part = self._folder / f"{RECORD}.part"
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")
        os.replace(part, self._folder / RECORD)


def _fetch(transport: Transport, name: str, url: str, path: Path) -> tuple[int, str]:
    """Download a file and return its size and SHA-256; a broken transfer is retried from the beginning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            size, digest = _transfer(transport, url, part)
            os.replace(part, path)
            return size, digest
        except (ConnectionFailedError, UnavailableError, httpx.TransportError) as error:
            if attempt == ATTEMPTS - 1:
                raise ConnectionFailedError(f"{name} broke off again and again: {error}") from error
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _transfer(transport: Transport, url: str, part: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    path, _, query = url.partition("?")
    call = Call(path=path, params=dict(httpx.QueryParams(query)), headers={"Accept": "*/*"})
    with transport.stream(call) as answer, part.open("wb") as target:
        for piece in answer.iter_bytes(PIECE_BYTES):
            target.write(piece)
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
