"""The first minute: a command on the cluster of whatever kubeconfig somebody has, without another step."""

import base64
import json
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml

from tests.support.execute import Exec
from tests.support.faults import Script, answer
from tests.support.kubeconfigs import CLIENT_KEY, TOKEN
from tests.support.prepared import Prepared
from tests.support.real_kubeconfigs import SHAPES, Access, write
from tests.support.service import Service

_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbm90IGEgc2VjcmV0\n-----END CERTIFICATE-----\n"
MADE_UP = Access("https://192.0.2.1:6443", _CERTIFICATE, TOKEN, _CERTIFICATE, CLIENT_KEY)


DONE = 'event: control\ndata: {"status": "done", "exit_code": 0}\nid: 1\n\n'


def with_plugins(home: Path) -> dict[str, str]:
    return {"KUBECONFIG": str(home / "config"), "PATH": f"{home}/bin:{os.environ['PATH']}"}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_run_needs_is_sent_and_no_more(
    server: Service, shape: str, tmp_path: Path, prepared: Prepared
) -> None:
    before = yaml.safe_load(write(shape, MADE_UP, tmp_path).read_text())
    with Script(answer(body=DONE)) as service:
        result = Exec(service.url, tmp_path, "", prepared)("--", "true", environment=with_plugins(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    sent = yaml.safe_load(json.loads(service.requests[0].partition("\r\n\r\n")[2])["kubeconfig"])
    assert sent["current-context"] == before["current-context"]
    assert [context["name"] for context in sent["contexts"]] == [before["current-context"]]
    assert [cluster["cluster"]["server"] for cluster in sent["clusters"]] == [MADE_UP.server]
    [user] = [entry["user"] for entry in sent["users"]]
    assert user.get("token") == TOKEN or base64.b64decode(user["client-key-data"]).decode() == CLIENT_KEY
    assert "exec" not in user
    assert Exec(server.url, tmp_path, "", prepared)("--", "true", environment=with_plugins(tmp_path)).returncode == 0


@pytest.fixture(scope="module")
def access(kubeconfig: str, kubectl: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Access]:
    """To the test cluster, as its administrator, with a token made by the API server."""
    path = tmp_path_factory.mktemp("access") / "config"
    path.write_text(kubeconfig)
    name = f"first-minute-{os.getpid()}"
    kubectl_ = [str(kubectl), "--kubeconfig", str(path)]
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    role = {
        "kind": "ClusterRole",
        **rbac,
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}],
    }
    binding = {
        "kind": "ClusterRoleBinding",
        **rbac,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    objects = json.dumps({"kind": "List", "apiVersion": "v1", "items": [account, role, binding]})
    subprocess.run([*kubectl_, "apply", "-f", "-"], input=objects, text=True, check=True, capture_output=True)
    made = subprocess.run([*kubectl_, "create", "token", name], text=True, check=True, capture_output=True)
    config = yaml.safe_load(kubeconfig)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pem = {
        key: base64.b64decode(part[key]).decode()
        for part, key in (
            (cluster, "certificate-authority-data"),
            (user, "client-certificate-data"),
            (user, "client-key-data"),
        )
    }
    yield Access(
        cluster["server"],
        pem["certificate-authority-data"],
        made.stdout.strip(),
        pem["client-certificate-data"],
        pem["client-key-data"],
    )
    subprocess.run([*kubectl_, "delete", "-f", "-"], input=objects, text=True, check=True, capture_output=True)


@pytest.mark.cluster
@pytest.mark.parametrize("shape", SHAPES)
def test_first_command(
    server: Service, access: Access, kubectl: Path, shape: str, tmp_path: Path, prepared: Prepared
) -> None:
    write(shape, access, tmp_path)
    execute = Exec(server.url, tmp_path, "", prepared)
    result = execute("--", "kubectl", "get", "nodes", "-o", "name", environment=with_plugins(tmp_path))
    assert result.stdout.startswith("node/"), result.stderr
    assert result.returncode == 0
