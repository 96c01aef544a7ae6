"""Sending a file so that nothing is sent twice: over as many connections as it takes (tus 1.0.0).

The upload is found again by an Idempotency-Key made of what is sent, so that also another process goes on
where this one was stopped.
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
from cocu.client.models import Upload, UploadOptions
from cocu.client.transport import Call, Transport, segment

FRUITLESS_ATTEMPTS = 8
"""Connections in a row that may end without a byte more having arrived."""
BEGINNINGS = 3
"""How often an upload that the platform no longer knows, or that arrived damaged, is begun anew."""
PIECE = 1 << 20
_VERSION = {"Tus-Resumable": "1.0.0"}
_TRY_AGAIN = frozenset({408, 409, 423})
_DAMAGED = 460


class _LostError(Exception):
    """The platform does not know the upload (any more)."""


@dataclass(kw_only=True)
class ResumableUpload:
    """One file on its way into a dataset.

    path: of the dataset, as `/v1/datasets/{id}`. progress: is told the bytes that have arrived.
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
        """Send what is missing, again and again until all of it is there.

        Raises what the platform answers to the upload itself, and ConnectionFailedError or UnavailableError
        after FRUITLESS_ATTEMPTS.
        """
        key = self._key()
        for beginning in range(BEGINNINGS):
            last = beginning == BEGINNINGS - 1
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
            # What the key stands for is of no use: gone, damaged, or failed long ago.
            key = secrets.token_hex(16)
        raise AssertionError("unreachable: the last beginning returns or raises")

    def _key(self) -> str:
        parts = [self.path, self.name, self.sha256.hex(), self._size, self._params()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()

    def _params(self) -> Mapping[str, str | int | float | bool | None]:
        return self.options.model_dump(exclude_defaults=True)

    def _create(self, key: str) -> str:
        said = {"filename": self.name, "sha256": self.sha256.hex()}
        metadata = ",".join(f"{name} {_encoded(text)}" for name, text in said.items())
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
        return self.transport.send(call).headers["Location"]

    def _send_all(self, location: str) -> None:
        reached, fruitless = -1, 0
        while True:
            try:
                offset = self._offset(location)
                if offset == self._size:
                    self.progress(offset, self._size)
                    return
                if offset > reached:
                    reached, fruitless = offset, 0
                self._sent = True
                self.transport.send(self._piece(location, offset))
            except (ConnectionFailedError, ProblemError) as error:
                if not _may_work_later(error):
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
        except UnexpectedAnswerError as error:  # an error without a body, as every one of HEAD is
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
            while chunk := content.read(PIECE):
                yield chunk
                offset += len(chunk)
                self.progress(offset, self._size)


def _may_work_later(error: ConnectionFailedError | ProblemError) -> bool:
    if isinstance(error, ConnectionFailedError | UnavailableError):
        return True
    return error.problem.status in _TRY_AGAIN


def _header(answer: httpx.Response, name: str) -> int:
    value = answer.headers.get(name, "")
    if not value.isdigit():
        raise UnexpectedAnswerError(f"{answer.request.url} answered without {name}; is it a cocu platform?")
    return int(value)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
