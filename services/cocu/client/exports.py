"""Exports to a folder: the files of a manifest, each fetched whole, and a note of those that are there."""

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
from cocu.client.models import ExportFile, ExportFormat, ExportManifest
from cocu.client.transport import Call, Params, Transport

NOTE = "cocu-export.json"
"""In the folder: what was exported, and of every file there its etag, size and SHA-256."""

ATTEMPTS = 5
PIECE = 1 << 20

Progress = Callable[[int, int, int], None]
"""Called with the samples written (or there already), those in all, and the bytes received."""


@dataclass(frozen=True)
class Asked:
    """What to export; see the API's `GET …/export`."""

    format: ExportFormat
    images: bool = True
    max_concepts: int | None = None
    clusters: bool = False

    @property
    def params(self) -> Params:
        """As the query of a request."""
        return {
            "format": self.format,
            "images": "true" if self.images else "false",
            "max_concepts": self.max_concepts,
            "clusters": "true" if self.clusters else "false",
        }


def export(
    transport: Transport, curation: str, folder: Path, asked: Asked, *, progress: Progress | None = None
) -> ExportManifest:
    """Fetch every file of an export that the folder does not have yet; `curation` is the curation's path.

    A file appears under its name when it is whole; after an interruption, the same call fetches the rest. A
    file that was changed or belongs to another export is replaced. Raises ClientError when the folder holds
    another curation's export.
    """
    manifest = transport.get(ExportManifest, f"{curation}/export/manifest", params=asked.params)
    note = _Note.read(folder, manifest)
    samples = received = 0
    total = sum(file.samples for file in manifest.files)
    for file in manifest.files:
        if not note.has(file):
            size, digest = _fetch(transport, file, note.place(file))
            received += size
            note.add(file, size, digest)
        samples += file.samples
        if progress is not None:
            progress(samples, total, received)
    return manifest


class _Note:
    """What the folder has, kept in the folder."""

    def __init__(self, folder: Path, manifest: ExportManifest, files: dict[str, Any]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._files = files

    @classmethod
    def read(cls, folder: Path, manifest: ExportManifest) -> _Note:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NOTE
        if not path.exists():
            return cls(folder, manifest, {})
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            content, files = document["manifest"]["content_hash"], dict(document["files"])
            form = document["manifest"]["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClientError(f"{path} is damaged; delete it, or export to another folder") from error
        if (content, form) != (manifest.content_hash, manifest.format):
            raise ClientError(
                f"{folder} holds the {form} export of another curation; export to another folder"
            )
        return cls(folder, manifest, files)

    def place(self, file: ExportFile) -> Path:
        parts = PurePosixPath(file.name).parts
        if not parts or any(part in ("..", "/") for part in parts) or "\\" in file.name:
            raise UnexpectedAnswerError(f"the platform names a file {file.name!r}, which is not written")
        return self._folder.joinpath(*parts)

    def has(self, file: ExportFile) -> bool:
        noted = self._files.get(file.name)
        if not isinstance(noted, dict) or noted.get("etag") != file.etag:
            return False
        place = self.place(file)
        return place.is_file() and place.stat().st_size == noted.get("bytes")

    def add(self, file: ExportFile, size: int, digest: str) -> None:
        self._files[file.name] = {"etag": file.etag, "bytes": size, "sha256": digest}
        manifest = self._manifest.model_dump(mode="json", exclude={"files"})
        document = {"manifest": manifest, "files": self._files}
        written = self._folder / f"{NOTE}.part"
        written.write_text(json.dumps(document, indent=1), encoding="utf-8")
        os.replace(written, self._folder / NOTE)


def _fetch(transport: Transport, file: ExportFile, place: Path) -> tuple[int, str]:
    """Write a file; its size and SHA-256. A transfer that breaks off is begun again, some times."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            outcome = _transfer(transport, file, part)
            os.replace(part, place)
            return outcome
        except (ConnectionFailedError, UnavailableError, httpx.TransportError) as error:
            if attempt == ATTEMPTS - 1:
                raise ConnectionFailedError(f"{file.name} broke off again and again: {error}") from error
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _transfer(transport: Transport, file: ExportFile, part: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    path, _, query = file.url.partition("?")
    call = Call(path=path, params=dict(httpx.QueryParams(query)), headers={"Accept": "*/*"})
    with transport.stream(call) as answer, part.open("wb") as target:
        for piece in answer.iter_bytes(PIECE):
            target.write(piece)
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
