"""An audit log that cannot keep up: nothing waits for it but new runs, and these not for long."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from k8s_mcp.errors import Unavailable
from k8s_mcp.observe.audit import AuditLog
from k8s_mcp.observe.audit_queue import MOST_BYTES, AuditQueue, Behind
from k8s_mcp.observe.facts import RunStarted
from tests.observe.test_audit import NOTHING, happenings
from tests.support.kubeconfigs import fake
from tests.support.service import wait_for

_AT_ONCE = 2.0  # far less than a stall, on a busy machine


class Log:
    """Lines are written as long as `goes_on` is set. `begun` counts those that somebody tried to write."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.begun = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.failed: list[str] = []

    def write(self, line: str) -> None:
        self.begun += 1
        assert self.goes_on.wait(60)
        self.lines.append(line)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines]

    @contextmanager
    def audit(self) -> Generator[tuple[AuditLog, AuditQueue]]:
        queue = AuditQueue(self.write, lambda _, line: self.failed.append(line))
        log = AuditLog(queue.put_and_wait, 100, lambda: None, queue.put)
        with queue.open():
            try:
                yield log, queue
            finally:
                self.goes_on.set()


def test_lines_are_written_in_their_order_and_all_at_the_end() -> None:
    log = Log()
    with log.audit() as (audit, _):
        for happening in happenings("x", NOTHING):
            audit.observe(happening)
    assert log.events() == [
        *("run.started", "run.adopted", "run.ended", "run.released", "run.ended"),
        *("run.cancel", "run.observed", "cluster.stored", "cluster.deleted", "request.refused"),
    ]
    assert log.failed == []


def test_while_it_stalls_new_runs_are_refused_and_nothing_waits() -> None:
    log = Log()
    started, _, ended, *rest = happenings("x", NOTHING)
    with log.audit() as (audit, queue):
        audit.observe(started)
        log.goes_on.clear()
        before = time.monotonic()
        for happening in (ended, *rest):
            audit.observe(happening)
        for _ in range(20):
            with pytest.raises(Unavailable, match="audit log"):
                audit.observe(started)
        assert time.monotonic() < before + _AT_ONCE
        log.goes_on.set()
        wait_for(lambda: len(log.lines) == 2 + len(rest))
        wait_for(lambda: not queue._late)  # pyright: ignore[reportPrivateUsage]
        audit.observe(started)
    assert log.events().count("run.started") == 2, "those that began, and no other"


def test_a_run_whose_first_line_stalls_is_refused_and_has_its_end() -> None:
    log = Log()
    started = happenings("x", NOTHING)[0]
    assert isinstance(started, RunStarted)
    with log.audit() as (audit, _):
        log.goes_on.clear()
        with pytest.raises(Unavailable):
            audit.observe(started)
    assert log.events() == ["run.started", "run.ended"]
    assert json.loads(log.lines[1])["reason"] == "AuditLogBehind"


def test_what_waits_is_bounded_and_what_is_not_written_is_told() -> None:
    log = Log()
    with log.audit() as (_, queue):
        log.goes_on.clear()
        queue.put("a" * (MOST_BYTES - 10))
        with pytest.raises(Behind):
            queue.put("b" * 11)
        queue.put("c\n")
    assert log.lines[1:] == ["c\n"]


def test_an_error_is_raised_where_somebody_waits_and_told_where_nobody_does() -> None:
    failed: list[str] = []

    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    queue = AuditQueue(full, lambda error, line: failed.append(f"{error.strerror}: {line}"))
    with queue.open():
        with pytest.raises(OSError, match="No space"):
            queue.put_and_wait("one")
        queue.put("two")
    assert failed == ["No space left on device: two"]


def test_a_service_whose_standard_output_stalls_goes_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4096)
    environment = {**os.environ, "K8S_MCP_PORT": "0", "K8S_MCP_LOCAL_DIR": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "k8s_mcp", "serve"]
    with subprocess.Popen(command, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        assert process.stderr
        try:
            url = process.stderr.readline().split("listening on ")[1].partition(",")[0]
            body = {"command": "echo one", "kubeconfig": fake()}
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
                assert http.post("/sse", json=body).status_code == 503
                assert http.get("/healthz").status_code == 200
                assert http.get("/runs").json() == {"runs": []}
                os.read(reading, 4096)
                wait_for(lambda: http.post("/sse", json=body).status_code == 200)
        finally:
            process.kill()
            os.close(reading)
