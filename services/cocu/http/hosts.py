"""Host names that a server accepts, and the check of Origin against pages of other sites.

A malicious page can reach a server on the user's machine in two ways. It can let its own name resolve to our
address (DNS rebinding): then `Host` is its name, and not one of ours. Or it can send a request to our address
directly, which browsers allow without our consent if it looks like a form: then `Origin` differs from `Host`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from cocu.http.problems import problem_response

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; browsers hide their answers from other sites anyway."""
_AUTHORITY: Final = re.compile(r"(\[[0-9a-fA-F:.%A-Za-z]+\]|[^:@/?#\[\]\s]+)(?::([0-9]{0,5}))?")
_PORTS: Final = {"http": "80", "https": "443"}


class Hosts:
    """The host names that a server accepts.

    These are names of the machine itself (localhost and its subdomains), IP addresses, and `names`, where
    `*.example.org` stands for all subdomains and `*` for any name.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def has(self, name: str) -> bool:
        """Return whether the server accepts this name."""
        return "*" in self._names or self.names(name) or _is_local(name)

    def names(self, name: str) -> bool:
        """Return whether the operator listed this name, itself or by `*.`; `*` alone does not count."""
        parents = (f"*.{name.split('.', count)[-1]}" for count in range(1, name.count(".") + 1))
        return name in self._names or any(parent in self._names for parent in parents)


class HostCheck:
    """ASGI middleware that refuses requests for other hosts, and changes that pages of other sites request.

    It answers 421 for another `Host`, 400 for none or several, 403 for an `Origin` other than the host.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem, or pass the request on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
            return
        status, detail = refusal
        response = problem_response(status, detail, headers={"Connection": "close"})
        await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        received = {b"host": list[str](), b"origin": list[str]()}
        for name, value in scope["headers"]:
            if name in received:
                received[name].append(value.decode("latin-1").strip())
        hosts = received[b"host"]
        if not hosts and scope["http_version"] == "1.0":
            # Browsers do not use HTTP/1.0, and other clients may leave out the host.
            authority = ("", "")
        else:
            parsed = _parsed(hosts[0]) if len(hosts) == 1 else None
            if parsed is None:
                return 400, "The request must name one host, in one Host header."
            if not self.hosts.has(parsed[0]):
                return 421, (
                    f"This server does not answer to the name {parsed[0][:100]!r}; ask for localhost or its "
                    "address, or name it in COCU_HOSTS where the server is started."
                )
            authority = parsed
        if scope["method"] in SAFE or all(self._is_own(origin, authority) for origin in received[b"origin"]):
            return None
        return 403, (
            "A page of another site may not change anything here; if it is to, name its host in COCU_HOSTS."
        )

    def _is_own(self, origin: str, authority: tuple[str, str]) -> bool:
        scheme, _, location = origin.lower().partition("://")
        parsed = _parsed(location)
        if scheme not in _PORTS or parsed is None:
            return False
        default = _PORTS[scheme]
        name, port = parsed
        return (name, port or default) == (authority[0], authority[1] or default) or self.hosts.names(name)


def _parsed(authority: str) -> tuple[str, str] | None:
    """Return the name in lower case without a final dot, and the port or ""; None if it is invalid."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match[2] or 0) > 65535:
        return None
    return match[1].lower().rstrip("."), match[2] or ""


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
