"""How many runs there may be at a time: in all, of one caller, on one API server. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from k8s_mcp.errors import TooManyRuns
from k8s_mcp.models import RunSpec
from k8s_mcp.policy.rules import Grant


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
        on_cluster = Counter(server for run in running for server in set(run.servers))
        _check(len(running), self.runs, "runs are in progress, the most this service allows")
        for most in (self.runs_of_principal, grant.max_runs):
            _check(of_principal, most, "runs of yours are in progress, the most you may have")
        for most in (self.runs_on_cluster, grant.max_cluster_runs):
            for server in new.servers:
                _check(on_cluster[server], most, f"runs are in progress on {server}, the most it may have")


def _check(count: int, most: int | None, what: str) -> None:
    if most and count >= most:
        raise TooManyRuns(f"{count} {what}; try again later")
