"""Metrics of warm pods: whether runs find one, how soon it answers, how long it had waited."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from k8s_mcp.observe.facts import WarmPodAsked, WarmPodsWait

_CLAIM = (0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)
_AGE = (1, 10, 60, 300, 900, 1800, 3600)


class WarmMetrics:
    """In the registry of all the others."""

    def __init__(self, registry: CollectorRegistry) -> None:
        what = "Runs that asked for a warm pod; `late`: it did not take the run in time."
        self._asked = Counter("k8s_mcp_warm_pods_asked", what, ["result"], registry=registry)
        what = "Warm pods that wait, of all replicas together."
        self._waiting = Gauge("k8s_mcp_warm_pods_waiting", what, registry=registry)
        what = "From claiming a warm pod to its first word."
        self._claim = Histogram("k8s_mcp_warm_pod_claim_seconds", what, buckets=_CLAIM, registry=registry)
        what = "How long a warm pod had waited when it was claimed."
        self._age = Histogram("k8s_mcp_warm_pod_age_seconds", what, buckets=_AGE, registry=registry)
        for result in ("hit", "miss", "late"):
            self._asked.labels(result)

    def observe(self, happening: WarmPodAsked | WarmPodsWait) -> None:
        """Count it."""
        if isinstance(happening, WarmPodsWait):
            self._waiting.set(happening.count)
            return
        self._asked.labels(happening.result).inc()
        if happening.result == "hit":
            self._claim.observe(happening.seconds)
            self._age.observe(happening.age)
