"""Traces: spans of every part of a run, in its caller's trace; never a command; and never in a run's way."""

import importlib
import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from tests.mcp import raw
from tests.support.kubeconfigs import credentials_in
from tests.support.left_out import leave_out
from tests.support.service import Service, StartService, wait_for

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SECRET = "a-command-that-nobody-is-to-read"


@pytest.fixture
def sdk() -> None:
    """OpenTelemetry, which is an extra."""
    for module in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            leave_out(f"{module} is not installed here")


class Collector:
    """Takes OTLP over HTTP. While `hanging` it answers nothing; otherwise `status`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.hanging = False
        self.over = Event()
        self.asked = 0
        self.bodies: list[bytes] = []

    def spans(self) -> list[Any]:
        service: Any = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        found: list[Any] = []
        for body in self.bodies:
            request = service.ExportTraceServiceRequest.FromString(body)
            found += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        return found

    def named(self, *names: str) -> dict[str, Any]:
        """One span of each name, once all are there."""
        wait_for(lambda: set(names) <= {span.name for span in self.spans()}, what=f"spans {names}")
        return {span.name: span for span in self.spans()}


@contextmanager
def running_collector() -> Generator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.asked += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.hanging:
                collector.over.wait()
            collector.bodies.append(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield collector
        finally:
            collector.over.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def collector(sdk: None) -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture
def traced(serve: StartService, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Service]:
    """Starts a service that sends its spans there."""

    def start(url: str) -> Service:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        return serve()

    return start


def run(service: Service, kubeconfig: str, command: str = f"echo {SECRET}", **headers: str) -> str:
    body = {"command": command, "kubeconfig": kubeconfig}
    answer = httpx.post(f"{service.url}/sse", json=body, headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 200
    return answer.text


PARTS = ("admission", "run", "pod start", "first output", "end")


def test_every_part_of_a_run_is_a_span_in_its_callers_trace(
    traced: Callable[[str], Service], collector: Collector, fake_kubeconfig: str
) -> None:
    run(traced(collector.url), fake_kubeconfig, f"echo {SECRET}; sleep 0.3", traceparent=TRACEPARENT)
    spans = collector.named("POST /sse", *PARTS)
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    names = {span.span_id: name for name, span in spans.items()} | {bytes.fromhex(PARENT): "the caller's"}
    assert {name: names[span.parent_span_id] for name, span in spans.items()} == {
        "POST /sse": "the caller's",
        "admission": "POST /sse",
        "run": "POST /sse",
        "pod start": "run",
        "first output": "run",
        "end": "run",
    }
    order = [spans[name].start_time_unix_nano for name in ("POST /sse", "run", "first output", "end")]
    assert order == sorted(order)
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans.values())
    assert spans["run"].end_time_unix_nano - spans["run"].start_time_unix_nano >= 300_000_000
    assert spans["admission"].end_time_unix_nano <= spans["run"].start_time_unix_nano


def test_no_command_and_no_credential_is_in_a_span(
    traced: Callable[[str], Service], collector: Collector, fake_kubeconfig: str
) -> None:
    run(traced(collector.url), fake_kubeconfig, f"cat $KUBECONFIG; echo {SECRET}; exit 3")
    attributes = {one.key: one.value for one in collector.named(*PARTS)["run"].attributes}
    assert attributes["run.exit_code"].int_value == 3
    assert attributes["run.status"].string_value == "done"
    assert attributes["run.stdout.lines"].int_value > 1
    said = b"".join(collector.bodies)
    assert SECRET.encode() not in said
    assert credentials_in(said.decode(errors="replace")) == []


def test_without_a_trace_of_the_caller_it_is_one_of_its_own(
    traced: Callable[[str], Service], collector: Collector, fake_kubeconfig: str
) -> None:
    run(traced(collector.url), fake_kubeconfig, traceparent="00-nonsense")
    spans = collector.named("POST /sse", *PARTS)
    assert len({span.trace_id for span in spans.values()}) == 1
    assert spans["POST /sse"].parent_span_id == b""


@pytest.mark.parametrize("place", ["header", "meta", "both"])
async def test_tool_calls_take_their_trace_from_header_or_meta(
    traced: Callable[[str], Service], collector: Collector, fake_kubeconfig: str, place: str
) -> None:
    service = traced(collector.url)
    call = raw.tool("run_command", command=f"echo {SECRET}", kubeconfig=fake_kubeconfig)
    headers = {"traceparent": TRACEPARENT if place == "header" else f"00-{'1' * 32}-{'2' * 16}-01"}
    if place != "header":
        call["params"]["_meta"] = {"traceparent": TRACEPARENT}
    async with raw.http(service) as client:
        raw.answer(await client.post("/mcp", json=call, headers={} if place == "meta" else headers))
    spans = collector.named("tools/call run_command", *PARTS)
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert spans["tools/call run_command"].parent_span_id.hex() == PARENT


@pytest.mark.parametrize("fault", ["hangs", "fails", "is not there", "is no server"])
def test_collector_that_fails_delays_no_run_and_no_end(
    traced: Callable[[str], Service], collector: Collector, fake_kubeconfig: str, fault: str
) -> None:
    url = collector.url
    collector.hanging, collector.status = fault == "hangs", 500 if fault == "fails" else 200
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if fault == "is no server":
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        elif fault == "is not there":
            url = "http://127.0.0.1:1"
        service = traced(url)
        for _ in range(5):
            began = time.monotonic()
            assert '"exit_code": 0' in run(service, fake_kubeconfig)
            assert time.monotonic() - began < 5
        if fault in {"hangs", "fails"}:
            wait_for(lambda: collector.asked, what="the collector to be asked")
        began = time.monotonic()
        service.terminate()
        assert service.end(20) == 0
        assert time.monotonic() - began < 10
    service.log.write_text("")  # it says that spans were lost, as an error


def test_exporter_that_raises_ends_no_run(sdk: None) -> None:
    script = """
import time
from opentelemetry.sdk.trace.export import SpanExporter
from k8s_mcp.models import Ended, Principal
from k8s_mcp.observe.facts import *
from k8s_mcp.observe.traces import Traces

class Raising(SpanExporter):
    def export(self, spans):
        raise BaseException("not today")
    def shutdown(self):
        raise RuntimeError("nor tomorrow")

traces = Traces(Raising())
with traces.open():
    for number in range(3000):
        run = RunFacts(str(number), Principal("a"), "http", Target("https://x"), 1, "", None, None, None)
        traces.observe(RunStarted(run))
        traces.observe(CommandStarted(0.1, str(number)))
        ended = "no time at all" if number % 2 else "2026-01-01T00:00:00Z"
        outcome = Outcome(Ended("done", 0), None, ended, {}, 0, 0, {}, "")
        traces.observe(RunEnded(run, outcome, True, 1.0))
print("over")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == "over\n", result.stderr


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_SERVICE_NAME": "x"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}]
)
def test_nothing_is_imported_where_nobody_wants_traces(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MCP SDK imports OpenTelemetry's API; its SDK and exporters, and what is ours, must not come."""
    if variables and "OTEL_SERVICE_NAME" not in variables:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    script = """
import sys
from k8s_mcp.app import create_app
from k8s_mcp.settings import Settings
create_app(Settings(audit_log="off"))
kinds = ("opentelemetry.sdk", "opentelemetry.exporter", "k8s_mcp.observe.traces")
print([name for name in sys.modules if name.startswith(kinds)])
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"}, "makes no sense"),
        ({"hidden": "true"}, "k8s-mcp-server[otel]"),
    ],
)
def test_what_keeps_traces_away_is_logged_and_nothing_else(
    sdk: None, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hidden = 'sys.modules["opentelemetry.sdk.trace"] = None' if "hidden" in variables else ""
    script = f"""
import logging, sys
logging.basicConfig()
{hidden}
from k8s_mcp.app import create_app
from k8s_mcp.settings import Settings
create_app(Settings(audit_log="off"))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert said in result.stderr
