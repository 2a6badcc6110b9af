"""The service's own credential outside a cluster: plugin or file are asked again, as client-go does."""

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s_mcp.cluster.answers import ApiError
from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.connect import connect
from k8s_mcp.cluster.credentials import Shown
from k8s_mcp.errors import StartError
from tests.support.fake_api import FakeApi, Said, http

_POD = {"kind": "Pod", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}, "spec": {}}
_VERSION = "client.authentication.k8s.io/v1"


class Server(FakeApi):
    """Takes one token, and remembers which it was shown."""

    def __init__(self, token: str) -> None:
        super().__init__(self._said)
        self.token = token
        self.shown: list[str] = []

    def on_head(self, head: str) -> None:
        self.shown.append(head.partition("Authorization: Bearer ")[2].partition("\r\n")[0])

    def _said(self, _call: str, _body: bytes) -> Said:
        if self.shown[-1] == self.token:
            return Said(http("200 OK", _POD))
        return Said(http("401 Unauthorized", {"kind": "Status", "status": "Failure", "code": 401}))


@asynccontextmanager
async def connected(directory: Path, user: dict[str, Any]) -> AsyncGenerator[tuple[Server, Api]]:
    server = Server("one")
    async with server.open():
        kubeconfig = directory / "kubeconfig"
        cluster = {"name": "c", "cluster": {"server": server.url}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        users = [{"name": "u", "user": user}]
        said = {"current-context": "x", "clusters": [cluster], "contexts": [context], "users": users}
        kubeconfig.write_text(yaml.safe_dump(said))
        async with connect(str(kubeconfig), "", "here") as api:
            yield server, api


async def ask(api: Api) -> None:
    await api.get("/api/v1/pods", "a")


def plugin(directory: Path, status: object) -> dict[str, Any]:
    """A plugin that says this, and notes each time what it was told."""
    answer = {"apiVersion": _VERSION, "kind": "ExecCredential", "status": status}
    (directory / "answer").write_text(json.dumps(answer))
    program = (
        "import os, sys; sys.stderr.write('x' * 200_000 if os.environ['NOISY'] else '');"
        f"open({str(directory / 'asked')!r}, 'a').write(os.environ['KUBERNETES_EXEC_INFO'] + '\\n');"
        f"print(open({str(directory / 'answer')!r}).read())"
    )
    environment = [{"name": "NOISY", "value": ""}]
    args = ["-I", "-S", "-c", program]
    return {"exec": {"apiVersion": _VERSION, "command": sys.executable, "args": args, "env": environment}}


def asked(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "asked").read_text().splitlines()]


async def test_a_token_file_that_changed_is_read_again_after_a_401(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    async with connected(tmp_path, {"tokenFile": "token", "token": "other"}) as (server, api):
        await ask(api)
        file.write_text("two\n")
        await ask(api)
        server.token = "two"
        await ask(api)
        assert server.shown == ["one", "one", "one", "two"]


async def test_a_plugin_is_asked_again_when_what_it_said_has_expired(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    user = plugin(tmp_path, {"token": "one", "expirationTimestamp": soon})
    async with connected(tmp_path, user) as (server, api):
        await ask(api)
        count = len(asked(tmp_path))
        plugin(tmp_path, {"token": "two", "expirationTimestamp": "2999-01-01T00:00:00Z"})
        server.token = "two"
        for _ in range(3):
            await ask(api)
        assert server.shown[-1] == "two"
        assert len(asked(tmp_path)) == count + 1
    assert asked(tmp_path)[0]["spec"] == {"interactive": False}


async def test_a_plugin_is_asked_once_more_on_a_401_and_not_at_every_one(tmp_path: Path) -> None:
    async with connected(tmp_path, plugin(tmp_path, {"token": "one"})) as (server, api):
        await ask(api)
        plugin(tmp_path, {"token": "two"})
        server.token = "two"
        await ask(api)
        assert server.shown == ["one", "one", "two"]
        server.token = "three"
        for _ in range(3):
            with pytest.raises(ApiError, match="401"):
                await ask(api)
        assert len(asked(tmp_path)) == 2


async def test_a_plugin_may_say_much_on_standard_error(tmp_path: Path) -> None:
    user = plugin(tmp_path, {"token": "one"})
    user["exec"]["env"][0]["value"] = "yes"
    async with connected(tmp_path, user) as (_, api):
        await ask(api)


async def test_a_fixed_token_is_shown_and_its_refusal_told(tmp_path: Path) -> None:
    async with connected(tmp_path, {"token": "one"}) as (server, api):
        await ask(api)
        server.token = "two"
        with pytest.raises(ApiError, match="401"):
            await ask(api)
        assert server.shown == ["one", "one"]


@pytest.mark.parametrize(
    "status",
    [
        *(None, {}, {"token": ""}, {"token": "a\nb"}, {"clientCertificateData": "a"}),
        {"token": "a", "expirationTimestamp": "x"},
    ],
    ids=str,
)
async def test_a_plugin_that_says_nothing_of_use_keeps_the_service_from_starting(
    tmp_path: Path, status: object
) -> None:
    with pytest.raises(StartError, match="ExecCredential"):
        async with connected(tmp_path, plugin(tmp_path, status)):
            pass


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"tokenFile": "missing"}, "No such file"),
        ({"exec": {"apiVersion": _VERSION, "command": "k8s-mcp-no-such-program"}}, "No such file"),
        ({"exec": {"apiVersion": _VERSION, "command": "false"}}, "ended with 1"),
        ({"exec": {"apiVersion": _VERSION, "command": "true", "interactiveMode": "Always"}}, "asks nobody"),
    ],
)
async def test_a_credential_that_cannot_be_had_keeps_the_service_from_starting(
    tmp_path: Path, user: dict[str, Any], why: str
) -> None:
    with pytest.raises(StartError, match=why):
        async with connected(tmp_path, user):
            pass


def test_what_is_shown_is_in_no_repr() -> None:
    assert "secret" not in repr(Shown("secret", "secret", "secret"))
