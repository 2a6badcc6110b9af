"""The address that a request was sent to, as its `Host` says, and which are served. Pure.

RFC 9112, section 3.2; RFC 6454 (origins).

Read by a pattern of our own: a reader of URLs takes `evil.example:9096@127.0.0.1` for a user name and a host.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from starlette.datastructures import Headers

from k8s_mcp.errors import MalformedRequest

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::([0-9]{0,5}))?")
_DEFAULT_PORT = {"http": "80", "https": "443"}
_LAST_PORT = 65535
LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class Host:
    """`name` is in lower case, an IPv6 address without its brackets; "" where the request names none."""

    name: str
    port: str = ""

    def origin(self, scheme: str) -> str:
        """What a browser calls a page from here, in the header `Origin`."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        port = "" if self.port in ("", _DEFAULT_PORT.get(scheme)) else f":{self.port}"
        return f"{scheme}://{name}{port}"


class Served:
    """Names and origins that are served: `hosts` besides the local ones, and `origins` of pages of others.

    A page may call the very address that sent it: scheme, host and port. Not at a name that is not served: an
    attacker's page has its own name as `Host` and as `Origin` (DNS rebinding). Behind something that speaks TLS the
    scheme is not ours to see: with `public_origin`, that one is the service's address, and those of this machine are.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = (), public_origin: str = "") -> None:
        self._hosts = LOCAL_HOSTS.union(host.lower() for host in hosts)
        self._origins = frozenset((*origins, public_origin)) if public_origin else frozenset(origins)
        self._own_hosts = LOCAL_HOSTS if public_origin else self._hosts

    def has_host(self, host: Host) -> bool:
        return host.name in self._hosts

    def has_origin(self, origin: str, host: Host, scheme: str) -> bool:
        """Whether a page of `origin` may send a request to `host`."""
        return origin in self._origins or (host.name in self._own_hosts and origin == host.origin(scheme))


def host_of(headers: Headers, http_version: str) -> Host:
    """The one host of a request. Raises MalformedRequest; HTTP/1.0 knew no such header and may leave it out."""
    given = headers.getlist("host")
    if not given and http_version == "1.0":
        return Host("")
    match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if match is None or int(match[2] or 0) > _LAST_PORT or not _is_whole(match[1]):
        raise MalformedRequest("the request must have one Host header, a host's name and perhaps a port: HOST[:PORT]")
    port = match[2].lstrip("0") if match[2] else ""
    return Host(match[1].lower().strip("[]"), port)


def _is_whole(name: str) -> bool:
    """Whether what is in brackets, if there are any, is an IPv6 address."""
    try:
        return not name.startswith("[") or bool(IPv6Address(name[1:-1]))
    except ValueError:
        return False
