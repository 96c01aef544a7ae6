"""Resumable uploads of a file over any number of connections (tus 1.0.0).

The Idempotency-Key of an upload is a hash of its content and options. So another process finds the same
upload again and continues where this one stopped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from cocu.client.exceptions import (
    ConnectionFailedError,
    ProblemError,
    UnavailableError,
    UnexpectedAnswerError,
)
from cocu.client.transport import Call, Transport, segment
from cocu.schemas import Upload, UploadOptions

FRUITLESS_ATTEMPTS = 8
"""So many connections in a row may end without any progress."""
UPLOADS = 3
"""How often a file is uploaded when the platform loses the upload, or receives it damaged."""
PIECE_BYTES = 1 << 20
_VERSION = {"Tus-Resumable": "1.0.0"}
_RETRYABLE = frozenset({408, 409, 423})
"""Timeout, another offset, and locked: another request may still be writing to the same upload."""
_DAMAGED = 460


class _LostError(Exception):
    """The platform does not know the upload, or no longer."""


@dataclass(kw_only=True)
class ResumableUpload:
    """The upload of one file into a dataset.

    path: of the dataset, as `/v1/datasets/{id}`. progress: is called with the bytes sent and the total.
    """

    transport: Transport
    path: str
    name: str
    file: Path
    sha256: bytes
    options: UploadOptions
    progress: Callable[[int, int], None]
    _size: int = field(init=False)
    _sent: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._size = self.file.stat().st_size

    def send(self) -> Upload:
        """Send the missing bytes until the upload is complete, over as many connections as necessary.

        Raises ProblemError where the platform refuses the upload; ConnectionFailedError or UnavailableError
        after FRUITLESS_ATTEMPTS.
        """
        key = self._key()
        for number in range(UPLOADS):
            last = number == UPLOADS - 1
            try:
                self._send_all(self._create(key))
            except _LostError as error:
                if last:
                    raise ConnectionFailedError(f"the platform keeps losing upload {self.name!r}") from error
            except ProblemError as error:
                if error.problem.status != _DAMAGED or last:
                    raise
            else:
                upload = self.transport.get(Upload, f"{self.path}/uploads/{segment(self.name)}")
                if upload.state != "failed" or self._sent or last:
                    return upload
            # The upload with this key cannot be used: it is gone, damaged, or failed in an earlier run. A new
            # key makes the platform create another one.
            key = secrets.token_hex(16)
        raise AssertionError("unreachable: the last upload returns or raises")

    def _key(self) -> str:
        parts = [self.path, self.name, self.sha256.hex(), self._size, self._params()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()

    def _params(self) -> Mapping[str, str | int | float | bool | None]:
        return self.options.model_dump(exclude_defaults=True)

    def _create(self, key: str) -> str:
        fields = {"filename": self.name, "sha256": self.sha256.hex()}
        metadata = ",".join(f"{name} {_encoded(text)}" for name, text in fields.items())
        headers = {
            **_VERSION,
            "Upload-Length": str(self._size),
            "Upload-Metadata": metadata,
            "Idempotency-Key": f'"{key}"',
        }
        call = Call(
            method="POST",
            path=f"{self.path}/uploads",
            params=self._params(),
            headers=headers,
            idempotent=True,
        )
        answer = self.transport.send(call)
        return self.transport.resolve(answer, answer.headers.get("Location", ""))

    def _send_all(self, location: str) -> None:
        furthest, fruitless = -1, 0
        while True:
            try:
                offset = self._offset(location)
                if offset == self._size:
                    self.progress(offset, self._size)
                    return
                # Only progress resets the counter, so that a platform that stores nothing is not retried
                # for ever.
                if offset > furthest:
                    furthest, fruitless = offset, 0
                self._sent = True
                self.transport.send(self._piece(location, offset))
            except (ConnectionFailedError, ProblemError) as error:
                if not _is_retryable(error):
                    raise
                fruitless += 1
                if fruitless > FRUITLESS_ATTEMPTS:
                    raise
                time.sleep(min(0.1 * 2.0**fruitless, 5.0) * random.uniform(0.8, 1.2))

    def _offset(self, location: str) -> int:
        try:
            return _header(
                self.transport.send(Call(method="HEAD", path=location, headers=_VERSION)), "Upload-Offset"
            )
        except UnexpectedAnswerError as error:  # answers to HEAD have no body, so no problem document
            raise _LostError from error

    def _piece(self, location: str, offset: int) -> Call:
        return Call(
            method="PATCH",
            path=location,
            content=lambda: self._content(offset),
            headers={
                **_VERSION,
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
            },
            size=self._size - offset,
        )

    def _content(self, offset: int) -> Iterator[bytes]:
        self.progress(offset, self._size)
        with self.file.open("rb") as content:
            content.seek(offset)
            while chunk := content.read(PIECE_BYTES):
                yield chunk
                offset += len(chunk)
                self.progress(offset, self._size)


def _is_retryable(error: ConnectionFailedError | ProblemError) -> bool:
    if isinstance(error, ConnectionFailedError | UnavailableError):
        return True
    return error.problem.status in _RETRYABLE


def _header(answer: httpx.Response, name: str) -> int:
    value = answer.headers.get(name, "")
    if not value.isdigit():
        raise UnexpectedAnswerError(f"{answer.request.url} answered without {name}; is it a cocu platform?")
    return int(value)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
