"""Stored clusters as Secrets: never lost while they are replaced, and never deleted for what they were before."""

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k8s_mcp.cluster.connection import Cluster
from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.kubernetes.handle_store import SecretStore
from k8s_mcp.models import Handle
from tests.support.fake_api import Said, http, talking_to

_NOW = datetime.now(UTC)
_PAST, _FUTURE = _NOW - timedelta(hours=1), _NOW + timedelta(hours=1)
_FAILED = http("500 Internal Server Error", b"", "text/plain")


def handle(text: str, expires: datetime = _FUTURE) -> Handle:
    return Handle("prod", "https://192.0.2.1", ("one",), expires, text)


class Secrets:
    """The Secrets of an API server: with `uid`s, `resourceVersion`s, and the preconditions of a delete.

    `fail` names the methods that get no sensible answer; `before_delete` happens before the next one.
    """

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.fail: set[str] = set()
        self.before_delete: list[Handle] = []
        self._version = 0

    def answer(self, call: str, body: bytes) -> Said:
        method, path = call.split(" ")
        if method in self.fail:
            return Said(_FAILED)
        name = path.partition("?")[0].rpartition("/secrets")[2].strip("/")
        found = self.there.get(name)
        if method == "POST":
            sent = json.loads(body)
            name = sent["metadata"]["name"]
            return self._refuse(409) if name in self.there else self._store(name, sent, f"uid-{self._version}")
        if method == "GET" and not name:
            items = [{"metadata": secret["metadata"]} for secret in self.there.values()]
            return self._fine("PartialObjectMetadataList", items=items, metadata={"resourceVersion": "9"})
        if found is None:
            return self._refuse(404)
        if method == "PUT":
            return self._store(name, json.loads(body), found["metadata"]["uid"])
        if method == "DELETE":
            return self._delete(name, json.loads(body).get("preconditions", {}))
        return self._fine("Secret", **found)

    def _delete(self, name: str, seen: dict[str, str]) -> Said:
        if self.before_delete:
            self.put(self.before_delete.pop())
        if any(self.there[name]["metadata"][key] != value for key, value in seen.items()):
            return self._refuse(409)
        del self.there[name]
        return self._fine("Status")

    def put(self, stored: Handle) -> None:
        """Somebody else stores it, in the place of the only one."""
        [name] = self.there
        secret = self.there[name]
        secret["metadata"]["annotations"]["k8s-mcp-server/expires"] = (stored.expires or _NOW).isoformat()
        secret["data"]["kubeconfig"] = base64.b64encode(stored.kubeconfig.encode()).decode()
        self._store(name, secret, secret["metadata"]["uid"])

    def _store(self, name: str, secret: dict[str, Any], uid: str) -> Said:
        self._version += 1
        secret["metadata"] |= {"uid": uid, "resourceVersion": str(self._version)}
        self.there[name] = secret
        return self._fine("Secret", **secret)

    def _fine(self, kind: str, /, **rest: object) -> Said:
        return Said(http("200 OK", {**rest, "kind": kind}))

    def _refuse(self, status: int) -> Said:
        return Said(http(f"{status} No", {"kind": "Status", "status": "Failure", "code": status}))


@asynccontextmanager
async def stored(*handles: Handle) -> AsyncGenerator[tuple[Secrets, SecretStore, list[str]]]:
    """Such Secrets, a store that keeps these handles of `me` there, and the odd objects that were counted."""
    secrets, odd = Secrets(), list[str]()
    async with talking_to(secrets.answer) as (_, api):
        cluster = Cluster("", "", "here", on_odd_object=odd.append)
        cluster.api = api
        store = SecretStore(cluster)
        for one in handles:
            await store.put("me", one)
        yield secrets, store, odd


@pytest.mark.parametrize("failing", [{"POST"}, {"PUT"}, {"DELETE"}, {"POST", "PUT"}], ids=sorted)
async def test_a_cluster_is_not_lost_when_replacing_it_fails(failing: set[str]) -> None:
    async with stored(handle("old")) as (secrets, store, _):
        secrets.fail = failing
        try:
            await store.put("me", handle("new"))
            expected = "new"
        except Unavailable:
            expected = "old"
        secrets.fail = set()
        found = await store.get("me", "prod")
        assert found is not None
        assert found.kubeconfig == expected


async def test_a_cluster_is_replaced_and_deleted() -> None:
    async with stored(handle("old"), handle("new")) as (_, store, _):
        found = await store.get("me", "prod")
        assert found is not None
        assert found == handle("new", found.expires or _NOW)
        assert [one.name for one in await store.all("me")] == ["prod"]
        assert await store.delete("me", "prod")
        assert not await store.delete("me", "prod")
        assert await store.get("me", "prod") is None


@pytest.mark.parametrize("by", ["get", "remove_expired"])
async def test_a_cluster_that_is_renewed_at_its_end_stays(by: str) -> None:
    async with stored(handle("old", _PAST)) as (secrets, store, _):
        secrets.before_delete = [handle("new")]
        found = await store.get("me", "prod") if by == "get" else await store.remove_expired()
        assert by != "get" or (found is not None and found.kubeconfig == "new")
        assert [one.name for one in await store.all("me")] == ["prod"]


async def test_what_has_expired_is_gone() -> None:
    async with stored(handle("old", _PAST)) as (secrets, store, _):
        assert await store.all("me") == []
        assert secrets.there
        await store.remove_expired()
        assert not secrets.there


_ODD: dict[str, dict[str, Any]] = {
    "no annotations": {"annotations": None},
    "no time": {"annotations": {"k8s-mcp-server/expires": "soon"}},
    "a time without a zone": {"annotations": {"k8s-mcp-server/expires": "2026-01-01T00:00:00"}},
    "no JSON": {"annotations": {"k8s-mcp-server/contexts": "{"}},
    "no list": {"annotations": {"k8s-mcp-server/contexts": "1"}},
}


@pytest.mark.parametrize("odd", _ODD)
async def test_a_secret_that_somebody_has_changed_is_passed_over_and_counted(
    odd: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stored(handle("secret-text")) as (secrets, store, counted):
        [secret] = secrets.there.values()
        changed = _ODD[odd]["annotations"]
        secret["metadata"]["annotations"] = changed and {**secret["metadata"]["annotations"], **changed}
        assert await store.get("me", "prod") is None
        assert await store.all("me") == []
        await store.remove_expired()
        assert counted == ["secrets"] * 3
        assert "passed over" in caplog.text
        assert "secret-text" not in caplog.text
        await store.put("me", handle("new"))
        assert await store.get("me", "prod") is not None


async def test_a_kubeconfig_that_is_not_base64_is_passed_over() -> None:
    async with stored(handle("text")) as (secrets, store, counted):
        [secret] = secrets.there.values()
        secret["data"]["kubeconfig"] = "a"
        assert await store.get("me", "prod") is None
        assert counted == ["secrets"]
