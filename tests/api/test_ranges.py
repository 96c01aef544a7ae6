"""Range requests: images, thumbnails, archives, manifests, files of exports."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from tests.api.conftest import Curated

from cocu.api.ranges import RangeError, parse_range
from cocu.api.server import LocalServer

PATHS = [
    "/v1/datasets/{dataset}/samples/plain/image",
    "/v1/datasets/{dataset}/samples/plain/image?size=96",
    "/v1/curations/{curation}/archives?limit=3",
    "/v1/curations/{curation}/export/manifest",
    "/v1/curations/{curation}/export/files/00000.tar",
    "/v1/curations/{curation}/export/files/00000.jsonl?format=jsonl",
    "/v1/curations/{curation}/export/files/uids.npy?format=datacomp",
    "/v1/curations/{curation}/export/files/README.md?format=huggingface",
]


@pytest.fixture
def http(server: LocalServer) -> Iterator[httpx.Client]:
    """A client that wants the bytes as they are: parts are of these."""
    with httpx.Client(base_url=server.url, headers={"Accept-Encoding": "identity"}, timeout=30) as opened:
        yield opened


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, curated: Curated) -> str:
    return str(request.param).format(dataset=curated.dataset.id, curation=curated.curation.id)


def test_parts__are_those_of_the_whole(http: httpx.Client, path: str) -> None:
    whole = http.get(path).content
    size = len(whole)
    assert http.head(path).headers["content-length"] == str(size)
    for range_header, start, end in (
        ("bytes=0-3", 0, 4),
        ("bytes=-4", size - 4, size),
        ("bytes=7-", 7, size),
        (f"bytes={size - 1}-{size + 99}", size - 1, size),
        (f"bytes=-{size + 99}", 0, size),
        ("Bytes = 1 - 1", 1, 2),
    ):
        part = http.get(path, headers={"Range": range_header})
        assert (range_header, part.status_code, part.content) == (range_header, 206, whole[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - start)
        assert part.headers["accept-ranges"] == "bytes"
        assert part.headers["etag"] == http.head(path).headers["etag"]


def test_parts__behind_the_end_are_a_problem_that_tells_the_size(http: httpx.Client, path: str) -> None:
    size = len(http.get(path).content)
    for range_header in (f"bytes={size}-", "bytes=-0", f"bytes={10**18}-{10**18}"):
        answer = http.get(path, headers={"Range": range_header})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{size}"
        assert answer.json()["type"] == "urn:cocu:problem:range-not-satisfiable"


@pytest.mark.parametrize(
    "range_header",
    ["bytes=0-1,3-4", "bytes=4-1", "items=0-1", "bytes=-", "bytes", "bytes=a-b", "bytes=1-2-3", ""],
)
def test_parts__that_are_several_or_make_no_sense_are_the_whole(
    http: httpx.Client, path: str, range_header: str
) -> None:
    whole = http.get(path).content
    answer = http.get(path, headers={"Range": range_header})
    assert (answer.status_code, answer.content) == (200, whole)


def test_parts__of_another_version_are_the_whole(http: httpx.Client, path: str) -> None:
    etag = http.head(path).headers["etag"]
    headers = {"Range": "bytes=1-2", "If-Range": etag}
    assert http.get(path, headers=headers).status_code == 206
    for other in ('"another"', f"W/{etag}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert http.get(path, headers={**headers, "If-Range": other}).status_code == 200
    # A client that has the whole needs no part.
    assert http.get(path, headers={"Range": "bytes=1-2", "If-None-Match": etag}).status_code == 304
    assert http.head(path, headers={"Range": "bytes=1-2"}).status_code == 200


def test_streams__of_no_known_length_come_whole(http: httpx.Client, curated: Curated) -> None:
    for path in ("export", "batches?format=tar"):
        url = f"/v1/curations/{curated.curation.id}/{path}"
        # The first stream of a process may need time to compile.
        answer = http.get(url, headers={"Range": "bytes=0-3"}, timeout=60)
        assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
        assert len(answer.content) > 4


def test_lists__that_change_come_whole(http: httpx.Client) -> None:
    answer = http.get("/v1/datasets", headers={"Range": "bytes=0-3"})
    assert (answer.status_code, "accept-ranges" in answer.headers) == (200, False)
    assert answer.json()["items"]


@given(st.integers(1, 50), st.integers(0, 60), st.none() | st.integers(0, 60))
def test_part__is_what_slicing_gives(size: int, first: int, last: int | None) -> None:
    whole = bytes(range(size))
    header = Headers({"range": f"bytes={first}-{'' if last is None else last}"})
    if last is not None and last < first:
        assert parse_range(header, size=size, etag="") is None
    elif first >= size:
        with pytest.raises(RangeError):
            parse_range(header, size=size, etag="")
    else:
        part = parse_range(header, size=size, etag="")
        assert part is not None
        assert whole[part.start : part.end] == whole[first : None if last is None else last + 1]
