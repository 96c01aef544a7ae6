"""The proxies that the environment names; connections to this machine itself never use one.

For all other hosts HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY apply, as urllib reads them; NO_PROXY may
also contain networks (10.0.0.0/8). Only the variables that apply to an address are read, so an invalid value
in another variable does no harm.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import ssl
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

_SCHEMES = ("http", "https", "socks5", "socks5h")


class BadEnvironmentError(ValueError):
    """A variable for proxies or certificates is invalid; the message says which, and what to do."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, 127.0.0.0/8 or ::1, in every spelling."""
    name = host.strip("[]").rstrip(".").lower().partition("%")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    mapped = getattr(address, "ipv4_mapped", None)
    return address is not None and (address.is_loopback or (mapped is not None and mapped.is_loopback))


def proxy_for(url: str) -> str | None:
    """The proxy for a URL, None without one. Raises BadEnvironmentError for an invalid proxy."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    kind = parts.scheme if parts.scheme in proxies else "all"
    proxy = proxies.get(kind)
    if not proxy or is_loopback(host) or _excluded(host, proxies.get("no", "")):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    reason = _invalid_reason(proxy)
    if reason is not None:
        raise BadEnvironmentError(
            f"the proxy that {_variable(kind)} names cannot be used for {host}: {reason}; correct the "
            f"variable, or name {host} in NO_PROXY"
        )
    return proxy


def http_options(url: str) -> dict[str, Any]:
    """Options for httpx clients and transports of one server. Raises BadEnvironmentError."""
    return {"trust_env": False, "proxy": proxy_for(url), "verify": _verify(url)}


def grpc_options(address: str) -> dict[str, Any]:
    """Options of a gRPC channel to `host:port`; for hosts other than this one gRPC reads the environment."""
    host = urlsplit(f"//{address}").hostname or ""
    local = address.startswith("unix:") or is_loopback(host)
    return {"grpc.enable_http_proxy": 0} if local else {}


def _verify(url: str) -> ssl.SSLContext | bool:
    if not url.startswith("https:"):
        return False  # no certificate is checked without TLS
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        raise BadEnvironmentError(
            f"the certificates that {name} names ({os.environ.get(name)}) cannot be read: "
            f"{error.strerror or error}; correct the variable"
        ) from error


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _excluded(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names a host, its domain or its network."""
    if proxy_bypass(host):
        return True
    address = _address(host)
    for entry in no_proxy.split(","):
        try:
            if address is not None and address in ipaddress.ip_network(
                entry.strip().strip("[]"), strict=False
            ):
                return True
        except ValueError:
            continue
    return False


def _invalid_reason(proxy: str) -> str | None:
    try:
        scheme, port = httpx.URL(proxy).scheme, urlsplit(proxy).port
    except (httpx.InvalidURL, ValueError):
        return "it is not a URL"
    if scheme not in _SCHEMES or port == 0:
        return f"{scheme}:// is none of {', '.join(_SCHEMES)}"
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        return 'SOCKS needs another package (pip install "httpx[socks]")'
    return None


def _variable(kind: str) -> str:
    """The environment variable that sets a proxy."""
    names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), "the system")
