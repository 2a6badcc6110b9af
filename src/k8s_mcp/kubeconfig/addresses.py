"""Which addresses of an API server mean the service's own surroundings, by whatever spelling.

Private addresses are ordinary clusters. Refused are link-local, metadata, unspecified, multicast and
broadcast addresses, and loopback unless the command runs beside its caller; also inside IPv6 addresses that
carry an IPv4 one. Names are judged here by what they are called; the caller resolves them and asks
`check_resolved`.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from k8s_mcp.errors import KubeconfigError

_LINK_LOCAL, _METADATA = "link-local, where cloud metadata is", "a cloud's metadata service"
_IS_LOOPBACK = "loopback, which is the runner itself and not your machine"
_REFUSED: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple(
    (ip_network(network), reason)
    for network, reason in {
        "169.254.0.0/16": _LINK_LOCAL,
        "fe80::/10": _LINK_LOCAL,
        "100.100.100.200/32": _METADATA,  # Alibaba
        "168.63.129.16/32": _METADATA,  # Azure
        "192.0.0.192/32": _METADATA,  # Oracle
        "fd00:ec2::/32": _METADATA,  # Amazon: metadata, time, names, pod identity
        "fd20:ce::254/128": _METADATA,  # Google
        "fd00:42::42/128": _METADATA,  # Scaleway
        "0.0.0.0/8": "unspecified, which connects to the machine itself",
        "::/96": "unspecified or IPv4-compatible",
        "224.0.0.0/4": "multicast",
        "ff00::/8": "multicast",
        "255.255.255.255/32": "broadcast",
        "64:ff9b:1::/48": "translated to IPv4 by a rule only the local network knows",  # RFC 8215
    }.items()
)
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# IPv6 networks whose last 32 bits are an IPv4 address: mapped, translated (SIIT), NAT64.
_IPV4_AT_THE_END = tuple(IPv6Network(network) for network in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))

_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
# What /etc/hosts files call it
_LOOPBACK_NAME = re.compile(r"(.+\.)?localhost|localhost[46]?(\.localdomain[46]?)?|ip6-(localhost|loopback)|loopback")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")

SEND_INSTEAD = "send an address at which other machines reach the cluster"


def why_refused(host: str, *, loopback: bool) -> str | None:
    """Why an API server may not have this host (IPv6 without brackets), said of "it"; None when it may.

    A host that is not in its usual spelling is refused whatever it means: kubectl takes `0xA9FEA9FE`,
    `2852039166` and `0251.0376.43518` for names, but the C library's resolver takes them for addresses (after
    IDNA full-width digits too).
    """
    name = host.lower().removesuffix(".")
    # So no zone (%eth0), no %-escapes. `host` must be ASCII, for the Kelvin sign's lower case is a plain k.
    if not host.isascii() or len(name) > 253 or not _HOST.fullmatch(name):
        return "is neither an ASCII name (punycode for others) nor an IP address in its usual spelling"
    # The WHATWG URL standard's rule: a host whose last label is a number is an IPv4 address, or nothing.
    if ":" in name or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2]):
        address = _address(name)
        reason = _why_address_refused(address, loopback) if address else "no IP address in its usual spelling"
    else:
        reason = _why_name_refused(name, loopback)
    return f"{name} is {reason}" if reason else None


def check_resolved(host: str, addresses: Iterable[str], *, loopback: bool) -> None:
    """Raises KubeconfigError if one of the addresses to which `host` resolved is refused."""
    for address in addresses:
        reason = why_refused(address, loopback=loopback)
        if reason:
            raise KubeconfigError(
                f"the host {host[:253]!r} resolves to an address that is refused: {reason}; {SEND_INSTEAD}"
            )


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(name) if ":" in name else IPv4Address(name)
    except AddressValueError:
        return None


def _why_address_refused(address: IPv4Address | IPv6Address, loopback: bool) -> str | None:
    for one in (address, *_carried(address)):
        if any(one in network for network in _LOOPBACK):
            if not loopback:
                return _IS_LOOPBACK
            continue
        for network, reason in _REFUSED:
            if one in network:
                return reason
    return None


def _carried(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a packet for this IPv6 address may go in the end."""
    if isinstance(address, IPv4Address):
        return
    if any(address in network for network in _IPV4_AT_THE_END):
        yield IPv4Address(address.packed[-4:])
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo


def _why_name_refused(name: str, loopback: bool) -> str | None:
    if name in _METADATA_NAMES:
        return _METADATA
    if not loopback and _LOOPBACK_NAME.fullmatch(name):
        return _IS_LOOPBACK
    return None
