"""Those who are told facts, each with what has to be open meanwhile: the audit log, and traces if they are wanted."""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from k8s_mcp.observe.audit import AuditLog, not_written
from k8s_mcp.observe.audit_file import AuditFile
from k8s_mcp.observe.audit_queue import AuditQueue
from k8s_mcp.observe.facts import Observe

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OURS = "http/protobuf"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observer:
    """`observe` may be called while `open` is entered."""

    observe: Observe
    open: Callable[[], AbstractContextManager[None]]


_NOBODY = Observer(lambda _: None, nullcontext)


def audit_log(where: str, command_bytes: int, on_failure: Callable[[], None]) -> Observer:
    """The audit log at `where`: a file, `stdout` or `off`."""
    if where == "off":
        return _NOBODY
    file = AuditFile(None if where == "stdout" else Path(where))
    queue = AuditQueue(file.write, lambda error, line: not_written(error, line, on_failure))
    log = AuditLog(queue.put_and_wait, command_bytes, on_failure, queue.put)

    @contextmanager
    def opened() -> Generator[None]:
        with file.open(), queue.open():
            yield

    return Observer(log.observe, opened)


def traces(environment: Mapping[str, str]) -> Observer:
    """Spans for OpenTelemetry, if its usual variables say where to send them. Otherwise nothing of it is imported.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if not _wanted(environment):
        return _NOBODY
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _OURS)
    if protocol != _OURS:
        _logger.warning("no traces: they are sent by %s, and OTEL_EXPORTER_OTLP_PROTOCOL has another", _OURS)
        return _NOBODY
    try:
        from k8s_mcp.observe.traces import Traces

        made = Traces()
    except ImportError as error:
        _logger.warning("no traces: %s is not installed; pip install 'k8s-mcp-server[otel]'", error.name)
    except ValueError as error:
        _logger.warning("no traces: a variable OTEL_… has a value that makes no sense: %s", error)
    else:
        return Observer(made.observe, made.open)
    return _NOBODY


def _wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "")
    if exporters:
        return "otlp" in exporters.replace(" ", "").split(",")
    return any(environment.get(name) for name in _ENDPOINTS)
