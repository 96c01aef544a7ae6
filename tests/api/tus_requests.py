"""Requests of tus 1.0.0, complete and broken off."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import httpx
import pytest

from cocu.schemas import Dataset

VERSION = {"Tus-Resumable": "1.0.0"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def create(
    http: httpx.Client, dataset: Dataset, length: int, *, name: str = "one.tar", **headers: str
) -> httpx.Response:
    sent = {"Upload-Length": str(length), "Upload-Metadata": f"filename {encoded(name)}"}
    return http.post(f"/v1/datasets/{dataset.id}/uploads", headers={**VERSION, **sent, **headers})


def created(http: httpx.Client, dataset: Dataset, length: int, *, name: str = "one.tar") -> str:
    answer = create(http, dataset, length, name=name)
    assert answer.status_code == 201, answer.text
    return str(answer.url.join(answer.headers["Location"]))


def patch(
    http: httpx.Client, location: str, offset: int, content: bytes | Iterator[bytes], **headers: str
) -> httpx.Response:
    sent = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return http.patch(location, content=content, headers={**VERSION, **sent, **headers})


def offset_of(http: httpx.Client, location: str) -> int:
    return int(http.head(location, headers=VERSION).headers["Upload-Offset"])


def break_off(http: httpx.Client, location: str, offset: int, content: bytes) -> None:
    """Send a part of what was announced, and close the connection."""

    def parts() -> Iterator[bytes]:
        yield content
        time.sleep(0.02)  # mostly enough for the server to read it; what it has not read is simply not there
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        patch(http, location, offset, parts())


def resume(http: httpx.Client, location: str, content: bytes) -> httpx.Response:
    """Send the rest, once the server has noticed the end of the connection before."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        offset = offset_of(http, location)
        answer = patch(http, location, offset, content[offset:])
        if answer.status_code not in {409, 423}:
            break
        time.sleep(0.01)
    return answer


def is_problem(answer: httpx.Response, status: int) -> bool:
    return (
        answer.status_code == status
        and answer.headers["Tus-Resumable"] == "1.0.0"
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json()["status"] == status
    )
