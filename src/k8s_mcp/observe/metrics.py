"""Metrics for Prometheus, in a registry of this service's own. docs/metrics.md lists them.

No label has a value that a caller can choose. Output is counted a batch at a time, never a line.
https://prometheus.io/docs/practices/naming/
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from k8s_mcp import __version__
from k8s_mcp.beside import beside
from k8s_mcp.models import Ended
from k8s_mcp.observe.facts import (
    CommandStarted,
    Happening,
    OutputRead,
    Refused,
    RunEnded,
    RunReleased,
    RunStarted,
    WarmPodAsked,
    WarmPodsWait,
)
from k8s_mcp.observe.history_metrics import HistoryMetrics
from k8s_mcp.observe.warm_metrics import WarmMetrics

_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60)
_DURATION = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
_LAG = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_LAG_SECONDS = 1.0
_openmetrics = cast("Callable[[CollectorRegistry], bytes]", openmetrics.generate_latest)  # pyright: ignore[reportUnknownMemberType]
_OUTCOMES = ("succeeded", "failed", "timeout", "cancelled", "error")
_STREAMS = ("stdout", "stderr")
_ODD = ("secrets", "leases")


class Metrics:
    """Counts what it is told; `exposition` is what Prometheus reads. `open()` while the service runs."""

    def __init__(self, executor: str) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        info = gauge("k8s_mcp_build_info", "What is running; always 1.", ["version", "executor"])
        info.labels(__version__, executor).set(1)

        self._runs = counter("k8s_mcp_runs", "Runs that ended here; `failed` is any exit code but 0.", ["outcome"])
        self._active = gauge("k8s_mcp_runs_active", "Runs in progress here, pending ones included.")
        self._pending = gauge("k8s_mcp_runs_pending", "Runs in progress here whose command has not started.")
        what = "From accepting a run to the start of its command."
        self._start = histogram("k8s_mcp_run_start_seconds", what, buckets=_LATENCY)
        what = "From accepting a run to its first output."
        self._first_output = histogram("k8s_mcp_run_first_output_seconds", what, buckets=_LATENCY)
        what = "From accepting a run to its end, clean-up included."
        self._duration = histogram("k8s_mcp_run_duration_seconds", what, buckets=_DURATION)
        self._bytes = counter("k8s_mcp_output_bytes", "Bytes that commands wrote.", ["stream"])
        self._lines = counter("k8s_mcp_output_lines", "Lines that commands wrote.", ["stream"])
        self._gaps = counter("k8s_mcp_gaps", "Times that output was lost on its way.")
        self._lost_lines = counter("k8s_mcp_lost_lines", "Lines lost in them.")
        what = "Requests that commands made of their clusters, by the gate's records."
        self._requests = counter("k8s_mcp_gate_requests", what, ["verb", "result"])
        what = "Runs that ended here with a part of their gate's record missing."
        self._incomplete = counter("k8s_mcp_gate_records_incomplete", what)
        what = "Runs of which something was left, for a while at least."
        self._cleanup_failures = counter("k8s_mcp_cleanup_failures", what)
        what = "Answers of the API server of the cluster for runner pods; code `none`: no answer."
        self._api_requests = counter("k8s_mcp_api_requests", what, ["verb", "resource", "code"])
        what = "Objects of this service that somebody has changed, each time that one is passed over."
        self._odd_objects = counter("k8s_mcp_odd_objects", what, ["resource"])
        what = "Requests answered with an error."
        self._refusals = counter("k8s_mcp_requests_refused", what, ["code", "reason"])
        what = "Requests refused because nobody knows who sends them."
        self._auth_failures = counter("k8s_mcp_auth_failures", what)
        what = "Lines of the audit log that could not be written."
        self._audit_failures = counter("k8s_mcp_audit_failures", what)
        what = "Facts that audit log or metrics failed at: a fault of this service, whose log has more."
        self._observer_failures = counter("k8s_mcp_observer_failures", what)
        self._lag = histogram("k8s_mcp_event_loop_lag_seconds", "How late a timer of a second fires.", buckets=_LAG)
        self._warm_pods = WarmMetrics(registry)
        self.history = HistoryMetrics(registry)
        labels = (self._runs, _OUTCOMES), (self._odd_objects, _ODD), (self._bytes, _STREAMS), (self._lines, _STREAMS)
        for metric, known in labels:
            for label in known:
                metric.labels(label)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Measure the event loop's lag until the context ends."""
        async with beside(self._measure_lag):
            yield

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and the media type: OpenMetrics if the header `Accept` names it, else Prometheus' own text."""
        if "application/openmetrics-text" in accept:
            return _openmetrics(self._registry), openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def observe(self, happening: Happening) -> None:
        """Count it."""
        match happening:
            case OutputRead():
                self._on_output(happening)
            case RunStarted():
                self._active.inc()
                self._pending.inc()
            case CommandStarted(seconds):
                self._pending.dec()
                if seconds is not None:
                    self._start.observe(seconds)
            case RunEnded():
                self._on_end(happening)
            case RunReleased():
                self._leave(happening)
            case WarmPodAsked() | WarmPodsWait():
                self._warm_pods.observe(happening)
            case Refused(status, reason):
                self._refusals.labels(str(status), reason).inc()
                if status == HTTPStatus.UNAUTHORIZED:
                    self._auth_failures.inc()
            case _:
                pass

    def api_answered(self, verb: str, resource: str, code: str) -> None:
        """The API server has answered one of our calls."""
        self._api_requests.labels(verb, resource, code).inc()

    def audit_failed(self) -> None:
        """A line of the audit log could not be written."""
        self._audit_failures.inc()

    def odd_object(self, resource: str) -> None:
        """An object in the cluster is not as this service makes them."""
        self._odd_objects.labels(resource).inc()

    def observer_failed(self) -> None:
        """An observer has raised what it must not."""
        self._observer_failures.inc()

    def _on_output(self, read: OutputRead) -> None:
        for stream, amount in read.amounts.items():
            self._bytes.labels(stream).inc(amount.bytes)
            self._lines.labels(stream).inc(amount.lines)
        if read.seconds is not None:
            self._first_output.observe(read.seconds)

    def _on_end(self, run: RunEnded) -> None:
        self._leave(run)
        self._runs.labels(_outcome(run.outcome.ended)).inc()
        if not run.run.adopted:
            self._duration.observe(run.seconds)
        self._gaps.inc(run.outcome.gaps)
        self._lost_lines.inc(run.outcome.lost_lines)
        if run.outcome.left:
            self._cleanup_failures.inc()
        if run.outcome.requests is not None:
            for (verb, result), count in run.outcome.requests.counts.items():
                self._requests.labels(verb, result).inc(count)
            self._incomplete.inc(not run.outcome.requests.complete)

    def _leave(self, run: RunEnded | RunReleased) -> None:
        self._active.dec()
        if not run.command_started:
            self._pending.dec()

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(_LAG_SECONDS)
            self._lag.observe(max(loop.time() - began - _LAG_SECONDS, 0))


def _outcome(ended: Ended) -> str:
    if ended.status != "done":
        return ended.status
    return "succeeded" if ended.exit_code == 0 else "failed"
