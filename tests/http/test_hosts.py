"""Names that a server answers to, and pages that may change something on it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cocu.http.hosts import HostCheck, Hosts

Headers = list[tuple[bytes, bytes]]


def answered(
    *headers: tuple[str, str], method: str = "GET", names: tuple[str, ...] = (), version: str = "1.1"
) -> int:
    """The status for these headers; 200 where the request was passed on."""
    statuses: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    raw_headers: Headers = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": "/", "http_version": version, "headers": raw_headers}
    asyncio.run(HostCheck(application, Hosts(names))(scope, None, send))  # type: ignore[arg-type]
    return statuses[0]


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8000", "LocalHost:8000", "localhost.", "localhost.:80", "app.localhost",
        "127.0.0.1", "127.0.0.1:8000", "10.1.2.3:8000", "[::1]", "[::1]:8000", "[2001:db8::1]:80",
        "[::ffff:127.0.0.1]", "0.0.0.0:8000", "localhost:",
    ],
)  # fmt: skip
def test_names_of_the_machine_and_addresses_are_answered(host: str) -> None:
    assert answered(("host", host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "EVIL.example.", "localhost.evil.example", "notlocalhost",
        "127.0.0.1.evil.example", "api", "2130706433", "0x7f.1", "127.1", "1.2.3.4.5", "xn--localhost-",
    ],
)  # fmt: skip
def test_other_names_are_not(host: str) -> None:
    assert answered(("host", host)) == 421


@pytest.mark.parametrize(
    "host", ["", ":8000", "a@localhost", "localhost:99999", "localhost:x", "[::1", "a b", "localhost/x"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    assert answered(("host", host)) == 400


def test_one_host_is_named_in_one_header() -> None:
    assert answered(("host", "localhost"), ("host", "evil.example")) == 400
    assert answered() == 400
    assert answered(version="1.0") == 200


def test_names_of_the_settings_are_answered() -> None:
    names = ("api", "Cocu.Example.org", "*.internal")
    assert [answered(("host", host), names=names) for host in ("api:8000", "COCU.example.org.")] == [200] * 2
    assert [answered(("host", host), names=names) for host in ("a.internal", "a.b.internal:1")] == [200] * 2
    assert [answered(("host", host), names=names) for host in ("internal", "ainternal", "pi")] == [421] * 3
    assert answered(("host", "anything.example"), names=("*",)) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "https://evil.example", "null", "http://localhost:3000", "http://localhost",
        "http://127.0.0.1:8000", "http://localhost:8000.evil.example", "file://", "chrome-extension://abc",
        "http://localhost:8000@evil.example",
    ],
)  # fmt: skip
def test_pages_of_other_sites_change_nothing(method: str, origin: str) -> None:
    assert answered(("host", "localhost:8000"), ("origin", origin), method=method) == 403


def test_own_pages_change_things_and_everyone_may_look() -> None:
    host = ("host", "localhost:8000")
    assert answered(host, ("origin", "http://localhost:8000"), method="POST") == 200
    assert answered(host, ("origin", "http://LOCALHOST:8000"), method="DELETE") == 200
    assert answered(("host", "10.0.0.1"), ("origin", "http://10.0.0.1"), method="POST") == 200
    assert answered(("host", "10.0.0.1:443"), ("origin", "https://10.0.0.1"), method="POST") == 200
    assert answered(host, method="POST") == 200
    assert answered(host, ("origin", "http://evil.example")) == 200
    assert answered(host, ("origin", "http://evil.example"), method="HEAD") == 200


def test_pages_of_named_hosts_change_things_behind_a_proxy() -> None:
    proxied = ("host", "api:8000"), ("origin", "https://cocu.example.org")
    assert answered(*proxied, method="POST", names=("api", "cocu.example.org")) == 200
    assert answered(*proxied, method="POST", names=("api",)) == 403
    # `*` accepts every host, but gives no page permission.
    assert answered(*proxied, method="POST", names=("*",)) == 403


def test_two_origins_are_both_looked_at() -> None:
    host, own = ("host", "localhost"), ("origin", "http://localhost")
    assert answered(host, own, ("origin", "http://evil.example"), method="POST") == 403
