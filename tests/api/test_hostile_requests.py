"""For any request the answer is a result or a problem, and never a failure of the platform."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import Curated

from cocu.api.server import LocalServer

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=40) | st.sampled_from(
    ["\0", "..", "%", "%2F", "a/b", "-1", "9" * 25, "null", "'; --"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
GETS = (
    "/v1/datasets/{0}",
    "/v1/datasets/{0}/report",
    "/v1/datasets/{0}/rejections",
    "/v1/datasets/{0}/uploads/{1}",
    "/v1/datasets/{0}/samples/{1}",
    "/v1/datasets/{0}/samples/{1}/image",
    "/v1/vocabularies/{0}",
    "/v1/vocabularies/{0}/concepts",
    "/v1/vocabularies/{0}/overlap",
    "/v1/curations/{0}",
    "/v1/curations/{0}/events",
    "/v1/curations/{0}/archives",
    "/v1/curations/{0}/archives/{1}",
    "/v1/curations/{0}/archives/{1}/adjacent",
    "/v1/curations/{0}/facets",
    "/v1/curations/{0}/evaluations/{1}",
    "/{0}/{1}",
)
POSTS = (
    "/v1/datasets",
    "/v1/vocabularies",
    "/v1/datasets/{d}/curations",
    "/v1/datasets/{d}/imports",
    "/v1/datasets/{d}/uploads",
    "/v1/curations/{c}/evaluations",
)


def well_answered(answer: httpx.Response) -> bool:
    if answer.status_code < 400:
        return True
    problem = json.loads(answer.content)
    return (
        answer.status_code < 500
        and answer.headers["content-type"] == "application/problem+json"
        and problem["status"] == answer.status_code
        and problem["type"].startswith("urn:cocu:problem:")
        and bool(problem["detail"])
    )


def raw(server: LocalServer, request: bytes) -> bytes:
    """Send exactly these bytes, and return the answer."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@QUICK
@given(route=st.sampled_from(GETS), first=TEXT, second=TEXT)
def test_paths__with_any_segments(http: httpx.Client, route: str, first: str, second: str) -> None:
    segments = [quote(segment, safe="", errors="surrogatepass") for segment in (first, second)]
    with http.stream("GET", route.format(*segments)) as answer:
        # By `..` it came to the events of everything, which do not end.
        if answer.headers["content-type"].startswith("text/event-stream"):
            assert answer.request.url.path == "/v1/events"
            return
        answer.read()
    if answer.request.url.raw_path.startswith(b"/v1/"):
        assert well_answered(answer)
    else:  # by `..` it came to a page
        assert answer.status_code in {200, 404}


def test_paths__that_lead_to_a_stream_end(http: httpx.Client) -> None:
    test_paths__with_any_segments.hypothesis.inner_test(http, "/v1/curations/{0}/events", "..", "")


@QUICK
@given(
    key=TEXT,
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "concept", "added", "min_score", "size"]), TEXT
    ),
)
def test_queries__with_any_values(
    http: httpx.Client, curated: Curated, key: str, query: dict[str, str]
) -> None:
    for path in (
        f"/v1/curations/{curated.curation.id}/archives",
        f"/v1/datasets/{curated.dataset.id}/samples/{quote(key, safe='')}/image",
        f"/v1/datasets/{curated.dataset.id}/samples",
        "/v1/datasets",
    ):
        assert well_answered(http.get(path, params=query))


@QUICK
@given(route=st.sampled_from(POSTS), body=JSON)
def test_bodies__of_any_json(http: httpx.Client, curated: Curated, route: str, body: object) -> None:
    path = route.format(d=curated.dataset.id, c=curated.curation.id)
    assert well_answered(
        http.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    )


@pytest.mark.parametrize("route", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'"text"',
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"name": "\\ud800"}',
        b'{"labels": {"\\ud800": ["a"]}}',
        b'{"labels": {"plain": ["\\ud800"]}}',
        b'{"text": "dog\\ud800"}',
        b'{"name": "nul\\u0000"}',
        b'{"text": "nul\\u0000"}',
        b"\xff\xfe{}",
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": "' + b"x" * 300 + b'"}',
        b'{"labels": {"plain": []}}',
        b'{"labels": {"plain": ["dog"]}, "label_map": "../../etc/passwd"}',
        b'{"instances": {"images": [{"id": 1e400, "file_name": "a"}], "annotations": [], "categories": []}}',
    ],
)
def test_bodies__known_to_hurt(http: httpx.Client, curated: Curated, route: str, body: bytes) -> None:
    path = route.format(d=curated.dataset.id, c=curated.curation.id)
    assert well_answered(http.post(path, content=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "/"]
)
def test_bodies__of_another_media_type_are_told_what_is_read(http: httpx.Client, kind: str) -> None:
    answer = http.post("/v1/datasets", content=b'{"name": "a"}', headers={"Content-Type": kind})
    assert answer.status_code in {415, 422}
    assert well_answered(answer)


@pytest.mark.parametrize("route", ["/v1/datasets", "/v1/vocabularies"])
def test_bodies__that_are_no_json_are_told_so_with_json_in_capitals(http: httpx.Client, route: str) -> None:
    answer = http.post(route, content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "The body is not JSON."
    assert answer.json()["errors"][0]["problem"].startswith("JSON ")


def test_bodies__with_ten_thousand_parts(http: httpx.Client) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    answer = http.post(
        "/v1/datasets",
        content=part * 10_000 + b"--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert well_answered(answer)


def test_bodies__larger_than_the_limit_are_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/datasets", content=b" " * (5 << 20), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert well_answered(answer)


@pytest.mark.parametrize("limit", ["-1", "0", "1001", str(2**63), "1e2", "x", ""])
def test_limits__out_of_range_are_refused(http: httpx.Client, limit: str) -> None:
    answer = http.get("/v1/datasets", params={"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "query.limit"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "=" * 100, "é", "A" * 8000, "\0"])
def test_cursors__that_are_none_are_refused(http: httpx.Client, curated: Curated, cursor: str) -> None:
    for path in ("/v1/datasets", f"/v1/curations/{curated.curation.id}/archives"):
        answer = http.get(path, params={"cursor": cursor})
        assert answer.status_code == 422
        assert "next" in answer.json()["errors"][0]["problem"]


def test_cursors__with_one_character_changed_are_refused(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/datasets/{curated.dataset.id}/samples"
    cursor = http.get(path, params={"limit": 1}).json()["next"]
    for at in range(len(cursor) - 1):
        changed = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        assert http.get(path, params={"limit": 1, "cursor": changed}).status_code == 422


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE", "TRACE", "PROPFIND"])
def test_methods__that_are_not_possible_say_which_are(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/v1/datasets")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert well_answered(answer)


def test_ranges__in_great_number_are_ignored(http: httpx.Client, curated: Curated) -> None:
    ranges = "bytes=" + ",".join(f"{at}-{at}" for at in range(5_000))
    answer = http.get(f"/v1/datasets/{curated.dataset.id}/samples/plain/image", headers={"Range": ranges})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /v1/datasets/%zz%ff/report HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/curations/a/archives/%ff%fe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /v1/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: nonsense\r\n\r\n",
        b"POST /v1/vocabularies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        b"PUT /v1/datasets/a/uploads/b HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_bytes__that_are_hardly_http(server: LocalServer, http: httpx.Client, request_bytes: bytes) -> None:
    answer = raw(server, request_bytes)
    assert not answer.startswith(b"HTTP/1.1 5")
    assert http.get("/healthz").status_code == 200


def test_upload__that_breaks_off_leaves_nothing(
    server: LocalServer, http: httpx.Client, curated: Curated
) -> None:
    request = (
        f"PUT /v1/datasets/{curated.dataset.id}/uploads/broken.tar HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    ).encode()
    raw(server, request + b"only a part")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        answer = http.get(f"/v1/datasets/{curated.dataset.id}/uploads/broken.tar").json()
        if answer.get("state") == "failed":
            break
        time.sleep(0.05)
    assert answer["state"] == "failed"
    assert "connection ended" in answer["detail"]
    names = server.platform.objects.list(f"datasets/{curated.dataset.id}/uploads")
    assert not any("broken" in name for name in names)
    assert http.get(f"/v1/datasets/{curated.dataset.id}").json()["ingesting"] == 0
