"""How many runs there may be at a time: in all, of one caller, on one API server. Pure."""

import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote, urlsplit

from k8s_mcp.errors import TooManyRuns
from k8s_mcp.models import RunSpec
from k8s_mcp.policy.rules import Grant

_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Quotas:
    """The service's own, for everybody. 0: no limit."""

    runs: int
    runs_of_principal: int = 0
    runs_on_cluster: int = 0

    def check(self, new: RunSpec, grant: Grant, running: Iterable[RunSpec]) -> None:
        """Raise TooManyRuns if `new` is one too many beside those running, on whatever replica."""
        running = list(running)
        of_principal = sum(run.owner == new.owner for run in running)
        on_cluster = Counter(cluster for run in running for cluster in {_cluster(server) for server in run.servers})
        _check(len(running), self.runs, "runs are in progress, the most this service allows")
        for most in (self.runs_of_principal, grant.max_runs):
            _check(of_principal, most, "runs of yours are in progress, the most you may have")
        for most in (self.runs_on_cluster, grant.max_cluster_runs):
            for server in new.servers:
                _check(on_cluster[_cluster(server)], most, f"runs are in progress on {server}, the most it may have")


def _check(count: int, most: int | None, what: str) -> None:
    if most and count >= most:
        raise TooManyRuns(f"{count} {what}; try again later")


def _cluster(server: str) -> tuple[str, str, int, str]:
    """What an API server's URL means to whoever connects to it, whatever way it is written: the same for the same.

    As Go's `path.Join` has it, by which kubectl puts its requests' paths behind that of the URL.
    """
    parts = urlsplit(server)
    host = (parts.hostname or "").removesuffix(".")
    path = posixpath.normpath("/" + unquote(parts.path).lstrip("/"))
    return parts.scheme, _host(host), parts.port or _DEFAULT_PORTS.get(parts.scheme, 0), path


def _host(name: str) -> str:
    try:
        address = ip_address(name)
    except ValueError:
        return name.lower()
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
