import ipaddress
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.addresses import check_resolved, why_refused

METADATA = int(ipaddress.IPv4Address("169.254.169.254"))

LINK_LOCAL = ["169.254.169.254", "169.254.170.2", "169.254.0.0", "169.254.255.255", "fe80::1", "febf::1"]
METADATA_ADDRESSES = [
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
]
METADATA_NAMES = ["metadata.google.internal", "METADATA.Google.Internal.", "metadata", "instance-data.ec2.internal"]
NOWHERE = ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"]
IN_IPV6 = [
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "0:0:0:0:0:FFFF:A9FE:A9FE",
    "::169.254.169.254",
    "::a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:102:304:0:0:5601:5601",  # Teredo, the client's address inverted
]
ODD_SPELLINGS = [
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "169.16689662",
    "169.254.43518",
    "169.254.169.0376",
    "0000169.254.169.254",
    "169.254.169.254..",
    "①⑥⑨.254.169.254",
    "１６９.２５４.１６９.２５４",
    "169。254。169。254",
    "169.254.169.254%00",
    "%31%36%39.254.169.254",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "127.1",
    "0",
    "0x7f.1",
    "017700000001",
    "10.0.0.010",  # 10.0.0.8 or 10.0.0.10, as readers differ
    "10.0.0.256",
    "1.2.3.4.5",
    "example.0x1",
    "::ffff:0xa9.254.169.254",
    "1:2:3",
]
NO_HOSTS = [
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a b",
    " a",
    "a\n",
    "a\x00",
    "a/b",
    "a@b",
    "[::1]",
    "a" * 254,
    "bücher.example",
    "\u212a",
]
LOOPBACK = [
    "127.0.0.1",
    "127.255.255.254",
    "127.0.0.1.",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
]
LOOPBACK_NAMES = ["localhost", "LOCALHOST.", "a.localhost", "a.b.localhost", "localhost.localdomain", "ip6-loopback"]
ORDINARY = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "8.8.8.8",
    "8.8.8.8.",
    "169.253.255.255",
    "169.255.0.0",
    "240.0.0.1",
    "fd12:3456::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::1",
    "kubernetes.default.svc",
    "api.example.com",
    "API.Example.COM.",
    "a_b.example",
    "metadata.example.com",
    "localhost.example.com",
    "1.example",
    "xn--bcher-kva.example",
    "0x1.example",
]


@pytest.mark.parametrize(
    "host", [*LINK_LOCAL, *METADATA_ADDRESSES, *METADATA_NAMES, *NOWHERE, *IN_IPV6, *ODD_SPELLINGS, *NO_HOSTS]
)
@pytest.mark.parametrize("loopback", [True, False])
def test_the_services_own_surroundings_are_refused_by_whatever_spelling(host: str, loopback: bool) -> None:
    assert why_refused(host, loopback=loopback)


@pytest.mark.parametrize("host", [*LOOPBACK, *LOOPBACK_NAMES])
def test_loopback_is_refused_unless_allowed(host: str) -> None:
    assert why_refused(host, loopback=True) is None
    assert "loopback" in (why_refused(host, loopback=False) or "")


@pytest.mark.parametrize("host", ORDINARY)
def test_private_addresses_and_names_are_ordinary(host: str) -> None:
    assert why_refused(host, loopback=False) is None


@pytest.mark.parametrize("spelling", [spelling for spelling in ODD_SPELLINGS if spelling.isascii()])
def test_the_odd_spellings_that_resolvers_understand_mean_what_the_table_refuses(spelling: str) -> None:
    """Shows that the table is no invention: those that the C library takes are no usual spelling of an address."""
    with suppress(OSError):
        address = socket.inet_ntoa(socket.inet_aton(spelling))
        assert address != spelling


def _spell(number: int, parts: int, formats: list[str]) -> str:
    heads = [number >> 24, number >> 16 & 255, number >> 8 & 255][: parts - 1]
    tail = number & (1 << 8 * (5 - parts)) - 1
    return ".".join(form.format(part) for form, part in zip(formats, [*heads, tail], strict=False))


@given(
    number=st.integers(0, 2**32 - 1) | st.just(METADATA),
    parts=st.integers(1, 4),
    formats=st.lists(
        st.sampled_from(["{}", "0{:o}", "00{:o}", "0x{:x}", "0X{:X}", "0x0{:x}"]), min_size=4, max_size=4
    ),
)
def test_an_ipv4_address_that_the_c_library_reads_is_in_dotted_decimal_or_refused(
    number: int, parts: int, formats: list[str]
) -> None:
    spelling = _spell(number, parts, formats)
    address = str(ipaddress.IPv4Address(number))
    assert socket.inet_ntoa(socket.inet_aton(spelling)) == address
    assert spelling == address or why_refused(spelling, loopback=True)


@given(st.text(st.sampled_from("0123456789abfxX.:"), max_size=20))
def test_nothing_else_that_the_c_library_reads_as_an_address_gets_through(host: str) -> None:
    with suppress(OSError):
        address = socket.inet_ntoa(socket.inet_aton(host))
        assert host == address or why_refused(host, loopback=True)


@given(st.ip_addresses())
def test_what_python_calls_loopback_link_local_multicast_or_unspecified_is_refused(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert why_refused(str(address), loopback=False)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_refused_in_ipv6_forms_if_it_is_refused_itself(address: ipaddress.IPv4Address) -> None:
    refused = why_refused(str(address), loopback=False) is not None
    number = int(address)
    forms = [
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(0x64FF9B << 96 | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1),
    ]
    assert [why_refused(str(form), loopback=False) is not None for form in forms] == [refused] * 3


@given(st.text())
def test_any_text_is_judged_without_an_error(host: str) -> None:
    reason = why_refused(host, loopback=False)
    assert reason is None or reason.isprintable()


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["10.0.0.1", "::1"], ["fe80::1%2"]])
def test_a_name_that_resolves_to_a_refused_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(KubeconfigError, match=r"api\.example\.com.*send an address"):
        check_resolved("api.example.com", addresses, loopback=False)


def test_a_name_that_resolves_to_ordinary_addresses_is_accepted() -> None:
    check_resolved("api.example.com", ["10.0.0.1", "2001:db8::1"], loopback=False)
    check_resolved("localhost", ["127.0.0.1", "::1"], loopback=True)
