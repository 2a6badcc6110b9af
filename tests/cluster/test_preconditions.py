"""Nobody changes or deletes what is not what he saw."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from kubernetes.aio import client

from k8s_mcp.cluster.client import Api, ApiError
from k8s_mcp.cluster.connect import ConfiguredServer
from tests.support.faults import Script, answer

_JOBS = "/apis/batch/v1/jobs"


def said(status: str, reason: str, message: str = "") -> bytes:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": int(status[:3])}
    return answer(status, json.dumps(body), "application/json")


@asynccontextmanager
async def asked(what: bytes) -> AsyncGenerator[tuple[Script, Api]]:
    """A server that always says that, and a client of it."""
    with Script(what) as server:
        api = Api(ConfiguredServer(client.Configuration(host=server.url)), "here")
        try:
            yield server, api
        finally:
            await api.close()


FINE = answer(
    body='{"kind": "Job", "metadata": {"name": "run-1", "uid": "u", "resourceVersion": "8"}, "spec": {}}',
    media_type="application/json",
)


def sent(script: Script) -> object:
    return json.loads(script.requests[-1].partition("\r\n\r\n")[2])


async def test_a_delete_names_what_was_seen() -> None:
    async with asked(FINE) as (server, api):
        assert await api.delete(_JOBS, "run-1", uid="u", resource_version="7")
        assert sent(server) == {
            "propagationPolicy": "Background",
            "preconditions": {"uid": "u", "resourceVersion": "7"},
        }
        assert await api.delete(_JOBS, "run-1")
        assert sent(server) == {"propagationPolicy": "Background"}


@pytest.mark.parametrize(("status", "reason"), [("404 Not Found", "NotFound"), ("409 Conflict", "Conflict")])
async def test_what_is_gone_or_another_one_is_not_deleted(status: str, reason: str) -> None:
    async with asked(said(status, reason)) as (_, api):
        assert not await api.delete(_JOBS, "run-1", uid="u")


async def test_a_patch_names_what_was_seen() -> None:
    async with asked(FINE) as (server, api):
        note = {"metadata": {"annotations": {"a": "b"}}}
        await api.patch(_JOBS, "run-1", note, uid="u", resource_version="7")
        assert sent(server) == {"metadata": {"annotations": {"a": "b"}, "uid": "u", "resourceVersion": "7"}}
        assert note == {"metadata": {"annotations": {"a": "b"}}}
        await api.patch(_JOBS, "run-1", {"spec": {"suspend": False}})
        assert sent(server) == {"spec": {"suspend": False}}


@pytest.mark.parametrize(
    "refusal",
    [
        said("409 Conflict", "Conflict", "the object has been modified"),
        said("422 Unprocessable Entity", "Invalid", 'Job "x": metadata.uid: Invalid value: "u": immutable'),
    ],
)
async def test_a_patch_of_another_object_is_a_conflict(refusal: bytes) -> None:
    """What the API server says of another uid is that it cannot be changed."""
    async with asked(refusal) as (_, api):
        with pytest.raises(ApiError) as raised:
            await api.patch(_JOBS, "run-1", {}, uid="u")
        assert raised.value.is_conflict
