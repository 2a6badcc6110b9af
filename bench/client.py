"""Runs on a service, timed by their client. Times are in seconds."""

import http.client
import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import kubeconfigs

_CHUNK = 64 * 1024
_PATIENCE = 300.0
_RUNNING = b'"status": "done", "exit_code": 0'

Request = Mapping[str, object]


def request(command: str, **fields: object) -> Request:
    """A run for a cluster that does not exist, with a kubeconfig such as most people have: one user, one context."""
    return {"command": command, "kubeconfig": kubeconfig(), **fields}


def kubeconfig() -> str:
    values = json.loads(kubeconfigs.fake())
    for part in ("contexts", "users"):
        del values[part][1:]
    return json.dumps(values)


@dataclass(frozen=True)
class Answer:
    """A short run: when its first line arrived and when its end, both from before the connection was opened.

    `ended_at` is the latter by the clock on the wall; `lines` is what the command printed on stdout.
    """

    first_line: float
    end: float
    ended_at: float
    lines: list[str]


def short(url: str, run: Request, key: str = "") -> Answer:
    """Start a run, with that Idempotency-Key, and read it to its end. Raises ValueError unless it ends with exit code
    0.
    """
    start = time.perf_counter()
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_PATIENCE)
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    connection.request("POST", "/sse", json.dumps(run), headers)
    response = connection.getresponse()
    seen = b""
    first_line = 0.0
    while chunk := response.read1(_CHUNK):
        now = time.perf_counter()
        seen += chunk
        if not first_line and b"event: stdout\n" in seen:
            first_line = now - start
    end, ended_at = time.perf_counter() - start, time.time()
    connection.close()
    if not first_line or _RUNNING not in seen[-200:]:
        raise ValueError(f"{run['command']}: {response.status} {seen[-2000:].decode(errors='replace')}")
    return Answer(first_line, end, ended_at, _lines(seen))


def bulk(url: str, run: Request, target: Path) -> float:
    """Let `curl -N` write a run's stream to `target`; how long it took."""
    body = json.dumps(run).encode()
    curl = ["curl", "-sSN", "--noproxy", "*", "-H", "Content-Type: application/json", "--data-binary", "@-"]
    start = time.perf_counter()
    subprocess.run([*curl, "-o", target, f"{url}/sse"], input=body, check=True)
    return time.perf_counter() - start


def _lines(seen: bytes) -> list[str]:
    events = [event.split(b"\n") for event in seen.split(b"\n\n")]
    return [event[1].removeprefix(b"data: ").decode() for event in events if event[0] == b"event: stdout"]
