"""The whole service in this process, but for the executor: what a fuzzer makes up is not to be run."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from unittest.mock import patch

from starlette.types import Message

from k8s_mcp import app
from k8s_mcp.executors.base import Execution, Executor, Item
from k8s_mcp.models import Ended, RunSpec
from k8s_mcp.recorded import Requests
from k8s_mcp.settings import Settings


class Nothing(Execution):
    """An execution that is over."""

    @property
    def left(self) -> str:
        return ""

    @property
    def place(self) -> Mapping[str, str]:
        return {}

    @property
    def requests(self) -> Requests | None:
        return None

    async def __aiter__(self) -> AsyncIterator[Item]:
        yield Ended("done", 0)

    async def stop(self) -> None:
        pass

    async def settle(self) -> None:
        pass


class RunsNothing(Executor):
    """An executor of runs that are over at once."""

    name = "local"
    loopback_clusters = True
    can_be_read_only = False

    def __init__(self, *_: object) -> None:
        pass

    def check(self) -> None:
        pass

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        yield

    @asynccontextmanager
    async def start(self, spec: RunSpec) -> AsyncGenerator[Nothing]:
        yield Nothing()


class Service:
    """Answers one request after another, in an event loop of its own, for as long as the process lives."""

    def __init__(self) -> None:
        settings = Settings.model_validate({"executor": "local", "replay_seconds": 0, "audit_log": "off"})
        with patch.object(app, "LocalExecutor", RunsNothing):
            self._app = app.create_app(settings)
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._started, self._ending = asyncio.Event(), asyncio.Event()
        self._life = self._loop.create_task(self._live())
        self._loop.run_until_complete(self._started.wait())

    def ask(self, method: str, target: str, media_type: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, media type and body of the answer."""
        return self._loop.run_until_complete(self._ask(method, target, media_type, body))

    def close(self) -> None:
        """End the service."""
        self._ending.set()
        self._loop.run_until_complete(self._life)
        self._runner.close()

    async def _live(self) -> None:
        async with self._app.router.lifespan_context(self._app):
            self._started.set()
            await self._ending.wait()

    async def _ask(self, method: str, target: str, media_type: str, body: bytes) -> tuple[int, str, bytes]:
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", media_type.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"accept", b"application/json, text/event-stream"),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 9096),
            "state": {},
        }
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        answered = asyncio.Event()
        sent: list[Message] = []

        async def receive() -> Message:
            if unread:
                return unread.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered.set()

        await self._app(scope, receive, send)
        headers = {name.lower(): value for name, value in sent[0]["headers"]}
        kind = headers.get(b"content-type", b"").decode().partition(";")[0]
        return sent[0]["status"], kind, b"".join(message.get("body", b"") for message in sent[1:])
