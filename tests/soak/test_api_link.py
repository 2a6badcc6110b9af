"""A replica's way to the API server passes everything on, and fails as it is told."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from random import Random

import httpx
import pytest
from aiohttp import web

from tests.soak.api_link import ApiLink, api_link

LIST = '{"kind": "JobList", "items": []}'


@pytest.fixture
async def served() -> AsyncGenerator[list[str]]:
    """What the API server was asked; first its address."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(f"{request.method} {request.raw_path} {(await request.read()).decode()}")
        if "watch" not in request.path_qs:
            return web.Response(text=LIST)
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b'{"type": "BOOKMARK"}\n')
            await asyncio.sleep(0.01)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    seen.append(f"http://{host}:{port}")
    yield seen
    await runner.cleanup()


@pytest.fixture
async def link(served: list[str]) -> AsyncGenerator[ApiLink]:
    async with api_link({"server": served[0]}, Random(5)) as one:
        yield one


@pytest.fixture
async def http(link: ApiLink) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=link.url, trust_env=False, timeout=5) as client:
        yield client


async def test_calls_pass_through(served: list[str], http: httpx.AsyncClient) -> None:
    answer = await http.post("/apis/batch/v1/jobs?a=%2F", content=b"body")
    assert (answer.status_code, answer.text) == (200, LIST)
    assert served[1:] == ["POST /apis/batch/v1/jobs?a=%2F body"]


async def test_away_refuses_and_cuts(served: list[str], link: ApiLink, http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/jobs?watch=true") as watch:
        chunks = watch.aiter_raw()
        assert await anext(chunks)
        async with link.being_away():
            with pytest.raises(httpx.TransportError):
                async for _ in chunks:
                    pass
            with pytest.raises(httpx.TransportError):
                await http.get("/jobs")
            assert len(link.outages) == 1, "also while it goes on"
    assert len(served) == 2
    assert len(link.outages) == 1
    assert (await http.get("/jobs")).text == LIST


async def test_frozen_answers_later(link: ApiLink, http: httpx.AsyncClient) -> None:
    async with link.being_frozen():
        call = asyncio.ensure_future(http.get("/jobs"))
        done, _ = await asyncio.wait([call], timeout=0.2)
        assert not done
    assert (await call).text == LIST


async def test_odd_answers_are_nonsense_before_or_after_the_call(
    served: list[str], link: ApiLink, http: httpx.AsyncClient
) -> None:
    link.odd.turn(1.0)
    answers = [await http.get("/jobs") for _ in range(60)]
    assert LIST not in {answer.text for answer in answers}
    assert {answer.status_code for answer in answers} == {200, 429, 500, 503, 520}
    carried_out = len(served) - 1
    assert 10 < carried_out < 50
    link.odd.turn(0.0)
    assert (await http.get("/jobs")).text == LIST


async def test_odd_breaks_into_a_watch(link: ApiLink, http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/jobs?watch=true") as watch:
        chunks = watch.aiter_raw()
        seen = await anext(chunks)
        link.odd.turn(1.0)
        with suppress(httpx.TransportError):  # it breaks off, or ends
            async for chunk in chunks:
                seen += chunk
    assert seen.replace(b'{"type": "BOOKMARK"}\n', b"") != b""


async def test_when_it_was_odd_is_remembered(link: ApiLink) -> None:
    link.odd.turn(0.1)
    assert link.odd.spells == []
    link.odd.turn(1.0)
    assert len(link.odd.spells) == 1, "also while it goes on"
    link.odd.turn(0)
    [(began, ended)] = link.odd.spells
    assert 0 <= ended - began < 10
