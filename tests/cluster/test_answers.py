"""Whatever an API server answers, or what stands before it, is a value of the promised shape or one of our errors."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from k8s_mcp.cluster import answers, shapes
from k8s_mcp.cluster.answers import ApiError, ApiUnreachable, OddAnswer
from k8s_mcp.cluster.client import Api, Json
from k8s_mcp.cluster.logs import NoFrames, follow
from k8s_mcp.cluster.watch import Watch
from k8s_mcp.runner.frames import HELLO, STDOUT, Decoder, Encoder
from tests.support.fake_api import ODD, Said, http, stream, talking_to

_JOBS, _PODS = "/apis/batch/v1/jobs", "/api/v1/pods"
_NAMES = {"name": "run-1", "uid": "u", "resourceVersion": "7"}
_ATTRIBUTES = {"namespace": "here", "verb": "get", "resource": "pods"}

_CALLS: dict[str, Callable[[Api], Awaitable[object]]] = {
    "list": lambda api: api.list(_JOBS, {}),
    "list of metadata": lambda api: api.list_metadata("/api/v1/secrets", {}),
    "get": lambda api: api.get(_JOBS, "run-1"),
    "create": lambda api: api.create(_JOBS, {}),
    "patch": lambda api: api.patch(_JOBS, "run-1", {}),
    "replace": lambda api: api.replace("/apis/coordination.k8s.io/v1/leases", "run-1", {}),
    "delete": lambda api: api.delete(_JOBS, "run-1"),
    "TokenReview": lambda api: api.review_token("t", "a"),
    "access review": lambda api: api.may(_ATTRIBUTES),
    "version": lambda api: api.version(),
    "namespace": lambda api: api.namespace_object(),
}


async def _log(api: Api) -> None:
    async for _ in follow(api, "pod", Decoder()):
        pass


# A DELETE is answered with a Status, or the object, whatever that is.
_DELETED = re.compile(r"another kind|an object without metadata|a Status instead|a list|items")


@pytest.mark.parametrize(
    ("call", "odd"), [(call, odd) for call in _CALLS for odd in ODD if call != "delete" or not _DELETED.match(odd)]
)
async def test_an_odd_answer_is_one_of_our_errors(call: str, odd: str) -> None:
    async with talking_to(lambda _call, _body: Said(ODD[odd])) as (_, api):
        with pytest.raises((ApiError, ApiUnreachable)) as raised:
            await _CALLS[call](api)
    assert not isinstance(raised.value, ApiError) or raised.value.is_passing, "nobody believes what it says"


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_answer_is_no_log(odd: str) -> None:
    async with talking_to(lambda _call, _body: Said(ODD[odd])) as (_, api):
        with pytest.raises((ApiError, ApiUnreachable)):
            await _log(api)


async def test_a_log_is_one_although_no_frame_is_new() -> None:
    encoder = Encoder()
    log = encoder.control(HELLO) + encoder.output(STDOUT, b"one\n")
    decoder = Decoder()

    def text(_call: str, _body: bytes) -> Said:
        return Said(http("200 OK", b"unable to retrieve container logs", "text/plain"))

    async with talking_to(lambda _call, _body: Said(http("200 OK", log, "text/plain"))) as (server, api):
        assert len([frame async for frames in follow(api, "pod", decoder) for frame in frames]) == 2
        assert [frames async for frames in follow(api, "pod", decoder)] == []
        server.answer = text
        with pytest.raises(NoFrames):
            await _log(api)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'"no healthy upstream"',
        b"{}",
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": null}',
        b'{"type": "ADDED", "object": {"metadata": {"name": "", "uid": "u", "resourceVersion": "7"}, "spec": {}}}',
        b'{"type": "ADDED", "object": {"metadata": {"name": "n", "uid": "u", "resourceVersion": "x"}, "spec": {}}}',
        b'{"type": "SHOUTED", "object": {"metadata": {}}}',
        b'{"type": ["ADDED"], "object": {}}',
        b'{"type": "BOOKMARK", "object": {"metadata": {}}}',
        b'{"type": "ERROR", "object": {"kind": "Pod"}}',
        b'{"type": "ADDED", "object": {"metadata": {"name": "n", "uid": "u", "resourceVersion": "7", "labels": 1}}}',
        b"<html>",
        b'{"type": "ADDED", "obj',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_change_is_an_odd_answer(line: bytes) -> None:
    with pytest.raises(OddAnswer):
        answers.change(line, shapes.item_of("pods"))


def test_a_status_ends_a_watch() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    with pytest.raises(ApiError) as raised:
        answers.change(json.dumps({"type": "ERROR", "object": status}).encode(), shapes.item_of("pods"))
    assert (raised.value.status, raised.value.reason) == (410, "Expired")


def test_what_is_null_is_not_there() -> None:
    """So says Kubernetes; and whoever reads an object needs to ask one question only."""
    pod = {"metadata": {**_NAMES, "labels": None}, "spec": {}, "status": {"containerStatuses": None, "reason": None}}
    _, found = answers.change(json.dumps({"type": "ADDED", "object": pod}).encode(), shapes.item_of("pods"))
    assert found["metadata"] == {**_NAMES, "labels": {}, "annotations": {}}
    assert found["status"] == {}


_STATES: list[Any] = [
    {"conditions": [{"type": "Failed"}]},
    {"conditions": {"type": "Failed"}},
    {"conditions": [None]},
    {"containerStatuses": [{"state": {}}]},
    {"containerStatuses": [{"name": "runner", "state": {"terminated": {"exitCode": "0"}}}]},
    {"containerStatuses": [{"name": "runner", "state": {"terminated": {"exitCode": True}}}]},
    {"containerStatuses": [{"name": "runner", "state": "running"}]},
    "Running",
]


@pytest.mark.parametrize("status", _STATES)
def test_a_pod_whose_state_nobody_could_read_is_an_odd_answer(status: Any) -> None:
    pod = {"metadata": _NAMES, "spec": {}, "status": status}
    with pytest.raises(OddAnswer):
        answers.change(json.dumps({"type": "MODIFIED", "object": pod}).encode(), shapes.item_of("pods"))


def test_only_a_status_says_that_something_is_gone() -> None:
    gone = {"kind": "Status", "reason": "NotFound", "message": "no such pod"}
    said = answers.error(404, {}, json.dumps(gone).encode())
    assert isinstance(said, ApiError)
    assert not said.is_passing
    assert isinstance(answers.error(404, {}, b"404 page not found"), OddAnswer)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, b"no healthy upstream", "ServiceUnavailable"),
        (429, b"", "TooManyRequests"),
        (401, b"<html>", "Unauthorized"),
        (504, b"", "Timeout"),
        (520, b"", "InternalError"),
        (500, b'{"kind": "Status", "message": "dial tcp: connection refused"}', "InternalError"),
        (418, b'{"kind": "Status"}', "Unknown"),
        (403, b'{"kind": "Status", "reason": "Expired"}', "Expired"),
    ],
)
def test_the_reason_is_a_word_of_kubernetes_whoever_answered(status: int, body: bytes, reason: str) -> None:
    said = answers.error(status, {}, body)
    assert isinstance(said, ApiError)
    assert said.reason == reason


@pytest.mark.parametrize(
    ("headers", "status", "seconds"),
    [
        ({"Retry-After": "7"}, {}, 7.0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, {}, None),
        ({"Retry-After": "-1"}, {}, None),
        ({"Retry-After": "9" * 5000}, {}, None),
        ({"Retry-After": "999999999"}, {}, 60.0),
        ({}, {"details": {"retryAfterSeconds": 3}}, 3.0),
        ({}, {"details": {"retryAfterSeconds": -3}}, 0.0),
    ],
)
def test_how_long_to_wait_is_read_and_bounded(
    headers: dict[str, str], status: dict[str, object], seconds: float | None
) -> None:
    said = answers.error(429, headers, json.dumps({"kind": "Status", **status}).encode())
    assert isinstance(said, ApiError)
    assert said.retry_after == seconds


@pytest.mark.parametrize("status", [200, 404, 500])
def test_no_message_quotes_what_may_be_a_secret(status: int) -> None:
    half = b'{"data": {"kubeconfig": "c2VjcmV0"'
    with pytest.raises((ApiError, OddAnswer)) as raised:
        answers.value(status, {"Content-Type": "application/json"}, half, shapes.one_of("secrets"))
    assert "c2VjcmV0" not in str(raised.value)


async def test_the_object_of_another_name_is_an_odd_answer() -> None:
    job = {"kind": "Job", "metadata": {**_NAMES, "name": "run-2"}, "spec": {}}
    async with talking_to(lambda _call, _body: Said(http("200 OK", job))) as (_, api):
        with pytest.raises(OddAnswer):
            await api.get(_JOBS, "run-1")


async def test_no_answer_sends_the_credentials_elsewhere() -> None:
    seen: list[str] = []

    def answer(call: str, _body: bytes) -> Said:
        seen.append(call)
        return Said(http("302 Found", b"", "text/html", "Location: /elsewhere"))

    async with talking_to(answer) as (_, api):
        with pytest.raises(OddAnswer):
            await api.get(_JOBS, "run-1")
    assert seen == ["GET /apis/batch/v1/namespaces/here/jobs/run-1"]


async def test_what_passes_is_tried_again() -> None:
    """A DELETE answered by a load balancer without an API server behind it has deleted nothing."""
    left = [ODD["404 of a default backend"], ODD["520"], http("200 OK", {"kind": "Status", "status": "Success"})]
    async with talking_to(lambda _call, _body: Said(left.pop(0)), attempts=3) as (_, api):
        assert await api.delete(_JOBS, "run-1")
    assert left == []


async def test_a_watch_of_one_endless_line_is_an_odd_answer() -> None:
    endless = stream(*[b"x" * 2**20] * 17)
    lists: Json = {"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": []}
    async with talking_to(
        lambda call, _body: Said(endless, hold=True) if "watch=true" in call else Said(http("200 OK", lists))
    ) as (_, api):
        changes = Watch(api)._stream(_PODS, "7", wary=False)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(OddAnswer):
            async for _ in changes:
                pass
