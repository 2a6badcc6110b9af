"""The watch of all runs goes on, whatever the API server answers, and says how it is."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from k8s_mcp.cluster.client import Json
from k8s_mcp.cluster.watch import Watch
from tests.support.fake_api import ODD, Said, http, stream, talking_to

_KINDS = {"jobs": "JobList", "pods": "PodList", "events": "EventList"}


def healthy(call: str, _body: bytes) -> Said:
    """Nothing is there, and nothing happens."""
    if "watch=true" in call:
        return Said(stream(), hold=True)
    kind = next(kind for resource, kind in _KINDS.items() if f"/{resource}" in call)
    empty: Json = {"kind": kind, "metadata": {"resourceVersion": "7"}, "items": []}
    return Said(http("200 OK", empty))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for is on both sides of a connection
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "odd",
    ["520", "503, a JSON string", "a JSON string", "empty", "HTML", "half an answer", "404 of a default backend"],
)
@pytest.mark.parametrize("what", ["list", "watch"])
async def test_no_answer_ends_the_watch(odd: str, what: str) -> None:
    """It says so while it lasts, tries again, and is well as soon as the API server is."""

    def answer(call: str, body: bytes) -> Said:
        return Said(ODD[odd]) if what == "list" or "watch=true" in call else healthy(call, body)

    async with talking_to(healthy) as (server, api):
        watch = Watch(api)
        async with watch.open():
            await until(lambda: watch.connected)
            server.answer = answer
            server.cut()
            await until(lambda: "API server" in watch.trouble)
            server.answer = healthy
            server.cut()
            await until(lambda: watch.connected)


async def test_nothing_is_said_of_a_watch_that_ends_as_watches_do(caplog: pytest.LogCaptureFixture) -> None:
    """By its own time, by a connection that was idle for too long, or because its place is too old."""
    old = b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}\n'
    bookmark = b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}}\n'
    ends = [stream(bookmark) + b"0\r\n\r\n", stream(), stream(old)]

    def answer(call: str, body: bytes) -> Said:
        return Said(ends.pop()) if "watch=true" in call and ends else healthy(call, body)

    caplog.set_level(logging.WARNING)
    async with talking_to(answer) as (server, api):
        watch = Watch(api)
        async with watch.open():
            await until(lambda: not ends and sum("watch=true" in call for call in server.asked) >= 6)
    assert caplog.messages == []


async def test_the_api_server_ends_an_idle_watch_before_its_client_gives_up() -> None:
    """The API server sends no bookmarks for events, which it does not cache."""
    async with talking_to(healthy) as (server, api):
        watch = Watch(api)
        async with watch.open():
            await until(lambda: sum("watch=true" in call for call in server.asked) == 3)
    asked = next(call for call in server.asked if "/events?" in call and "watch=true" in call)
    assert int(parse_qs(urlsplit(asked.split(" ")[1]).query)["timeoutSeconds"][0]) < 90
