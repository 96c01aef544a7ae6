"""Fetching: what is public comes whole, and nothing leads anywhere else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from cocu.formats.http_fetch import Fetcher, FetchFailedError, FetchPolicy, FetchReason, FetchRefusedError

CONTENT = bytes(range(256)) * 1000
Answer = Callable[[str, socket.socket], None]


class Site:
    """A server of one answer per connection, given the path that was asked for."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.requests: list[bytes] = []
        self.pages: dict[str, bytes | Answer] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection):
            request = b""
            while b"\r\n\r\n" not in request:
                part = connection.recv(65536)
                if not part:
                    return
                request += part
            self.requests.append(request)
            path = request.split()[1].decode()
            page = self.pages[path]
            try:
                if isinstance(page, bytes):
                    connection.sendall(page)
                else:
                    page(path, connection)
            except OSError:
                return

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


def page(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def policy(site: Site, **changes: object) -> FetchPolicy:
    """One for which the site is in the public internet."""
    defaults = {"max_bytes": 1 << 20, "ports": {80, 443, site.port}, "networks": ["127.0.0.1/32"]}
    return FetchPolicy.of(**(defaults | changes))


def fetcher(
    site: Site, resolve: Callable[[str, int], Sequence[str]] | None = None, **changes: object
) -> Fetcher:
    return Fetcher(policy(site, **changes), resolve=resolve or (lambda host, port: ["127.0.0.1"]))


def reason(
    fetching: Fetcher, url: str, kind: type[FetchRefusedError] | type[FetchFailedError] = FetchRefusedError
) -> FetchReason:
    with pytest.raises(kind) as caught:
        fetching.read(url)
    return caught.value.reason


def test_a_public_file__comes_whole(site: Site) -> None:
    site.pages["/a.tar?x=1"] = page(CONTENT, Content_Type="application/x-tar")
    with fetcher(site).open(f"http://example.org:{site.port}/a.tar?x=1#part") as fetched:
        assert (fetched.content_type, fetched.size) == ("application/x-tar", len(CONTENT))
        assert b"".join(fetched.chunks) == CONTENT
    (request,) = site.requests
    assert f"Host: example.org:{site.port}\r\n".encode() in request
    assert b"Accept-Encoding: identity\r\n" in request


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/", FetchReason.ADDRESS),
        ("http://10.0.0.1/", FetchReason.ADDRESS),
        ("http://169.254.169.254/latest/meta-data/", FetchReason.ADDRESS),
        ("http://[::1]/", FetchReason.ADDRESS),
        ("http://[::ffff:169.254.169.254]/", FetchReason.ADDRESS),
        ("http://[::ffff:a9fe:a9fe]/", FetchReason.ADDRESS),
        ("http://[64:ff9b::7f00:1]/", FetchReason.ADDRESS),
        ("http://[2002:7f00:1::]/", FetchReason.ADDRESS),
        ("http://[fe80::1%25eth0]/", FetchReason.BAD_URL),
        ("http://2130706433/", FetchReason.ADDRESS),
        ("http://0x7f000001/", FetchReason.ADDRESS),
        ("http://127.1/", FetchReason.ADDRESS),
        ("http://0/", FetchReason.ADDRESS),
        ("http://0177.0.0.1/", FetchReason.BAD_URL),
        ("http://127。0。0。1/", FetchReason.ADDRESS),
        ("http://127.0.0.1./", FetchReason.ADDRESS),
        ("http://ex%61mple.org/", FetchReason.BAD_URL),
        ("file:///etc/passwd", FetchReason.SCHEME),
        ("ftp://example.org/", FetchReason.SCHEME),
        ("gopher://example.org/", FetchReason.SCHEME),
        ("data:text/plain,hello", FetchReason.SCHEME),
        ("//example.org/", FetchReason.SCHEME),
        ("example.org", FetchReason.SCHEME),
        ("", FetchReason.SCHEME),
        ("http://user:secret@example.org/", FetchReason.USER_INFO),
        ("http://example.org@127.0.0.1/", FetchReason.USER_INFO),
        ("http://@example.org/", FetchReason.USER_INFO),
        ("http://example.org:22/", FetchReason.PORT),
        ("http://example.org:0/", FetchReason.PORT),
        ("http://example.org:99999/", FetchReason.PORT),
        ("http:///path", FetchReason.BAD_URL),
        ("http://example.org/ a", FetchReason.BAD_URL),
        ("http://example.org/\r\nX: y", FetchReason.BAD_URL),
        ("http://example.org\\@127.0.0.1/", FetchReason.BAD_URL),
        ("http://[::1/", FetchReason.BAD_URL),
        ("http://exa\ud800mple.org/", FetchReason.BAD_URL),
        ("http://example.org/" + "x" * 9000, FetchReason.BAD_URL),
    ],
)
def test_urls_that_lead_elsewhere__are_refused_before_anything_is_looked_up(
    url: str, why: FetchReason
) -> None:
    def never(host: str, port: int) -> Sequence[str]:
        raise AssertionError(f"{host} was looked up")

    fetching = Fetcher(FetchPolicy(max_bytes=10), resolve=never)
    assert reason(fetching, url) == why
    with pytest.raises(FetchRefusedError):
        fetching.check(url)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["fe80::1%lo"], ["::ffff:8.8.8.8"], ["nonsense"]],
)
def test_a_name_with_any_address_that_is_not_public__is_refused(addresses: list[str]) -> None:
    fetching = Fetcher(FetchPolicy(max_bytes=10), resolve=lambda host, port: addresses)
    assert reason(fetching, "http://innocent.example/") == FetchReason.ADDRESS


def test_a_name_is_resolved_once__so_that_another_answer_a_moment_later_changes_nothing(site: Site) -> None:
    site.pages["/"] = page(b"public")
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    resolved: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        resolved.append(host)
        return next(answers)

    assert fetcher(site, rebinding).read(f"http://rebinding.example:{site.port}/") == b"public"
    assert resolved == ["rebinding.example"]


def test_the_address_that_was_checked__is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []

    def refuse(address: object, *_: object, **__: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    fetching = Fetcher(FetchPolicy(max_bytes=10), resolve=lambda host, port: ["93.184.215.14", "2a00::1"])
    assert reason(fetching, "https://example.org/", FetchFailedError) == FetchReason.UNREACHED
    assert connected == [("93.184.215.14", 443), ("2a00::1", 443)]


def test_redirects__are_followed_as_far_as_they_are_allowed(site: Site) -> None:
    site.pages["/0"] = page(status="302 Found", Location="/1")
    site.pages["/1"] = page(status="301 Moved", Location=f"http://other.example:{site.port}/2")
    site.pages["/2"] = page(status="307 Again", Location="3")
    site.pages["/3"] = page(b"there")
    names: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        names.append(host)
        return ["127.0.0.1"]

    url = f"http://one.example:{site.port}"
    assert fetcher(site, resolve).read(f"{url}/0") == b"there"
    assert names == ["one.example", "one.example", "other.example", "other.example"]
    site.pages["/a"] = page(status="302 Found", Location="/0")
    assert reason(fetcher(site), f"{url}/a") == FetchReason.TOO_MANY_REDIRECTS


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("file:///etc/passwd", FetchReason.SCHEME),
        ("http://169.254.169.254/latest/meta-data/", FetchReason.ADDRESS),
        ("//[::1]/", FetchReason.ADDRESS),
        ("http://user@example.org/", FetchReason.USER_INFO),
        ("http://example.org:25/", FetchReason.PORT),
        ("http://inner.example/", FetchReason.ADDRESS),
        ("http://[", FetchReason.BAD_URL),
    ],
)
def test_redirects__are_checked_like_the_first_url(site: Site, location: str, why: FetchReason) -> None:
    site.pages["/"] = page(status="302 Found", Location=location)
    addresses = {"inner.example": ["192.168.0.1"]}
    fetching = fetcher(site, lambda host, port: addresses.get(host, ["127.0.0.1"]))
    assert reason(fetching, f"http://example.org:{site.port}/") == why


def test_more_bytes_than_allowed__are_not_read_whether_they_are_announced_or_not(site: Site) -> None:
    site.pages["/told"] = page(CONTENT)
    site.pages["/untold"] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CONTENT
    site.pages["/lied"] = page(CONTENT[:10], Content_Length="9" * 30)
    for path in ("/told", "/untold"):
        fetching = fetcher(site, max_bytes=len(CONTENT) - 1)
        assert reason(fetching, f"http://example.org:{site.port}{path}") == FetchReason.TOO_LARGE
        assert fetcher(site, max_bytes=len(CONTENT)).read(f"http://example.org:{site.port}{path}") == CONTENT


def test_an_answer_that_ends_early__is_no_file(site: Site) -> None:
    site.pages["/"] = page(CONTENT[:100], Content_Length="200")
    url = f"http://example.org:{site.port}/"
    assert reason(fetcher(site), url, FetchFailedError) == FetchReason.BROKEN_OFF
    site.pages["/"] = b"no http at all\r\n\r\n"
    assert reason(fetcher(site), url, FetchFailedError) == FetchReason.BROKEN_OFF


def _drip(path: str, connection: socket.socket) -> None:
    start = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" if path == "/body" else b"HTTP/1.1 200 OK\r\nX: "
    )
    connection.sendall(start)
    for _ in range(1000):
        connection.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("path", ["/body", "/headers"])
def test_an_answer_that_never_ends__is_left_at_the_deadline(site: Site, path: str) -> None:
    site.pages[path] = _drip
    fetching = fetcher(site, max_seconds=0.5)
    assert reason(fetching, f"http://example.org:{site.port}{path}", FetchFailedError) == FetchReason.TOO_SLOW


def test_an_answer_that_falls_silent__is_left(site: Site) -> None:
    site.pages["/"] = lambda path, connection: time.sleep(3)
    fetching = fetcher(site, pause_seconds=0.2)
    assert reason(fetching, f"http://example.org:{site.port}/", FetchFailedError) == FetchReason.TOO_SLOW


@pytest.mark.parametrize(
    ("tag", "kept"),
    [
        ("noai", True), ("NoAI, nofollow", True), ("noimageai", True), ("cocu: noai", True),
        ("*: noai", True), ("otherbot: noai", False), ("otherbot: nofollow, noai", False),
        ("nofollow", False), ("all", False),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
    ],
)  # fmt: skip
def test_what_is_kept_from_machine_learning__is_left_alone(site: Site, tag: str, kept: bool) -> None:
    site.pages["/"] = page(b"picture", X_Robots_Tag=tag)
    url = f"http://example.org:{site.port}/"
    if kept:
        assert reason(fetcher(site), url) == FetchReason.NO_AI
    else:
        assert fetcher(site).read(url) == b"picture"
    assert fetcher(site, honour_no_ai=False).read(url) == b"picture"


def test_statuses__tell_whether_trying_again_may_help(site: Site) -> None:
    url = f"http://example.org:{site.port}/"
    for status in (
        "404 Not Found",
        "403 Forbidden",
        "206 Partial Content",
        "204 No Content",
        "304 Not Modified",
    ):
        site.pages["/"] = page(status=status)
        assert reason(fetcher(site), url) == FetchReason.STATUS
    for status in ("500 Failed", "503 Later", "429 Slower"):
        site.pages["/"] = page(status=status)
        assert reason(fetcher(site), url, FetchFailedError) == FetchReason.STATUS
    site.pages["/"] = page(status="302 Found")
    assert reason(fetcher(site), url) == FetchReason.STATUS


def test_compressed_answers__are_not_unpacked(site: Site) -> None:
    site.pages["/"] = page(b"\x1f\x8b bomb", Content_Encoding="gzip")
    assert reason(fetcher(site), f"http://example.org:{site.port}/") == FetchReason.ENCODING


@pytest.mark.parametrize("coding", ["gzip, chunked", "deflate, chunked", "gzip", "chunked, chunked"])
def test_other_transfer_encodings_than_chunked__are_refused_by_name(site: Site, coding: str) -> None:
    start = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n".encode()
    site.pages["/"] = start + b"5\r\nabcde\r\n0\r\n\r\n"
    url = f"http://example.org:{site.port}/"
    assert reason(fetcher(site), url) == FetchReason.ENCODING
    site.pages["/"] = site.pages["/"].replace(coding.encode(), b"Chunked")
    assert fetcher(site).read(url) == b"abcde"


def test_a_name_without_an_address__may_have_one_later() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror

    for resolve in (unknown, lambda host, port: []):
        fetching = Fetcher(FetchPolicy(max_bytes=10), resolve=resolve)
        assert reason(fetching, "http://nowhere.example/", FetchFailedError) == FetchReason.UNRESOLVED


def test_a_proxy_of_the_environment__is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["/"] = page(b"direct")
    assert fetcher(site).read(f"http://example.org:{site.port}/") == b"direct"
