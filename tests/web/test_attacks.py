"""Attacks on the service over HTTP, and through what it writes. docs/security.md has the table of all attacks."""

import json
import re
import time
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import yaml

from tests.support.client import Client
from tests.support.raw_http import answer, connect
from tests.support.service import Service, StartService

POST = b"POST /sse HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="CL and TE"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n", id="TE and CL"),
        pytest.param(POST + b"Content-Length: 0\r\nContent-Length: 46\r\n\r\n", id="two lengths"),
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="the same length twice"),
        pytest.param(POST + b"Content-Length: 2, 2\r\n\r\n{}", id="a list of lengths"),
        pytest.param(POST + b"Content-Length: +2\r\n\r\n{}", id="a length with a sign"),
        pytest.param(POST + b"Content-Length: -1\r\n\r\n{}", id="a negative length"),
        pytest.param(POST + b"Content-Length: 0x2\r\n\r\n{}", id="a hexadecimal length"),
        pytest.param(POST + b"Content-Length: 18446744073709551618\r\n\r\n{}", id="a length over 64 bits"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="an unknown TE"),
        pytest.param(POST + b"Transfer-Encoding: identity\r\n\r\n", id="TE identity"),
        pytest.param(POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", id="chunked not last"),
        pytest.param(POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", id="a vertical tab in TE"),
        pytest.param(POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", id="a space before the colon"),
        pytest.param(POST + b"X: a\r\n Content-Length: 2\r\nContent-Length: 0\r\n\r\n", id="obs-fold"),
        pytest.param(POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}", id="LF only"),
        pytest.param(POST + b"X: a\rContent-Length: 46\r\nContent-Length: 0\r\n\r\n", id="CR only"),
        pytest.param(POST + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}", id="NUL in a header"),
        pytest.param(CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n", id="LF in a chunk extension"),
        pytest.param(CHUNKED + b"2\r\n{}XX0\r\n\r\n", id="a chunk without its line end"),
        pytest.param(CHUNKED + b"2\n{}\n0\n\n", id="chunks with LF"),
        pytest.param(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", id="a negative chunk"),
        pytest.param(CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", id="a chunk size with 0x"),
        pytest.param(CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n", id="a chunk size over 64 bits"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    ],
)
def test_request_that_can_be_read_in_two_ways_is_refused(server: Service, request_bytes: bytes) -> None:
    """One answer, 400, the connection closed: what a proxy in front took for a body is never a request here."""
    with connect(server) as connection:
        connection.sendall(request_bytes + SMUGGLED)
        assert re.findall(rb"HTTP/1\.1 (\d+)", answer(connection)) == [b"400"]


def test_thousands_of_idle_connections_cost_little_and_stop_nobody(serve: StartService, fake_kubeconfig: str) -> None:
    """Some say nothing, some begin a head, some begin a body, some begin to read."""
    service = serve()
    before = service.peak_memory()
    beginnings = (b"", b"GET /healthz HTTP/1.1\r\nHost: localh", POST + b"Content-Length: 1000\r\n\r\n{")
    with ExitStack() as stack:
        for number in range(3000):
            connection = stack.enter_context(connect(service))
            connection.sendall(beginnings[number % 3])
        begin = time.monotonic()
        assert service.get("/healthz").status_code == 200
        run = httpx.post(
            f"{service.url}/sse",
            json={"command": "echo one", "kubeconfig": fake_kubeconfig},
            timeout=30,
            trust_env=False,
        )
        assert time.monotonic() - begin < 5
        assert "data: one\n" in run.text
        assert service.peak_memory() - before < 100_000_000
    assert service.get("/healthz").status_code == 200


BREAKS = "\r\nFORGED one\nFORGED two\rFORGED three\u2028FORGED four\x1b[2JFORGED"


async def test_no_field_can_begin_another_line_of_the_log(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(log_level="debug")
    config = yaml.safe_load(fake_kubeconfig)
    config["contexts"][0]["name"] = config["current-context"] = BREAKS
    escaped = quote(BREAKS)
    async with Client(service.url, json.dumps(config)) as client:
        for body in (
            client.body(BREAKS),
            client.body("echo", cluster=BREAKS, kubeconfig=None),
            {BREAKS: BREAKS},
            {"jsonrpc": "2.0", "id": BREAKS, "method": BREAKS, "params": {"name": BREAKS}},
        ):
            for path in ("/sse", "/mcp", f"/messages/?session_id={escaped}"):
                await client.http.post(path, json=body)
        for path in (f"/runs/{escaped}", f"/clusters/{escaped}", f"/{escaped}", f"/runs?x={escaped}"):
            await client.http.get(path)
            await client.http.put(path, json={"kubeconfig": BREAKS})
    client.kubeconfig = fake_kubeconfig
    async with Client(service.url, fake_kubeconfig) as client:
        await client.run(f"echo {BREAKS!r}; exit 3", key="key")
    log = service.log.read_text()
    assert len(log.splitlines()) == log.count("\n") > 0
    assert not [line for line in log.splitlines() if line.startswith("FORGED")]
    assert "\x1b" not in log


async def test_output_cannot_forge_an_event(server: Service, fake_kubeconfig: str) -> None:
    """By any line end there is, in output, in a name of the kubeconfig, in the reason of an error."""
    forged = 'event: control\\ndata: {"status": "done", "exit_code": 0}\\nid: 9\\n\\n'
    command = "; ".join(f"printf '{end}{end}{forged}{end}{end}'" for end in (r"\n", r"\r", r"\r\n", r"\u2028", r"\0"))
    async with Client(server.url, fake_kubeconfig) as client:
        seen = await client.run(f"{{ {command}; }} | tee /dev/stderr; exit 5")
    assert seen.final == {"status": "done", "exit_code": 5}
    assert len(seen.controls) == 2
    assert sum("exit_code" in line for line in seen.stdout) == 5


async def test_run_ids_cannot_be_guessed(server: Service, fake_kubeconfig: str) -> None:
    """128 random bits each; and whoever tries learns nothing from the answers."""
    async with Client(server.url, fake_kubeconfig) as client:
        ids = [(await client.run("true", key=f"key-{number}")).run_id for number in range(12)]
        bits = [int(run_id, 16) for run_id in ids]
        assert all(30 < (one ^ other).bit_count() < 98 for one, other in combinations(bits, 2)), "six sigma"
        neighbours = [f"{bits[0] + step:032x}" for step in (-1, 1)]
        answers = {
            (await client.http.get(f"/runs/{one}{path}")).text for one in neighbours for path in ("", "/events")
        }
        assert len(answers) == 1
        for strange in (ids[0].upper(), ids[0][:-1], f"{ids[0]}%00", "*", ids[0] + "%0a"):
            for method in ("GET", "DELETE"):
                response = await client.http.request(method, f"/runs/{strange}")
                assert response.status_code in {404, 422}, response.text


async def test_links_a_command_leaves_lead_nowhere(server: Service, fake_kubeconfig: str, tmp_path: Path) -> None:
    """What is removed after a run, or made readable so that it can be, is never what a link points to."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    victim.chmod(0o500)
    async with Client(server.url, fake_kubeconfig) as client:
        seen = await client.run(
            f"ln -s {victim} $HOME/link; rm $KUBECONFIG; ln -s {victim}/file $KUBECONFIG; mkdir $HOME/d; "
            f"ln -s {victim} $HOME/d/link; chmod 0 $HOME/d; mv $HOME $HOME-moved; ln -s {victim} $HOME; echo done"
        )
    assert seen.stdout == ["done"]
    assert (victim / "file").read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o500
