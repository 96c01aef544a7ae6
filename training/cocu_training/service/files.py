"""Answers with a file of a run: all of it, a part, or 304 for a caller that has it.

While a file is sent, the run may append to it or delete it. The file stays open, and is sent with the length
that it had at the beginning.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fastapi import Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cocu_training.service import results

PIECE = 1 << 18
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-cache",
    "Accept-Ranges": "bytes",
}


class _FileAnswer(StreamingResponse):
    """Closes the file when the answer has ended, also after an error."""

    def __init__(self, file: BinaryIO, part: range, *, status: int, headers: dict[str, str]) -> None:
        super().__init__(_pieces(file, part), status_code=status, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def file_answer(
    path: Path, *, part: str | None = None, held: str | None = None, part_of: str | None = None
) -> Response:
    """Make the answer. part, held, part_of: the headers Range, If-None-Match and If-Range, or None.

    Raises FileNotFoundError, and RangeError where the file has no such part.
    """
    file = path.open("rb")
    try:
        status = os.fstat(file.fileno())
        tag = _tag(status)
        headers = {**HEADERS, "ETag": tag, "Content-Type": results.media_type(path.name)}
        if held is not None and _names(held, tag):
            file.close()
            return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
        # The caller has the rest of another version, so it gets the complete file.
        chosen = results.part_of(part, status.st_size) if part_of in {None, tag} else None
    except BaseException:
        file.close()
        raise
    sent = range(status.st_size) if chosen is None else chosen
    headers["Content-Length"] = str(len(sent))
    if chosen is None:
        return _FileAnswer(file, sent, status=200, headers=headers)
    headers["Content-Range"] = f"bytes {sent.start}-{sent.stop - 1}/{status.st_size}"
    return _FileAnswer(file, sent, status=206, headers=headers)


def _pieces(file: BinaryIO, part: range) -> Iterator[bytes]:
    file.seek(part.start)
    left = len(part)
    while left:
        piece = file.read(min(PIECE, left))
        if not piece:
            raise OSError("a file of a run became shorter while it was sent")
        left -= len(piece)
        yield piece


def _tag(status: os.stat_result) -> str:
    version = f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
    return f'"{hashlib.sha256(version.encode()).hexdigest()[:32]}"'


def _names(held: str, tag: str) -> bool:
    tags = {entry.strip().removeprefix("W/") for entry in held.split(",")}
    return tag in tags or "*" in tags
