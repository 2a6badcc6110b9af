"""A client of the service for tests."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.events import Stream, Transcript


class Client:
    """An async context manager. Every run is for `kubeconfig` unless the call says otherwise."""

    def __init__(self, url: str, kubeconfig: str, verify: ssl.SSLContext | bool = True) -> None:
        self.http = httpx.AsyncClient(
            base_url=url,
            verify=verify,
            timeout=90,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self.kubeconfig = kubeconfig

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    def body(self, command: str, **fields: Any) -> dict[str, Any]:
        """The request body; fields given as None are left out."""
        body = {"command": command, "kubeconfig": self.kubeconfig, **fields}
        return {name: value for name, value in body.items() if value is not None}

    @asynccontextmanager
    async def stream(self, command: str, key: str | None = None, **fields: Any) -> AsyncGenerator[Stream]:
        """Start a run and read it; leaving the context closes the connection. `key` is the Idempotency-Key."""
        headers = {} if key is None else {"Idempotency-Key": key}
        request = self.http.stream("POST", "/sse", json=self.body(command, **fields), headers=headers)
        async with request as response:
            yield await _checked(response)

    async def run(self, command: str, key: str | None = None, **fields: Any) -> Transcript:
        """Start a run and read all of it."""
        async with self.stream(command, key, **fields) as stream:
            return await stream.to_end()

    @asynccontextmanager
    async def follow(self, run_id: str, after: int | None = None) -> AsyncGenerator[Stream]:
        """The run's stream again, or the rest of it behind the event `after`."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.http.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
            yield await _checked(response)

    async def replay(self, run_id: str, after: int | None = None) -> Transcript:
        async with self.follow(run_id, after) as stream:
            return await stream.to_end()

    async def state(self, run_id: str) -> dict[str, Any]:
        return (await self.http.get(f"/runs/{run_id}")).raise_for_status().json()

    async def cancel(self, run_id: str) -> dict[str, Any]:
        return (await self.http.delete(f"/runs/{run_id}")).raise_for_status().json()


async def _checked(response: httpx.Response) -> Stream:
    if response.status_code != 200:
        await response.aread()
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    return Stream(response)
