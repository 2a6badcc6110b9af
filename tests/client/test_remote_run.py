"""A run is started once and read once, whatever the connection does."""

import random
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from k8s_mcp.client import remote_run
from k8s_mcp.client.event_source import Control, Event, Lines
from k8s_mcp.client.remote_run import RemoteRun, ServiceError
from k8s_mcp.client.service import Endpoint
from tests.conftest import StartService
from tests.support.faults import CuttingProxy, Script, answer
from tests.support.service import Service, wait_for

RUN_ID = "0123456789abcdef0123456789abcdef"
STARTED = f'event: control\ndata: {{"status": "started", "run_id": "{RUN_ID}"}}\n\n'
LINE = "event: stdout\ndata: line {0}\nid: {0}\n\n"
DONE = 'event: control\ndata: {{"status": "done", "exit_code": 0}}\nid: {0}\n\n'

NUMBERS = r"""
for i in $(seq 2000); do printf 'out %d\n' $i; printf 'err %d\n' $i >&2; done; exit 3
"""


class Reader:
    """Reads a run as `k8s-mcp exec` does, and keeps what it saw."""

    def __init__(self, url: str, kubeconfig: str, command: str) -> None:
        self.told: list[str] = []
        self.run = RemoteRun(Endpoint(url), {"command": command, "kubeconfig": kubeconfig}, self.told.append)
        self.seen: list[Event] = []

    def events(self) -> Generator[Event]:
        for event in self.run.events():
            self.seen.append(event)
            yield event

    def first_line(self, events: Iterator[Event]) -> None:
        while not isinstance(next(events), Lines):
            pass

    def to_end(self) -> "Reader":
        with closing(self.run.events()) as events:
            self.seen += events
        return self

    def lines(self, stream: str = "stdout") -> list[str]:
        data = b"".join(event.data for event in self.seen if isinstance(event, Lines) and event.stream == stream)
        return data.decode().splitlines()

    @property
    def statuses(self) -> Counter[object]:
        return Counter(event.data["status"] for event in self.seen if isinstance(event, Control))

    @property
    def final(self) -> object:
        last = self.seen[-1]
        assert isinstance(last, Control), last
        return last.data


def counting(marker: Path, command: str) -> str:
    """The command; every time it is run, `marker` grows by a line."""
    return f"echo run >> {marker}; {command}"


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_comes_twice_however_often_the_connection_is_cut(
    server: Service, fake_kubeconfig: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    cuts = [chance.randrange(300, 12_000) for _ in range(chance.randrange(5, 25))]
    with CuttingProxy(server.url, cuts) as proxy:
        reader = Reader(proxy.url, fake_kubeconfig, counting(tmp_path / "runs", NUMBERS)).to_end()
    assert proxy.connections > 5
    assert reader.lines("stdout") == [f"out {number}" for number in range(1, 2001)]
    assert reader.lines("stderr") == [f"err {number}" for number in range(1, 2001)]
    assert reader.final == {"status": "done", "exit_code": 3}
    assert reader.statuses["done"] == 1
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize("cut", range(0, 700, 23))
def test_the_first_connection_may_be_cut_at_any_byte(
    server: Service, fake_kubeconfig: str, tmp_path: Path, cut: int
) -> None:
    with CuttingProxy(server.url, [cut]) as proxy:
        command = counting(tmp_path / "runs", "seq 5; exit 3")
        reader = Reader(proxy.url, fake_kubeconfig, command).to_end()
    assert reader.lines() == list("12345")
    assert reader.final == {"status": "done", "exit_code": 3}
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize("cuts", [[-1, -1, -1], [0, 0, 0], [-1, 1, 100, 200]])
def test_a_command_runs_once_though_its_client_never_saw_that_it_started(
    server: Service, fake_kubeconfig: str, tmp_path: Path, cuts: list[int]
) -> None:
    with CuttingProxy(server.url, cuts) as proxy:
        reader = Reader(proxy.url, fake_kubeconfig, counting(tmp_path / "runs", "seq 3")).to_end()
    assert proxy.connections == len(cuts) + 1
    assert reader.lines() == list("123")
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_running_command_outlives_its_connection(server: Service, fake_kubeconfig: str, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    command = f"echo before; until [ -e {go_on} ]; do sleep 0.05; done; echo after"
    with CuttingProxy(server.url, [600]) as proxy:
        reader = Reader(proxy.url, fake_kubeconfig, command)
        with closing(reader.events()) as events:
            reader.first_line(events)
            assert state(server, reader) == "running"
            go_on.touch()
            for _ in events:
                pass
    assert reader.lines() == ["before", "after"]


def test_a_run_that_the_service_has_forgotten_is_said_to_be_gone(
    serve: StartService, fake_kubeconfig: str, tmp_path: Path
) -> None:
    service = serve(replay_seconds=0)
    go_on = tmp_path / "go-on"
    with CuttingProxy(service.url) as proxy:
        reader = Reader(proxy.url, fake_kubeconfig, f"echo before; until [ -e {go_on} ]; do sleep 0.05; done")
        with closing(reader.events()) as events:
            reader.first_line(events)
            proxy.go_down()
            go_on.touch()
            wait_for(lambda: state(service, reader) == 404)
            proxy.come_back()
            with pytest.raises(ServiceError, match=r"the run is gone, too: .*404: no such run"):
                next(events)


def test_a_service_that_died_is_given_up_after_a_while(
    serve: StartService, fake_kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_run, "_RESUME_SECONDS", 1.0)
    service = serve()
    reader = Reader(service.url, fake_kubeconfig, "echo before; exec sleep 60")
    with closing(reader.events()) as events:
        reader.first_line(events)
        service.kill()
        with pytest.raises(ServiceError, match="was lost and did not come back within 1 s"):
            next(events)
    assert len(reader.told) == 1
    assert reader.told[0].startswith("lost the connection, trying again (")


def test_a_service_that_is_not_there_is_said_at_once(fake_kubeconfig: str) -> None:
    with Script(answer()) as script:
        url = script.url
    with pytest.raises(ServiceError, match=f"cannot reach {url} .*refused.*`k8s-mcp serve`.*--url"):
        Reader(url, fake_kubeconfig, "true").to_end()


def test_silence_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_run, "_SILENCE_SECONDS", 0.5)
    with Script(
        answer(body=STARTED + LINE.format(1)), answer(body=LINE.format(2) + DONE.format(3)), hold=True
    ) as script:
        reader = Reader(script.url, "", "").to_end()
    assert reader.lines() == ["line 1", "line 2"]


def test_a_busy_service_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_run, "_RESUME_SECONDS", 1.0)  # less than what it asks for
    busy = answer("503 Service Unavailable", '{"detail": "moving"}', "application/problem+json", Retry_After="1")
    gateway = answer("502 Bad Gateway", "<html>", "text/html")
    answers = [
        answer(body=STARTED + LINE.format(1)),
        busy,
        busy,
        gateway,
        answer(body=LINE.format(2) + DONE.format(3)),
    ]
    with Script(*answers) as script:
        reader = Reader(script.url, "", "").to_end()
    assert reader.lines() == ["line 1", "line 2"]
    assert reader.told == [f"lost the connection, trying again ({script.url} answered 503: moving)"]
    assert [request.split("\r\n")[0] for request in script.requests] == [
        "POST /sse HTTP/1.1",
        *[f"GET /runs/{RUN_ID}/events HTTP/1.1"] * 4,
    ]
    assert all("Last-Event-ID: 1" in request for request in script.requests[1:])


def test_a_request_that_may_have_arrived_is_repeated_for_a_short_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later the service has forgotten the key, and would run the command again."""
    monkeypatch.setattr(remote_run, "_RESUME_SECONDS", 1.0)
    busy = answer("503 Service Unavailable", '{"detail": "moving"}', "application/problem+json", Retry_After="5")
    with Script(answer(), busy) as script, pytest.raises(ServiceError, match="did not come back"):
        Reader(script.url, "", "").to_end()
    keys = {
        line for request in script.requests for line in request.split("\r\n") if line.startswith("Idempotency-Key")
    }
    assert len(script.requests) == 2
    assert len(keys) == 1


def test_every_run_has_a_key_of_its_own() -> None:
    with Script(answer(body=STARTED + DONE.format(1))) as script:
        for _ in range(2):
            Reader(script.url, "", "").to_end()
    keys = {
        line for request in script.requests for line in request.split("\r\n") if line.startswith("Idempotency-Key")
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (answer("503 Service Unavailable", '{"detail": "later"}', Retry_After="1"), "answered 503: later"),
        (answer("422 Unprocessable Entity", '{"detail": "timeout: too long"}'), "answered 422: timeout: too long"),
        (answer("502 Bad Gateway", "<html>", "text/html"), "answered 502: Bad Gateway"),
        (answer("500 Internal Server Error", '["detail"]'), "answered 500: Internal Server Error"),
        (answer("404 Not Found", "{" + "x" * 100_000), "answered 404: no k8s-mcp service is there; correct --url"),
        (answer("307 Temporary Redirect", Location="http://elsewhere.invalid"), "answered 307: Temporary Redirect"),
        (answer("200 OK", "<html>", "text/html"), "is no k8s-mcp service: its answer is not an event stream"),
        (answer("200 OK", "data: something else\n\n"), "is no k8s-mcp service: "),
        (answer("200 OK", STARTED.replace(RUN_ID, "../elsewhere")), "is no k8s-mcp service: "),
    ],
)
def test_another_answer_than_a_stream_is_an_error_that_says_what_it_was(first: bytes, message: str) -> None:
    with Script(first) as script, pytest.raises(ServiceError) as error:
        Reader(script.url, "", "").to_end()
    assert message in str(error.value)
    assert script.url in str(error.value)
    assert len(script.requests) == 1


def test_proxies_of_the_environment_are_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with Script(answer(body=STARTED + DONE.format(1))) as script:
        monkeypatch.setenv("HTTP_PROXY", script.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        Reader("http://service.invalid", "", "").to_end()
        assert script.requests[0].startswith("POST http://service.invalid/sse HTTP/1.1")
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid")
        Reader(script.url, "", "").to_end()
        Reader(script.url.replace("127.0.0.1", "localhost"), "", "").to_end()
        assert script.requests[-1].startswith("POST /sse HTTP/1.1")


def test_a_run_can_be_cancelled_while_it_is_read(server: Service, fake_kubeconfig: str) -> None:
    reader = Reader(server.url, fake_kubeconfig, "echo ready; sleep 60")
    with closing(reader.events()) as events:
        reader.first_line(events)
        reader.run.cancel()
        for _ in events:
            pass
    assert reader.final == {"status": "cancelled", "exit_code": None}


def state(service: Service, reader: Reader) -> object:
    """The run's status, or the HTTP status if there is no run."""
    response = httpx2.get(f"{service.url}/runs/{reader.run.run_id}", trust_env=False)
    return response.json()["status"] if response.is_success else response.status_code
