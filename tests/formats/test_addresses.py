from __future__ import annotations

import ipaddress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.formats.addresses import BLOCKED, literal, why_blocked


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "100.64.0.1", "100.127.255.255", "169.254.169.254", "0.0.0.0", "0.1.2.3", "192.0.0.1", "198.18.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1",
        "::1", "::", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1",
        "::ffff:0:127.0.0.1", "2002:7f00:1::", "2002:808:808::1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8",
        "64:ff9b:1::1", "2001::1", "2001:db8::1", "100::1", "4000::1", "2001:4860:4860::8888%eth0",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet__are_blocked(text: str) -> None:
    assert why_blocked(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2001:4860:4860::8888", "2a00::1"],
)
def test_addresses_of_the_internet__are_not(text: str) -> None:
    assert why_blocked(ip_address(text)) is None


@given(st.ip_addresses())
def test_what_python_calls_private__is_blocked(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if why_blocked(address) is None:
        assert not address.is_private
        assert not address.is_multicast
        assert not address.is_loopback


@given(st.sampled_from(sorted(BLOCKED)).flatmap(lambda block: st.ip_addresses(network=block)))
def test_every_address_of_a_blocked_range__is_blocked(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert why_blocked(address)


def test_a_network_that_is_allowed__is_reached_and_no_other() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    assert why_blocked(ip_address("10.1.2.3"), allowed=allowed) is None
    assert why_blocked(ip_address("10.2.0.1"), allowed=allowed)
    assert why_blocked(ip_address("::ffff:10.1.2.3"), allowed=allowed)


@pytest.mark.parametrize(
    "host", ["2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1", "0x7f000001", "127.0.0.1.", "127.0.0.0x1"]
)
def test_addresses_written_otherwise__are_refused(host: str) -> None:
    with pytest.raises(ipaddress.AddressValueError):
        literal(host)


def test_names__are_no_addresses() -> None:
    assert literal("example.org") is None
    assert literal("127.0.0.1.nip.io") is None
    assert literal("8.8.8.8") == ip_address("8.8.8.8")
    assert literal("::1") == literal("[::1]") == ip_address("::1")
