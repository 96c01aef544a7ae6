"""gzip: of JSON and text from 1 kB on, with its own ETag; never of streams, images, exports and parts."""

from __future__ import annotations

import asyncio
import gzip
import json

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.api.conftest import Curated

from cocu.http.compression import MIN_BYTES, Compression, accepts_gzip

PLAIN = {"Accept-Encoding": "identity"}
GZIP = {"Accept-Encoding": "gzip"}


def raw(http: httpx.Client, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """An answer with the bytes as they were sent."""
    with http.stream("GET", path, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.fixture
def archives(curated: Curated) -> str:
    return f"/v1/curations/{curated.curation.id}/archives?limit=5"


def test_a_large_answer__is_compressed_and_the_same(http: httpx.Client, archives: str) -> None:
    plain, body = raw(http, archives, **PLAIN)
    compressed, sent = raw(http, archives, **GZIP)
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == body
    assert len(sent) == int(compressed.headers["content-length"]) < len(body) / 2
    for answer in (plain, compressed):
        assert answer.headers["vary"] == "Accept-Encoding"
    assert plain.headers["etag"] != compressed.headers["etag"]
    # The same answer has the same bytes, as its strong tag says.
    assert raw(http, archives, **GZIP)[1] == sent


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/v1/datasets/{dataset}/samples"])
def test_documents_and_lists__are_compressed_too(http: httpx.Client, curated: Curated, path: str) -> None:
    path = path.format(dataset=curated.dataset.id)
    compressed, sent = raw(http, path, **GZIP)
    assert compressed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == raw(http, path, **PLAIN)[1]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/datasets/{dataset}",
        "/v1/datasets/{dataset}/samples/plain/image",
        "/v1/datasets/{dataset}/samples/plain/image?size=96",
        "/v1/curations/{curation}/export?format=jsonl",
        "/v1/curations/{curation}/export/files/README.md?format=huggingface",
        "/v1/curations/{curation}/export/files/00000.jsonl?format=jsonl",
        "/v1/curations/{curation}/batches?format=arrow&images=false",
        "/v1/curations/{curation}/events",
        "/v1/datasets/{dataset}/report?format=csv",
    ],
)
def test_small_answers_streams_images_and_exports__are_sent_as_they_are(
    http: httpx.Client, curated: Curated, path: str
) -> None:
    path = path.format(dataset=curated.dataset.id, curation=curated.curation.id)
    # The length is known once a part has been asked for; that does not make it another thing.
    for _ in range(2):
        answer, sent = raw(http, path, **GZIP)
        assert (answer.status_code, "content-encoding" in answer.headers) == (200, False)
        assert raw(http, path, **PLAIN)[1] == sent
        http.head(path)


def test_conditional_requests__hold_for_both_forms(http: httpx.Client, archives: str) -> None:
    plain, compressed = (http.get(archives, headers=coding).headers["etag"] for coding in (PLAIN, GZIP))
    for coding, sent, status in (
        (GZIP, compressed, 304),
        (GZIP, f"W/{compressed}", 304),
        (GZIP, plain, 304),
        (PLAIN, plain, 304),
        # Those who do not accept gzip cannot use what they are said to have.
        (PLAIN, compressed, 200),
        (GZIP, '"another-gzip"', 200),
    ):
        answer = http.get(archives, headers={**coding, "If-None-Match": sent})
        assert (coding, sent, answer.status_code) == (coding, sent, status)
        if status == 304:
            # A cache finds what it has by this tag.
            assert answer.headers["etag"] == sent.removeprefix("W/")
            assert answer.headers["vary"] == "Accept-Encoding"


def test_a_finished_curation__is_not_sent_again(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/curations/{curated.curation.id}"
    first = http.get(path, headers=GZIP)
    assert first.headers["content-encoding"] == "gzip"
    assert http.get(path, headers={**GZIP, "If-None-Match": first.headers["etag"]}).status_code == 304


def test_parts__are_of_the_plain_bytes(http: httpx.Client, archives: str) -> None:
    plain, body = raw(http, archives, **PLAIN)
    compressed = http.get(archives, headers=GZIP)
    assert compressed.headers["accept-ranges"] == "none"
    part, sent = raw(http, archives, **GZIP, Range="bytes=10-29")
    assert (part.status_code, sent) == (206, body[10:30])
    assert part.headers["etag"] == plain.headers["etag"]
    assert part.headers["vary"] == "Accept-Encoding"
    # The rest of compressed bytes would not fit: the whole is sent.
    condition = {"Range": "bytes=10-29", "If-Range": compressed.headers["etag"]}
    whole, sent = raw(http, archives, **GZIP, **condition)
    assert (whole.status_code, sent) == (200, body)


def test_head__says_what_get_says(http: httpx.Client, archives: str) -> None:
    for coding in (PLAIN, GZIP):
        head, get = http.head(archives, headers=coding), http.get(archives, headers=coding)
        for name in ("etag", "vary", "content-length", "content-encoding", "accept-ranges"):
            assert head.headers.get(name) == get.headers.get(name)


def test_large_problems__are_compressed(http: httpx.Client) -> None:
    query = "&".join(f"wrong{number}=1" for number in range(40))
    answer = http.get(f"/v1/datasets?{query}", headers=GZIP)
    assert (answer.status_code, answer.headers["content-encoding"]) == (422, "gzip")
    assert len(answer.json()["errors"]) == 40


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5, br", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("br", False),
        ("gzipped", False),
        ("gzip;q=high", False),
        ("gzip;q=nan", False),
        ("", False),
        (";;;,,,==", False),
    ],
)
def test_accepts_gzip__reads_the_header(header: str, accepted: bool) -> None:
    assert accepts_gzip(Headers({"accept-encoding": header})) is accepted
    assert accepts_gzip(Headers(raw=[])) is False
    several = [(b"accept-encoding", b"br"), (b"accept-encoding", header.encode())]
    assert accepts_gzip(Headers(raw=several)) is accepted


def messages_of(app: ASGIApp, *, method: str = "GET") -> list[Message]:
    """What the middleware sends for an answer of `app` to somebody who accepts gzip."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        # The client stays.
        return await asyncio.Future()

    scope: Scope = {"type": "http", "method": method, "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(Compression(app)(scope, receive, send))
    return messages


def test_the_bound__is_one_kilobyte() -> None:
    for size in (MIN_BYTES - 1, MIN_BYTES):
        start, _ = messages_of(Response("x" * size, media_type="text/plain"))
        assert (b"content-encoding" in dict(start["headers"])) is (size >= MIN_BYTES)


def test_streams__begin_at_once() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            await send(message)
            seen.append(message["type"])

        async def pieces() -> object:
            # The answer has begun before there is anything to say.
            assert seen == ["http.response.start"]
            yield b"x" * 5_000

        await StreamingResponse(pieces(), media_type="text/event-stream")(scope, receive, noted)  # type: ignore[arg-type]

    start, *pieces = messages_of(app)
    assert b"content-encoding" not in dict(start["headers"])
    assert b"".join(piece["body"] for piece in pieces) == b"x" * 5_000


def test_a_file_in_pieces__is_sent_as_it_is() -> None:
    answer = StreamingResponse(
        iter([b"x" * 900, b"y" * 900]), headers={"Content-Length": "1800"}, media_type="text/css"
    )
    start, *pieces = messages_of(answer)
    headers = dict(start["headers"])
    assert (headers[b"content-length"], b"content-encoding" in headers) == (b"1800", False)
    assert b"".join(piece["body"] for piece in pieces) == b"x" * 900 + b"y" * 900


def test_a_route_for_head__does_not_tell_a_length_that_get_would_not() -> None:
    answer = Response(b"", headers={"Content-Length": "5000", "ETag": '"a"'}, media_type="application/json")
    start, end = messages_of(answer, method="HEAD")
    headers = dict(start["headers"])
    assert (headers[b"content-encoding"], headers[b"etag"]) == (b"gzip", b'"a-gzip"')
    assert b"content-length" not in headers
    assert end["body"] == b""


def test_a_long_answer__is_compressed_beside_the_others() -> None:
    content = json.dumps(list(range(50_000)))
    start, body = messages_of(Response(content, media_type="application/json"))
    assert gzip.decompress(body["body"]).decode() == content
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])
