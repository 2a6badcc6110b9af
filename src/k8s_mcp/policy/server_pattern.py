"""Patterns for API servers in a policy. Pure.

    *.prod.example.com               a host, whatever port and path
    10.20.0.0/16                     the hosts with an address in that network; no name is resolved
    https://rancher.example.com/k8s/clusters/c-*     a whole URL, where one host has many clusters

`*` stands for any characters but `/`. Case and default ports make no difference.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

_HOST = re.compile(r"[a-z0-9._*-]+|\[?[0-9a-f:.*]+\]?")
_URL = re.compile(r"https?://[a-z0-9._*\[\]:-]+(/[A-Za-z0-9._~*@:+,=-]+)*/?")
_DEFAULT_PORT = {"https": ":443", "http": ":80"}
# What a gateway could read as another path than the one that was compared.
_AMBIGUOUS = re.compile(r"//|/\.|[%;\\]")


@dataclass(frozen=True)
class ServerPattern:
    """One pattern, as it was written."""

    text: str

    def __post_init__(self) -> None:
        """Raises ValueError for what is no pattern."""
        if "://" in self.text:
            if not _URL.fullmatch(_lower_host(self.text)):
                raise ValueError("must be https://HOST[:PORT][/PATH]; `*` stands for any characters but /")
        elif "/" in self.text:
            ip_network(self.text)
        elif not _HOST.fullmatch(self.text.lower()):
            raise ValueError("must be a host without a port, a network (10.0.0.0/8), or a whole URL")

    def matches(self, server: str) -> bool:
        """Whether the API server is meant; `server` is a URL as `kubeconfig.parse` writes it."""
        if "://" in self.text:
            url = _canonical(server)
            path = url.partition("://")[2].partition("/")[2]
            return not _AMBIGUOUS.search(f"/{path}") and _like_in_parts(_canonical(self.text), url)
        host = urlsplit(server).hostname or ""
        if "/" in self.text:
            return _within(host, ip_network(self.text))
        return like(self.text.lower().strip("[]"), host)


def like(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which `*` stands for any characters. Unlike a regular expression, quick."""
    first, *middle = pattern.split("*")
    if not middle:
        return text == pattern
    last = middle.pop()
    position, end = len(first), len(text) - len(last)
    if not text.startswith(first) or not text.endswith(last) or end < position:
        return False
    for piece in middle:
        position = text.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True


def _like_in_parts(pattern: str, text: str) -> bool:
    patterns, parts = pattern.split("/"), text.split("/")
    return len(patterns) == len(parts) and all(map(like, patterns, parts))


def _within(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(host) in network
    except ValueError:
        return False


def _lower_host(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}".lower() + slash + path


def _canonical(url: str) -> str:
    """The host in lower case, no default port, no slash at the end."""
    scheme, _, rest = _lower_host(url).partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORT.get(scheme, ' '))}{slash}{path}".rstrip("/")
