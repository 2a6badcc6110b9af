"""Through Debian's nginx with the configuration of docs/proxies.md, a stream is what it is without."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, TypeAlias

import httpx
import pytest

from k8s_mcp.web.sse import PING_SECONDS
from tests.deploy import certificate as certificates
from tests.deploy import nginx
from tests.deploy.certificate import Certificate
from tests.mcp import clients
from tests.mcp.clients import PythonClient
from tests.support.client import Client
from tests.support.execute import Exec
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services, wait_for

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[PythonClient]]

_LINES = 5
_PACE = 0.3  # seconds


class OftenPinging(Service):
    """The service with pings 75 times as frequent: `PING_SECONDS` is no setting."""

    interval = PING_SECONDS / 75
    program: ClassVar = (
        "-c",
        f"from k8s_mcp.web import sse\nsse.PING_SECONDS = {interval}\nfrom k8s_mcp.cli.main import main\nmain()",
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificates.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate.file)


@pytest.fixture
def often_pinging(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[StartService]:
    with services(tmp_path_factory.mktemp("often-pinging"), tools, OftenPinging) as start:
        yield start


@asynccontextmanager
async def _client(url: str, kubeconfig: str, trusting: ssl.SSLContext) -> AsyncGenerator[Client]:
    async with Client(url, kubeconfig, verify=trusting) as client:
        yield client


@pytest.fixture
def url(server: Service, certificate: Certificate, tmp_path: Path) -> Iterator[str]:
    with nginx.in_front_of(server.url, certificate, tmp_path) as url:
        yield url


@pytest.fixture
async def proxied(url: str, fake_kubeconfig: str, trusting: ssl.SSLContext) -> AsyncIterator[Client]:
    """A client of `server` by way of nginx."""
    async with _client(url, fake_kubeconfig, trusting) as client:
        yield client


async def test_lines_arrive_live(proxied: Client, tmp_path: Path) -> None:
    # The command waits for each line to be seen before it writes the next one, 0.3 s later: held back anywhere on the
    # way, the first would never come.
    seen = tmp_path / "seen"
    seen.mkdir()
    one = f"echo $i; until [ -e {seen}/$i ]; do sleep 0.02; done; sleep {_PACE}"
    async with proxied.stream(f"for i in {{1..{_LINES}}}; do {one}; done", timeout=60) as stream:
        arrived: list[float] = []
        async for event in stream:
            if event.name == "stdout":
                arrived.append(event.at)
                (seen / event.data).touch()
    assert len(arrived) == _LINES
    assert all(later - earlier >= _PACE for earlier, later in pairwise(arrived))


async def test_much_output_arrives_whole(proxied: Client) -> None:
    transcript = await proxied.run("seq 200000")
    assert transcript.stdout == [str(number) for number in range(1, 200_001)]
    assert transcript.final == {"status": "done", "exit_code": 0}


def test_timeouts_of_the_guide_are_several_pings_long() -> None:
    # So silence of any length is none for nginx: 10 minutes are 40 pings, each of which starts its clock anew.
    # That it does is shown below, with both times scaled down.
    assert nginx.seconds("proxy_read_timeout") >= 3 * PING_SECONDS


async def test_a_silent_run_outlives_the_read_timeout_many_times(
    often_pinging: StartService,
    certificate: Certificate,
    trusting: ssl.SSLContext,
    fake_kubeconfig: str,
    tmp_path: Path,
) -> None:
    # The ratio of the guide, four pings in a timeout of 60 s, as closely as nginx's whole seconds allow it: five in
    # 1 s. Silent for six times as long.
    server = often_pinging()
    with nginx.in_front_of(server.url, certificate, tmp_path, proxy_read_timeout="1s") as url:
        async with _client(url, fake_kubeconfig, trusting) as client:
            transcript = await client.run("sleep 6; echo still there")
    assert transcript.stdout == ["still there"]
    assert transcript.final == {"status": "done", "exit_code": 0}
    pings = [event.at for event in transcript.events if event.name == "comment"]
    assert len(pings) >= 6 / OftenPinging.interval / 2


async def test_without_pings_in_time_the_same_nginx_cuts_the_stream(
    serve: StartService, certificate: Certificate, trusting: ssl.SSLContext, fake_kubeconfig: str, tmp_path: Path
) -> None:
    # So the test above can fail. And what was cut goes on where it was.
    with nginx.in_front_of(serve().url, certificate, tmp_path, proxy_read_timeout="1s") as url:
        async with _client(url, fake_kubeconfig, trusting) as client:
            async with client.stream("echo before; sleep 3; echo behind") as stream:
                with pytest.raises(httpx.RemoteProtocolError):
                    await stream.to_end()
                run_id, last = stream.seen[0].control["run_id"], stream.seen[-1].id
            assert stream.seen[-1].data == "before"
            rest = await _followed(client, run_id, last)
    assert rest == ["behind"]


async def _followed(client: Client, run_id: str, after: int | None) -> list[str]:
    """The rest of its output, by as many connections as it takes."""
    while True:
        async with client.follow(run_id, after) as stream:
            try:
                return (await stream.to_end()).stdout
            except httpx.RemoteProtocolError:
                continue


async def test_a_dropped_connection_resumes(proxied: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = f"echo one; echo two; until [ -e {go} ]; do sleep 0.02; done; echo three"
    async with proxied.stream(command, timeout=60) as stream:
        first = await stream.first("stdout")
        run_id = stream.seen[0].control["run_id"]
    go.touch()
    rest = await proxied.replay(run_id, after=first.id)
    assert rest.stdout == ["two", "three"]
    assert rest.final == {"status": "done", "exit_code": 0}


async def test_a_client_that_leaves_cancels_its_run(
    serve: StartService, certificate: Certificate, trusting: ssl.SSLContext, fake_kubeconfig: str, tmp_path: Path
) -> None:
    server = serve(resume_window=0)
    with nginx.in_front_of(server.url, certificate, tmp_path) as url:
        async with _client(url, fake_kubeconfig, trusting) as client:
            async with client.stream("echo there; sleep 600") as stream:
                await stream.first("stdout")
                run_id = stream.seen[0].control["run_id"]
            wait_for(lambda: server.get(f"/runs/{run_id}").json()["status"] == "cancelled", what="the cancel")


async def test_the_largest_request_passes(proxied: Client) -> None:
    # Escaped as JSON it is over nginx's own limit for a body, 1 MiB.
    stdin = "\n" * (600 * 1024)
    transcript = await proxied.run("wc -c", stdin=stdin)
    assert [line.strip() for line in transcript.stdout] == [str(len(stdin))]


async def test_errors_are_the_service_s_own(proxied: Client) -> None:
    response = await proxied.http.post("/sse", json={"command": "true"})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_client_runs_commands_through_it(
    url: str, certificate: Certificate, fake_kubeconfig: str, tmp_path: Path, prepared: Prepared
) -> None:
    execute = Exec(url, tmp_path, fake_kubeconfig, prepared)
    done = execute("--", "echo out; echo err >&2; exit 7", environment={"SSL_CERT_FILE": str(certificate.file)})
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize(("connect", "path"), [(clients.python_sse, "/sse"), (clients.python_http, "/mcp")])
async def test_mcp_passes(
    connect: Connect,
    path: str,
    url: str,
    certificate: Certificate,
    fake_kubeconfig: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with connect(f"{url}{path}") as client:
        result = await client.call("run_command", command="echo hello", kubeconfig=fake_kubeconfig)
    assert result.data
    assert result.data["exit_code"] == 0
