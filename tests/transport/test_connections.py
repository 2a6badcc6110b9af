"""How many connections there may be: whoever holds many and says nothing keeps nobody out."""

import json
import os
import resource
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from k8s_mcp.errors import TooManyRequests
from k8s_mcp.transport.connections import Connections, InProgress, Slot
from tests.support.callers import Callers
from tests.support.client import Client
from tests.support.raw_http import connect, post
from tests.support.service import Service, StartService, processes_with, wait_for

MEBIBYTE = 1 << 20


class Recorded(Slot):
    """A slot that says whether it was dropped."""

    def __init__(self, address: str) -> None:
        super().__init__(address, self._drop)
        self.dropped = False

    def _drop(self) -> None:
        self.dropped = True


def test_idle_connection_of_whoever_has_most_makes_room() -> None:
    connections = Connections(4)
    crowd = [Recorded("192.0.2.1") for _ in range(3)]
    other = Recorded("192.0.2.2")
    for slot in (*crowd, other):
        assert connections.admit(slot)
    assert connections.admit(Recorded("192.0.2.3"))
    assert [slot.dropped for slot in crowd] == [True, False, False]
    assert not other.dropped
    assert len(connections) == 4


def test_busy_connections_stay_and_nothing_more_is_taken() -> None:
    connections = Connections(2)
    slots = [Recorded("192.0.2.1") for _ in range(2)]
    for slot in slots:
        connections.admit(slot)
        connections.occupy(slot)
    assert not connections.admit(Recorded("192.0.2.2"))
    connections.free(slots[1])
    assert connections.admit(Recorded("192.0.2.2"))
    assert [slot.dropped for slot in slots] == [False, True]
    connections.free(slots[1])  # too late: it is gone
    connections.remove(slots[0])
    connections.remove(slots[0])
    assert len(connections) == 1


def test_one_caller_has_a_share_of_requests_only() -> None:
    in_progress = InProgress(2)
    with in_progress.one_more("alice"), in_progress.one_more("alice"), in_progress.one_more("bob"):
        third = in_progress.one_more("alice")
        with pytest.raises(TooManyRequests):
            third.__enter__()
    with in_progress.one_more("alice"):
        pass


@contextmanager
def held(service: Service, count: int, sent: bytes = b"") -> Generator[list[socket.socket]]:
    """So many connections that send this and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        count = hard - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    url = httpx.URL(service.url)
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            made.append(socket.create_connection((url.host, url.port or 0), 30))
            if sent:
                made[-1].sendall(sent)
        yield made
    finally:
        for connection in made:
            connection.close()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /sse HTTP/1.1\r\nHost: localhost\r\nX: "], ids=["nothing", "half a head"]
)
async def test_thousands_of_idle_connections_leave_the_service_usable(
    serve: StartService, fake_kubeconfig: str, sent: bytes
) -> None:
    """As Slowloris holds them (CVE-2007-6750)."""
    service = serve(max_connections=200)
    async with Client(service.url, fake_kubeconfig) as client, client.stream("echo first; sleep 600") as stream:
        assert (await stream.first("stdout")).data == "first"
        with held(service, 3000, sent):
            assert len(list(Path(f"/proc/{service.pid}/fd").iterdir())) < 300
            for _ in range(5):
                assert (await client.run("echo hi")).stdout == ["hi"]
            assert service.peak_memory() < 250 * MEBIBYTE
            run_id = service.get("/runs").json()["runs"][0]["run_id"]
            await client.cancel(run_id)
        assert (await stream.to_end()).final == {"status": "cancelled", "exit_code": None}


async def test_caller_with_half_of_all_connections_gets_no_more(
    serve: StartService, tmp_path: Path, fake_kubeconfig: str
) -> None:
    callers = Callers(tmp_path / "tokens")
    callers.add("alice")
    callers.add("bob")
    service = serve(auth_tokens=callers.file, max_connections=6)
    async with Client(service.url, fake_kubeconfig) as alice, callers.http(service.url, "bob") as bob:
        alice.http.headers.update(callers.headers("alice"))
        async with alice.stream("sleep 600"), alice.stream("sleep 600"), alice.stream("sleep 600"):
            refused = await alice.http.get("/runs")
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "5"
            assert (await bob.get("/runs")).status_code == 200
        for _ in range(3):
            wait_for(lambda: httpx.get(f"{service.url}/runs", headers=callers.headers("alice")).status_code == 200)


def test_whoever_sends_more_is_still_seen_leaving(serve: StartService, fake_kubeconfig: str) -> None:
    """What is sent behind a request in progress does not hide from it that its client has gone."""
    service = serve(resume_window=0)
    body = json.dumps({"command": "echo begun; sleep 600", "kubeconfig": fake_kubeconfig}).encode()
    with connect(service) as connection, connection.makefile("rb") as lines:
        connection.sendall(post(body) + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"data: begun\n" in lines
    wait_for(lambda: service.get("/runs").json()["runs"][0]["status"] == "cancelled", 20, "the run to be cancelled")


def test_second_signal_ends_the_service_at_once(tmp_path: Path, fake_kubeconfig: str) -> None:
    service = Service(tmp_path, os.environ["PATH"], {"shutdown_grace": 600})
    body = {"command": "trap '' TERM; echo started; while true; do sleep 1; done", "kubeconfig": fake_kubeconfig}
    try:
        with httpx.stream("POST", f"{service.url}/sse", json=body, trust_env=False, timeout=30) as response:
            lines = response.iter_lines()
            assert any("data: started" in line for line in lines)
            service.terminate()
            wait_for(lambda: service.get("/readyz").status_code == 503, 10, "the drain to begin")
            service.terminate()
            assert service.end(5) == -signal.SIGTERM
        assert "Traceback" not in service.log.read_text()
        wait_for(lambda: not processes_with(f"{service.runs}/{service.pid}-"), 20, "the runner to end the command")
        wait_for(lambda: not any(file.is_file() for file in service.runs.rglob("*")), 20, "its files to be gone")
    finally:
        service.kill()
