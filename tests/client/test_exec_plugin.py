"""Credential plugins are run here as kubectl runs them: real scripts, and what is said when one fails."""

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.client.exec_plugin import Credential, credential
from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.fields import Fields
from tests.support.execute import K8S_MCP, Exec
from tests.support.faults import Script, answer
from tests.support.prepared import Prepared

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
SECRET = "not-for-messages"
DONE = 'event: control\ndata: {"status": "done", "exit_code": 0}\nid: 1\n\n'


def printed(api_version: str = V1, **status: str) -> str:
    return json.dumps({"kind": "ExecCredential", "apiVersion": api_version, "status": status})


class Plugin:
    """A script at `./plugin`, beside the kubeconfig."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, script: str, cluster: dict[str, Any] | None = None, **exec_: Any) -> Credential:
        path = self.home / "plugin"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        body = {"apiVersion": V1, "command": "./plugin", "interactiveMode": "IfAvailable", **exec_}
        return credential(Fields(body, "users[0].user.exec."), self.home, cluster or {}, stdin_is_free=True)


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_token_or_a_certificate_is_taken(plugin: Plugin, version: str) -> None:
    found = plugin(f"echo '{printed(version, token=SECRET)}'", apiVersion=version)
    assert (found.token, found.expires) == (SECRET, None)
    assert SECRET not in repr(found)
    pair = printed(version, clientCertificateData="C", clientKeyData="K", expirationTimestamp="2030-01-31T12:00:00Z")
    found = plugin(f"echo '{pair}'", apiVersion=version)
    assert (found.certificate, found.key) == ("C", "K")
    assert found.expires is not None
    assert found.expires.isoformat() == "2030-01-31T12:00:00+00:00"


def test_it_gets_its_arguments_its_environment_and_what_kubectl_tells(plugin: Plugin) -> None:
    script = (
        'printf \'{"kind":"ExecCredential","apiVersion":"%s","status":{"token":"%s"}}\' '
        f'{V1} "$(printf %s "$1,$2,$NAME,$HOME,$KUBERNETES_EXEC_INFO" | base64 -w0)"'
    )
    cluster = {
        "server": "https://192.0.2.1",
        "certificate-authority-data": "QQ==",
        "extensions": [
            {"name": "other", "extension": {"a": "b"}},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
        ],
    }
    env = [{"name": "NAME", "value": "v"}]
    found = plugin(script, cluster, args=["a b", "$HOME"], env=env, provideClusterInfo=True)
    said = subprocess.run(["base64", "-d"], input=found.token, capture_output=True, text=True, check=True).stdout
    first, second, name, home, info = said.split(",", 4)
    assert (first, second, name, home) == ("a b", "$HOME", "v", os.environ["HOME"])
    assert json.loads(info) == {
        "kind": "ExecCredential",
        "apiVersion": V1,
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "https://192.0.2.1",
                "certificate-authority-data": "QQ==",
                "config": {"audience": "x"},
            },
        },
    }


@pytest.mark.parametrize(
    ("script", "exec_", "message"),
    [
        (f"echo {SECRET} >&2; exit 3", {}, "'./plugin' failed with exit code 3; what it said is above"),
        ("kill -9 $$", {}, "failed with signal 9"),
        (f"echo {SECRET}", {}, "printed no ExecCredential"),
        (f"echo '[\"{SECRET}\"'", {}, "printed no ExecCredential"),
        ("printf '\\xff'", {}, "is not text"),
        (f"echo '{printed(V1BETA1, token=SECRET)}'", {}, "another apiVersion than the kubeconfig's"),
        (f"echo '{printed()}'", {}, "neither a token nor a certificate"),
        (f"echo '{printed(clientKeyData=SECRET)}'", {}, "without its"),
        (f"echo '{printed(token=SECRET, expirationTimestamp='soon')}'", {}, "a time as in RFC 3339"),
        ("true", {"interactiveMode": "Always"}, "a terminal, which standard input is not"),
        ("true", {"interactiveMode": "Sometimes"}, "interactiveMode must be Never, IfAvailable or Always"),
        ("true", {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "apiVersion must be"),
        ("true", {"command": ""}, "command is missing"),
        ("true", {"command": "./none"}, "'./none' is not an executable file"),
        ("true", {"command": "no-such-plugin", "installHint": "Get it\n at x."}, "is not in PATH.*: Get it at x."),
    ],
)
def test_what_is_wrong_is_said_and_no_secret(
    plugin: Plugin, script: str, exec_: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(KubeconfigError, match=message) as refused:
        plugin(script, **exec_)
    assert SECRET not in str(refused.value)


def test_it_may_ask_on_a_terminal_when_nobody_else_reads_it(tmp_path: Path, prepared: Prepared) -> None:
    script = tmp_path / "ask"
    script.write_text(f"#!/bin/bash\nread -r word; echo '{printed(token='XX')}' | sed s/XX/$word/\n")
    script.chmod(0o755)
    plugin = {"apiVersion": V1, "command": "./ask", "interactiveMode": "Always"}
    config = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://192.0.2.1"}}],
        "users": [{"name": "a", "user": {"exec": plugin}}],
    }
    with Script(answer(body=DONE)) as service:
        execute = Exec(service.url, tmp_path, json.dumps(config), prepared)
        ours, theirs = pty.openpty()
        with execute.started("--", "true", stdin=theirs) as process:
            os.write(ours, b"password\n")
            assert process.wait() == 0
        os.close(ours)
        os.close(theirs)
        assert '"password' in service.requests[0].replace("\\", "")
        words = [*K8S_MCP, "exec", "-i", "--", "true"]
        taken = subprocess.run(
            words, env=execute.environment, cwd=tmp_path, input=b"", capture_output=True, check=False
        )
    assert taken.returncode == 125
    assert b"wants to ask on a terminal" in taken.stderr
