"""Spans of runs for OpenTelemetry: a request, what it waited for, and its run. Only imported where they are wanted.

No run waits for what becomes of its spans: they are put into a bounded queue, which a thread of the SDK sends.
No attribute holds a command, a kubeconfig or a caller's name. https://opentelemetry.io/docs/specs/otel/
"""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from k8s_mcp import __version__
from k8s_mcp.observe.asked import Asked, now_asked
from k8s_mcp.observe.facts import CommandStarted, Happening, OutputRead, RunEnded, RunFacts, RunReleased, RunStarted

_NAME = "k8s-mcp-server"
_SHUTDOWN_SECONDS = 3.0  # for what is still in the queue when the service ends
_MOST_RUNS = 10_000  # whose end nobody told: more are not kept

_logger = logging.getLogger(__name__)


@dataclass
class _Traced:
    """The spans of one run that have not ended."""

    span: Span
    inside: Context
    pod: Span | None
    output: Span | None = None


class Traces:
    """Makes spans of facts. `open()` while the service runs; `exporter` sends them, by default as OTEL_… says."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({"service.version": __version__}).merge(_named())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("k8s_mcp", __version__)
        self._runs: dict[str, _Traced] = {}
        self._requests: WeakKeyDictionary[Asked, Context] = WeakKeyDictionary()

    @contextmanager
    def open(self) -> Generator[None]:
        """Send spans until the context ends; then what is left, if that is soon done."""
        try:
            yield
        finally:
            # In a thread, because an exporter that hangs would keep the service from ending.
            thread = Thread(target=self._provider.shutdown, daemon=True)
            thread.start()
            thread.join(_SHUTDOWN_SECONDS)

    def observe(self, happening: Happening) -> None:
        """Note it. Whatever goes wrong here is logged, and of no concern to the run."""
        try:
            self._observe(happening)
        except Exception:  # as promised to whoever starts runs
            _logger.exception("a span could not be made of %s", type(happening).__name__)

    def _observe(self, happening: Happening) -> None:
        match happening:
            case RunStarted(run):
                self._on_started(run)
            case CommandStarted(run_id=run_id):
                self._on_command(run_id)
            case OutputRead(seconds=float(), run_id=run_id):
                self._on_first_output(run_id)
            case RunEnded():
                self._on_ended(happening)
            case RunReleased(run):
                self._on_released(run)
            case _:
                pass

    def _on_started(self, run: RunFacts) -> None:
        if len(self._runs) >= _MOST_RUNS:
            return
        asked = None if run.adopted else now_asked()
        parent = self._request(asked) if asked else None
        attributes = {
            "run.id": run.run_id,
            "run.via": run.via,
            "run.read_only": run.read_only,
            "run.timeout": run.timeout,
            "run.adopted": run.adopted,
        }
        span = self._tracer.start_span("run", parent, attributes=attributes)
        inside = set_span_in_context(span, Context())
        pod = None if run.adopted else self._tracer.start_span("pod start", inside)
        self._runs[run.run_id] = _Traced(span, inside, pod)

    def _request(self, asked: Asked) -> Context:
        """The request's span, which ends when it was answered; and what it took until the run was let in.

        A request can start several runs.
        """
        inside = self._requests.get(asked)
        if inside is None:
            outside = TraceContextTextMapPropagator().extract(asked.context, Context())
            span = self._tracer.start_span(asked.name, outside, SpanKind.SERVER, start_time=asked.came)
            asked.on_end = span.end
            inside = self._requests[asked] = set_span_in_context(span, Context())
        self._tracer.start_span("admission", inside, start_time=asked.came).end()
        return inside

    def _on_command(self, run_id: str) -> None:
        traced = self._runs.get(run_id)
        if traced and traced.pod:
            traced.pod.end()
            traced.pod = None
            traced.output = self._tracer.start_span("first output", traced.inside)

    def _on_first_output(self, run_id: str) -> None:
        traced = self._runs.get(run_id)
        if traced and traced.output:
            traced.output.end()
            traced.output = None

    def _on_ended(self, ended: RunEnded) -> None:
        traced = self._runs.pop(ended.run.run_id, None)
        if traced is None:
            return
        outcome, span = ended.outcome, traced.span
        now = time.time_ns()
        since = min(now, _ns(outcome.ended_at))
        _close(traced, since)
        self._tracer.start_span("end", traced.inside, start_time=since).end(now)
        span.set_attribute("run.status", outcome.ended.status)
        if outcome.ended.exit_code is not None:
            span.set_attribute("run.exit_code", outcome.ended.exit_code)
        for stream, amount in outcome.amounts.items():
            span.set_attributes({f"run.{stream}.bytes": amount.bytes, f"run.{stream}.lines": amount.lines})
        for name, value in outcome.place.items():
            span.set_attribute(f"run.{name}", value)
        if outcome.ended.status == "error":
            span.set_status(StatusCode.ERROR, outcome.ended.reason)
        span.end(now)

    def _on_released(self, run: RunFacts) -> None:
        traced = self._runs.pop(run.run_id, None)
        if traced:
            _close(traced, time.time_ns())
            traced.span.set_attribute("run.status", "released")
            traced.span.end()


def _close(traced: _Traced, at: int) -> None:
    for span in (traced.pod, traced.output):
        if span:
            span.end(at)


def _named() -> Resource:
    """The service's name, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has another."""
    given = str(Resource.create().attributes.get("service.name", ""))
    return Resource({"service.name": _NAME}) if given.startswith("unknown_service") or not given else Resource({})


def _ns(time_of: str) -> int:
    """A time in RFC 3339, in ns since 1970."""
    return int(datetime.fromisoformat(time_of).timestamp() * 1e9)
