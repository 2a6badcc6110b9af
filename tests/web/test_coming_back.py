"""Clients that come back after a broken connection, or to a run that is over: the rest, or that there is none."""

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.mcp.node_packages import NODE
from tests.support.client import Client
from tests.support.events import Stream
from tests.web.test_routes import fields, problem


@asynccontextmanager
async def post(client: Client, body: dict[str, Any], **headers: str) -> AsyncGenerator[httpx.Response]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.http.stream("POST", "/sse", json=body, headers=names) as response:
        yield response


# EventSource


async def test_who_has_seen_the_final_event_is_told_to_stop(client: Client) -> None:
    """204, as `EventSource` understands it."""
    seen = await client.run("echo one")
    for last in (2, 3, 10**30):
        response = await client.http.get(f"/runs/{seen.run_id}/events", headers={"Last-Event-ID": str(last)})
        assert response.status_code == 204
        assert response.content == b""
        assert response.headers["cache-control"] == "no-store"
        head = await client.http.head(f"/runs/{seen.run_id}/events", headers={"Last-Event-ID": str(last)})
        assert head.status_code == 204
    assert (await client.replay(seen.run_id, 1)).final == {"status": "done", "exit_code": 0}
    assert (await client.replay(seen.run_id)).stdout == ["one"]


@pytest.mark.parametrize("after", [1, 2, 3, 5, 10**30])
async def test_number_that_is_not_there_yet_waits_for_the_final_event(
    client: Client, tmp_path: Path, after: int
) -> None:
    go = tmp_path / "go"
    async with client.stream(f"echo one; until [ -e {go} ]; do sleep 0.02; done; echo two; exit 3") as stream:
        await stream.first("stdout")
        run_id = stream.seen[0].control["run_id"]
        async with client.follow(run_id, after) as other:
            go.touch()
            rest = await other.to_end()
        assert rest.stdout == (["two"] if after == 1 else [])
        assert rest.final == {"status": "done", "exit_code": 3}
        assert rest.events[-1].id == 3


EVENT_SOURCE = """
const source = new EventSource(process.argv[1]);
const seen = [];
let opened = 0;
source.onopen = () => { opened += 1; };
for (const name of ["stdout", "stderr", "control"]) source.addEventListener(name, (event) => seen.push(event.data));
source.onerror = () => {
  if (source.readyState !== EventSource.CLOSED) return;
  console.log(JSON.stringify({ opened, seen }));
  process.exit();
};
setInterval(() => {}, 1000); // or Node.js ends before it comes back
"""


async def test_event_source_reads_all_and_then_stops(client: Client) -> None:
    """As browsers have it: it connects again after every end, until it is told not to."""
    run_id = (await client.run("echo one; echo two >&2; exit 3")).run_id
    url = f"{client.http.base_url}/runs/{run_id}/events"
    process = await asyncio.create_subprocess_exec(
        *(NODE, "--experimental-eventsource", "--no-warnings", "-e", EVENT_SOURCE, url), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    told = json.loads(printed)
    assert told["opened"] == 1
    assert told["seen"][1:] == ["one", "two", '{"status": "done", "exit_code": 3}']


# A POST that is sent again, as @microsoft/fetch-event-source does


async def test_post_that_is_sent_again_with_its_key_goes_on(client: Client, tmp_path: Path) -> None:
    ran, go = tmp_path / "ran", tmp_path / "go"
    body = client.body(f"echo x >> {ran}; echo one; echo two; until [ -e {go} ]; do sleep 0.02; done; echo three")
    async with post(client, body, Idempotency_Key="again") as response:
        lines = response.aiter_lines()
        while await anext(lines) != "id: 2":
            pass
    async with post(client, body, Idempotency_Key="again", Last_Event_ID="1") as response:
        stream = Stream(response)
        await stream.first("stdout")
        go.touch()
        rest = await stream.to_end()
    assert [event.data for event in rest.events[:-1]] == ["two", "three"], "and no `started`"
    assert rest.events[-1].id == 4
    assert ran.read_text() == "x\n"
    async with post(client, body, Idempotency_Key="again", Last_Event_ID="4") as response:
        assert response.status_code == 204
    async with post(client, body, Idempotency_Key="again", Last_Event_ID="0") as response:
        assert (await Stream(response).to_end()).stdout == ["one", "two", "three"]
    assert ran.read_text() == "x\n"


async def test_post_that_is_sent_again_without_a_key_runs_nothing(client: Client, tmp_path: Path) -> None:
    body = client.body(f"touch {tmp_path}/ran")
    headers = {"Last-Event-ID": "3"}
    document = problem(await client.http.post("/sse", json=body, headers=headers), 422)
    assert fields(document) == ["Idempotency-Key"]
    assert "GET /runs/RUN_ID/events" in document["detail"]
    assert not (tmp_path / "ran").exists()


async def test_post_that_is_sent_again_when_its_run_is_gone_runs_nothing(client: Client, tmp_path: Path) -> None:
    """Who has seen an event of a run knows that it began: a key that nobody knows any more starts no other."""
    headers = {"Last-Event-ID": "3", "Idempotency-Key": "long gone"}
    body = client.body(f"touch {tmp_path}/ran")
    problem(await client.http.post("/sse", json=body, headers=headers), 404)
    assert not (tmp_path / "ran").exists()


async def test_post_that_is_sent_again_is_checked_like_any_other(client: Client) -> None:
    body = client.body("echo one")
    await client.run("echo one", key="checked")
    for value in ("abc", "-1", "", "1_0"):
        headers = {"Last-Event-ID": value, "Idempotency-Key": "checked"}
        assert fields(problem(await client.http.post("/sse", json=body, headers=headers), 422)) == ["Last-Event-ID"]
    headers = {"Last-Event-ID": "1", "Idempotency-Key": "checked"}
    document = problem(await client.http.post("/sse", json=client.body("echo two"), headers=headers), 422)
    assert fields(document) == ["Idempotency-Key"]


async def test_last_event_id_means_nothing_to_mcp_messages(client: Client) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Last-Event-ID": "a/b", "Accept": "application/json, text/event-stream"}
    assert (await client.http.post("/sse", json=message, headers=headers)).status_code == 200
