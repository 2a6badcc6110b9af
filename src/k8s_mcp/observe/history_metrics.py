"""Metrics of the history: whether it is written, and what it misses."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class HistoryMetrics:
    """In the registry of all the others. Without a history all are 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        what = "Ended runs that were written into the history."
        self._written = Counter("k8s_mcp_history_runs", what, registry=registry)
        what = "Ended runs that the history misses: its database was away, too slow, or did not take them."
        self._missed = Counter("k8s_mcp_history_missed", what, registry=registry)
        what = "Whether the history's database took what was written last: 1 or 0."
        self._reachable = Gauge("k8s_mcp_history_reachable", what, registry=registry)

    def written(self, runs: int) -> None:
        """So many runs are in the history."""
        self._written.inc(runs)

    def missed(self, runs: int) -> None:
        """So many will never be."""
        self._missed.inc(runs)

    def reachable(self, *, is_so: bool) -> None:
        """The database has answered, or not."""
        self._reachable.set(is_so)
