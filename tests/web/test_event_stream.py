"""What takes too long to wait for in a real server: pings, clients that never read, bodies that never come."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from k8s_mcp.app import create_app
from k8s_mcp.auth.guard import ANONYMOUS
from k8s_mcp.models import RunRequest
from k8s_mcp.runs.run import Run
from k8s_mcp.settings import Settings
from k8s_mcp.web import body as bodies
from k8s_mcp.web import event_stream, sse
from k8s_mcp.web.event_stream import EventStream
from tests.support.events import Event, Parser


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    settings = {"local_dir": str(tmp_path / "runs"), "resume_window": 0}
    app = create_app(Settings.model_validate(settings))
    async with app.router.lifespan_context(app):
        yield app


async def start(app: FastAPI, command: str, kubeconfig: str) -> Run:
    request = {"command": command, "kubeconfig": kubeconfig}
    return await app.state.runs.start(ANONYMOUS, RunRequest.model_validate(request))


async def never() -> Message:
    await asyncio.sleep(3600)
    raise AssertionError


def test_pings_come_every_15_seconds() -> None:
    assert sse.PING_SECONDS == 15


async def test_comments_are_sent_while_nothing_else_is(
    app: FastAPI, fake_kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "PING_SECONDS", 0.1)
    parser = Parser()
    events: list[Event] = []

    async def send(message: Message) -> None:
        events.extend(parser.feed(message.get("body", b"")))

    await EventStream(await start(app, "sleep 1; echo one; sleep 1", fake_kubeconfig))({"headers": []}, never, send)
    names = [event.name for event in events]
    assert {"comment"} == set(names[1 : names.index("stdout")])
    assert {"comment"} == set(names[names.index("stdout") + 1 : -1])
    assert names.count("comment") >= 4
    assert events[-1].is_final


async def test_client_that_never_reads_is_left(
    app: FastAPI, fake_kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "SEND_SECONDS", 0.2)
    run = await start(app, "yes", fake_kubeconfig)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await never()

    with anyio.fail_after(30):
        await EventStream(run)({"headers": []}, never, send)
        with run.events() as reader:
            while await reader.next():
                pass
    assert run.ended
    assert run.ended.status == "cancelled"


POST: Scope = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/sse",
    "query_string": b"",
    "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
}


async def answer(app: FastAPI, *messages: Message) -> tuple[int, bytes]:
    """The answer to a request whose body comes in these messages, and then no further."""
    unread = list(messages)
    sent: list[Message] = []

    async def receive() -> Message:
        return unread.pop(0) if unread else await never()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(POST, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def test_body_that_does_not_come_in_time_is_refused(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_SECONDS", 0.2)
    status, body = await answer(app, {"type": "http.request", "body": b'{"command": ', "more_body": True})
    assert status == 408
    assert json.loads(body)["status"] == 408


async def test_client_that_leaves_while_it_sends_its_body_is_no_error(app: FastAPI) -> None:
    await answer(app, {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
