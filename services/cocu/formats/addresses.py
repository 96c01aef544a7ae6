"""Which network addresses a stranger's URL may lead to: those of the public internet, and no others.

The refused ranges are listed here, because what Python calls private differs between its versions. Addresses
that contain another one (mapped, translated, tunnelled) are all refused: nobody serves images there, and
where they lead depends on the network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

BLOCKED: dict[str, str] = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by carriers",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local, where clouds keep their credentials",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "for documentation",
    "192.31.196.0/24": "reserved for AS112",
    "192.52.193.0/24": "reserved for tunnels (AMT)",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "reserved for AS112",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, or broadcast",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "IPv4-compatible",
    "::ffff:0:0/96": "mapped IPv4",
    "::ffff:0:0:0/96": "translated IPv4",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64 of a local network",
    "100::/64": "discarded",
    "2001::/23": "reserved for protocols, Teredo among them",
    "2001:db8::/32": "for documentation",
    "2002::/16": "6to4",
    "3fff::/20": "for documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
_BLOCKED = tuple((ipaddress.ip_network(network), why) for network, why in BLOCKED.items())
_PUBLIC_V6 = IPv6Network("2000::/3")


def why_blocked(address: Address, *, allowed: Iterable[Network] = ()) -> str | None:
    """Return why this address must not be connected to, or None if it may be.

    allowed: networks that may be reached although they are not public.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "an address of one network interface"
    if any(address in network for network in allowed):
        return None
    for network, why in _BLOCKED:
        if address in network:
            return why
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return "not assigned to the internet"
    return None


def literal(host: str) -> Address | None:
    """Return the address that a host is written as, or None if it is a name.

    Raises ValueError for other notations that some systems read as an address: decimal
    (2130706433), octal (0177.0.0.1), hexadecimal (0x7f.1) and shortened (127.1) forms.
    """
    if ":" in host:
        return IPv6Address(host.strip("[]"))
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.lower().startswith("0x"):
        return IPv4Address(host)
    return None
