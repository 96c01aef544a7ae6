"""Fetching what a stranger's URL names, without lending the stranger our place in the network.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name
that resolves otherwise a moment later changes nothing. Redirects begin all of this anew. Bytes and time are
limited while they flow, also those of headers; nothing is decompressed.

    with Fetcher(FetchPolicy(max_bytes=1 << 30)).open("https://example.org/photos.tar") as fetched:
        for chunk in fetched.chunks: ...
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpcore
import httpx

from cocu import machine
from cocu.errors import ExhaustedError, InvalidInputError, UnavailableError
from cocu.formats import addresses
from cocu.formats.addresses import Address, Network
from cocu.formats.http_transport import DeadlineExceededError, PinnedTransport

AGENT = "cocu"
USER_AGENT = f"{AGENT}/1 (dataset import)"
NO_AI = frozenset({"noai", "noimageai", "noindex", "noimageindex"})
VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives with a value behind a colon; any other word there is the name of a robot."""
LONGEST_URL = 8_192
MOST_ADDRESSES = 16
_HOST = re.compile(r"[0-9A-Za-z_.-]+|[0-9A-Fa-f:.]+")

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host name, as text. Raises OSError when it has none."""


class FetchReason(StrEnum):
    """Why a URL was not fetched: stable codes."""

    BAD_URL = "bad_url"
    SCHEME = "scheme"
    USER_INFO = "user_info"
    PORT = "port"
    ADDRESS = "address"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    STATUS = "status"
    ENCODING = "encoding"
    NO_AI = "no_ai"
    TOO_LARGE = "too_large"
    UNRESOLVED = "unresolved"
    UNREACHED = "unreached"
    BROKEN_OFF = "broken_off"
    TOO_SLOW = "too_slow"

    @property
    def can_pass(self) -> bool:
        """Whether the same URL may be had at another time, by itself: also a 404 ends when a site is back."""
        return self in _PASSING

    @property
    def by_setting(self) -> bool:
        """Whether the operator's settings refuse it, so that it may be had when they are others."""
        return self in _BY_SETTING


_PASSING = frozenset(
    {
        FetchReason.STATUS,
        FetchReason.UNRESOLVED,
        FetchReason.UNREACHED,
        FetchReason.BROKEN_OFF,
        FetchReason.TOO_SLOW,
    }
)


_BY_SETTING = frozenset({FetchReason.PORT, FetchReason.ADDRESS, FetchReason.TOO_LARGE})


class FetchRefusedError(InvalidInputError):
    """The URL must not be fetched, or what is there must not be taken; trying again changes nothing.

    policy: the signature of the policy that refuses it, where another one might not.
    """

    def __init__(self, reason: FetchReason, message: str, *, policy: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.policy = policy


class FetchFailedError(UnavailableError):
    """The other side did not answer as it should; trying again later may help."""

    def __init__(self, reason: FetchReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class FetchPolicy:
    """What a fetch may do.

    max_bytes: of the body. max_seconds: from the first look-up to the last byte, redirects included;
    pause_seconds: without a byte. ports: that may be connected to. networks: that may be reached although
    they are not public. honour_no_ai: whether to leave alone what X-Robots-Tag keeps from machine learning.
    """

    max_bytes: int
    max_seconds: float = 3600.0
    pause_seconds: float = 30.0
    connect_seconds: float = 10.0
    max_redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})
    networks: tuple[Network, ...] = ()
    honour_no_ai: bool = True

    @property
    def signature(self) -> str:
        """Equal for policies that refuse the same; see `FetchReason.by_setting`."""
        networks = ",".join(sorted(map(str, self.networks)))
        return f"ports {sorted(self.ports)} networks {networks} bytes {self.max_bytes}"

    @classmethod
    def of(cls, *, networks: Iterable[str] = (), **others: Any) -> FetchPolicy:
        """A policy whose networks are text. Raises InvalidInputError for text that is not a network."""
        try:
            return cls(networks=tuple(ipaddress.ip_network(network) for network in networks), **others)
        except ValueError as error:
            raise InvalidInputError(f"fetch_networks names no network: {error}") from error


@dataclass(frozen=True)
class Fetched:
    """An answer while it is read. `size` in bytes where the other side said; `url` after redirects."""

    url: str
    content_type: str
    size: int | None
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class _Target:
    """Where a request goes: the URL, and the checked addresses of its host."""

    url: httpx.URL
    port: int
    addresses: tuple[Address, ...]


class Fetcher:
    """Fetches URLs under a policy; safe to use from many threads.

    Never goes through a proxy: that would look hosts up itself, beyond the addresses that are checked here.
    """

    def __init__(
        self, policy: FetchPolicy, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self._resolve = _system_resolve if resolve is None else resolve
        self._tls = tls

    def check(self, url: str) -> None:
        """Raises FetchRefusedError for a URL that never would be fetched, without looking anything up."""
        self._parsed(url)

    def read(self, url: str) -> bytes:
        """The whole body. Raises as `open` does, and while it is read."""
        try:
            with self.open(url) as fetched:
                return b"".join(fetched.chunks)
        except FetchRefusedError as error:
            if error.reason.by_setting:
                error.policy = self.policy.signature
            raise

    @contextmanager
    def open(self, url: str) -> Iterator[Fetched]:
        """What the URL names, to be read while the context lasts.

        Raises FetchRefusedError and FetchFailedError, also out of `chunks`.
        """
        deadline = time.monotonic() + self.policy.max_seconds
        parsed = self._parsed(url)
        for _ in range(self.policy.max_redirects + 1):
            target = self._target(parsed)
            with self._answer(target, deadline) as answer, _translate_errors(parsed):
                following = _redirected(parsed, answer)
                if following is None:
                    yield self._accepted(parsed, answer)
                    return
            parsed = self._parsed(following)
        raise FetchRefusedError(
            FetchReason.TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects} redirects follow"
        )

    def _parsed(self, text: str) -> httpx.URL:
        if len(text) > LONGEST_URL or any(ord(letter) <= 32 or letter in "\\\x7f" for letter in text):
            raise _refused(FetchReason.BAD_URL, "the URL is too long, or has spaces or backslashes in it")
        try:
            url = httpx.URL(text)
            host = url.raw_host.decode("ascii")
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise _refused(FetchReason.BAD_URL, "the URL is malformed") from error
        if url.scheme not in ("http", "https"):
            raise _refused(
                FetchReason.SCHEME, f"{url.scheme or 'no scheme'} is not fetched, only http and https"
            )
        if "@" in re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]:
            raise _refused(FetchReason.USER_INFO, "the URL carries a user name or password; leave them out")
        if _HOST.fullmatch(host) is None:
            raise _refused(FetchReason.BAD_URL, "the URL names no host")
        if _port(url) not in self.policy.ports:
            allowed = ", ".join(str(port) for port in sorted(self.policy.ports))
            raise _refused(FetchReason.PORT, f"port {_port(url)} is not connected to, only {allowed}")
        self._check_literal(host)
        return url

    def _check_literal(self, host: str) -> Address | None:
        try:
            address = addresses.literal(host)
        except ValueError as error:
            raise _refused(
                FetchReason.ADDRESS, "the host is an address in a form that is not read"
            ) from error
        if address is not None:
            self._check_address(address)
        return address

    def _check_address(self, address: Address) -> None:
        why = addresses.why_blocked(address, allowed=self.policy.networks)
        if why is not None:
            raise _refused(FetchReason.ADDRESS, f"the host lies where imports do not reach ({why})")

    def _target(self, url: httpx.URL) -> _Target:
        host, port = url.raw_host.decode("ascii"), _port(url)
        address = self._check_literal(host)
        if address is not None:
            return _Target(url, port, (address,))
        try:
            resolved = [ipaddress.ip_address(text) for text in self._resolve(host, port)]
        except (OSError, UnicodeError) as error:
            _raise_exhausted(error)
            raise FetchFailedError(FetchReason.UNRESOLVED, f"the host {host!r} has no address") from error
        except ValueError as error:
            raise _refused(
                FetchReason.ADDRESS, "the host has an address in a form that is not read"
            ) from error
        if not resolved:
            raise FetchFailedError(FetchReason.UNRESOLVED, f"the host {host!r} has no address")
        for candidate in resolved:  # one that is not public is enough: nothing honest has both
            self._check_address(candidate)
        return _Target(url, port, tuple(dict.fromkeys(resolved))[:MOST_ADDRESSES])

    @contextmanager
    def _answer(self, target: _Target, deadline: float) -> Iterator[httpcore.Response]:
        backend = PinnedTransport(target.addresses, target.port, deadline)
        timeouts = {
            "connect": self.policy.connect_seconds,
            "read": self.policy.pause_seconds,
            "write": self.policy.pause_seconds,
        }
        url = httpcore.URL(
            scheme=target.url.raw_scheme,
            host=target.url.raw_host,
            port=target.port,
            target=target.url.raw_path,
        )
        headers: dict[bytes | str, bytes | str] = {
            "Host": target.url.netloc.decode("ascii"),
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        with (
            httpcore.ConnectionPool(
                ssl_context=self._tls, network_backend=backend, max_keepalive_connections=0
            ) as pool,
            contextlib.ExitStack() as stack,
        ):
            with _translate_errors(target.url):
                answer = stack.enter_context(
                    pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts})
                )
            yield answer

    def _accepted(self, url: httpx.URL, answer: httpcore.Response) -> Fetched:
        headers = httpx.Headers(answer.headers)
        if answer.status != 200:
            later = answer.status >= 500 or answer.status in (408, 425, 429)
            kind = FetchFailedError if later else FetchRefusedError
            raise kind(FetchReason.STATUS, f"the other side answered {answer.status}")
        if self.policy.honour_no_ai and _keeps_from_learning(headers.get_list("x-robots-tag")):
            raise _refused(FetchReason.NO_AI, "its owner keeps it from machine learning (X-Robots-Tag)")
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise _refused(FetchReason.ENCODING, "it came compressed although that was not asked for")
        stated = headers.get("content-length", "")
        size = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 19 else None
        if size is not None and size > self.policy.max_bytes:
            raise self._too_large()
        return Fetched(str(url), headers.get("content-type", ""), size, self._limited(url, answer))

    def _limited(self, url: httpx.URL, answer: httpcore.Response) -> Iterator[bytes]:
        received = 0
        with _translate_errors(url):
            for chunk in answer.iter_stream():
                received += len(chunk)
                if received > self.policy.max_bytes:
                    raise self._too_large()
                yield chunk

    def _too_large(self) -> FetchRefusedError:
        return FetchRefusedError(
            FetchReason.TOO_LARGE, f"it is larger than the limit of {self.policy.max_bytes:,} bytes"
        )


@contextmanager
def _translate_errors(url: httpx.URL) -> Iterator[None]:
    try:
        yield
    except DeadlineExceededError as error:
        raise FetchFailedError(FetchReason.TOO_SLOW, f"{url.host} took longer than fetching may") from error
    except httpcore.TimeoutException as error:
        raise FetchFailedError(FetchReason.TOO_SLOW, f"{url.host} fell silent") from error
    except (httpcore.ConnectError, ssl.SSLError) as error:
        _raise_exhausted(error.__cause__ or error)
        raise FetchFailedError(FetchReason.UNREACHED, f"{url.host} is not reached") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        if "Transfer-Encoding" in str(error):
            raise _refused(
                FetchReason.ENCODING, "it came in a Transfer-Encoding other than chunked alone"
            ) from error
        raise FetchFailedError(FetchReason.BROKEN_OFF, f"the answer of {url.host} broke off") from error


def _raise_exhausted(error: BaseException) -> None:
    """That this process has no descriptor left is not the other side's fault."""
    machine_error = machine.find_machine_error(error, "connect")
    if isinstance(machine_error, ExhaustedError):
        raise machine_error from error


def _redirected(url: httpx.URL, answer: httpcore.Response) -> str | None:
    """Where an answer sends us, as an absolute URL that is yet to be checked."""
    if answer.status not in (301, 302, 303, 307, 308):
        return None
    location = httpx.Headers(answer.headers).get("location")
    if location is None:
        raise _refused(FetchReason.STATUS, f"the other side answered {answer.status} without a Location")
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise _refused(FetchReason.BAD_URL, "the redirect leads to a malformed URL") from error


def _keeps_from_learning(tags: Sequence[str]) -> bool:
    """Whether an X-Robots-Tag, meant for everyone or for us, says so: `noai` or `cocu: noai, nofollow`."""
    for tag in tags:
        meant_for_us = True
        for part in tag.lower().split(","):
            first, separator, second = (word.strip() for word in part.partition(":"))
            if separator and first not in VALUED:
                meant_for_us = first in (AGENT, "*")
            if meant_for_us and (second if separator else first) in NO_AI:
                return True
    return False


def _port(url: httpx.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _refused(reason: FetchReason, message: str) -> FetchRefusedError:
    return FetchRefusedError(reason, message)


def _system_resolve(host: str, port: int) -> Sequence[str]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in answers]
