"""A release of the chart in the test cluster."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.place import Place
from tests.support.chart import CHART

Json = dict[str, Any]

NAME = "k8s-mcp-server"
_OF_TESTS = ("k8s-mcp-e2e-", "k8s-mcp-soak-", "gate-")
_LATER = {"events", "events.events.k8s.io"}  # Kubernetes removes these in its own time


@dataclass(frozen=True)
class Release:
    """helm and kubectl for one release, in a namespace of its own."""

    helm: Path
    place: Place
    namespace: str
    values: Mapping[str, object]

    @property
    def runners(self) -> str:
        """The namespace that the chart makes for runner pods."""
        return f"{NAME}-runs"

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What helm prints; an AssertionError with all of it when it fails."""
        done = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        where = (f"--kubeconfig={self.place.cluster.kubeconfig}", f"--namespace={self.namespace}")
        return [str(self.helm), *arguments, *where]

    def install(self) -> str:
        given = ("--values=-", "--wait", "--timeout=90s")
        return self("install", NAME, str(CHART), *given, stdin=json.dumps(self.values))

    def upgrade(self, *changes: str) -> list[str]:
        """The command; with `changes` as helm's --set has them."""
        words = [word for change in changes for word in ("--set", change)]
        return self.command("upgrade", NAME, str(CHART), "--reuse-values", "--wait", "--timeout=120s", *words)

    def uninstall(self) -> None:
        self("uninstall", NAME, "--wait", "--timeout=120s")

    @property
    def url(self) -> str:
        """The Service, by way of its node port."""
        [port] = json.loads(self._get("service", NAME))["spec"]["ports"]
        return f"http://{node_address(self.place)}:{port['nodePort']}"

    def pods(self) -> set[str]:
        """Those of the service."""
        return set(self._get("pods", "--selector=app.kubernetes.io/component=server", output="name").split())

    def _get(self, *what: str, output: str = "json") -> str:
        return self.place.kubectl("get", *what, f"--namespace={self.namespace}", f"--output={output}")

    def own_kubeconfig(self, account: str) -> str:
        """The cluster as its own pods reach it, with the token of an account in the release's namespace."""
        cluster = {**self.place.server, "server": "https://kubernetes.default.svc"}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "here", "cluster": cluster}],
                "users": [{"name": "here", "user": {"token": self.place.token(account, self.namespace)}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
            }
        )


def node_address(place: Place) -> str:
    """Where node ports are."""
    [node, *_] = json.loads(place.kubectl("get", "nodes", "--output=json"))["items"]
    return next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")


def namespaces(place: Place) -> set[str]:
    return {name.removeprefix("namespace/") for name in place.kubectl("get", "namespaces", "--output=name").split()}


def everything(place: Place) -> set[str]:
    """Every object of every kind in every namespace that can be listed, but for those of tests beside this one."""
    kinds = set(place.kubectl("api-resources", "--verbs=list", "--output=name").split()) - _LATER
    shown = '{range .items[*]}{.kind} {.metadata.namespace} {.metadata.name}{"\\n"}{end}'
    found = place.kubectl("get", ",".join(sorted(kinds)), "--all-namespaces", f"--output=jsonpath={shown}")
    return {line for line in found.splitlines() if not _is_of_others(line, place.namespace)}


def _is_of_others(line: str, ours: str) -> bool:
    """Whether kind, namespace and name say that tests of another worker have made it."""
    _, namespace, name = line.split(" ", 2)
    return (namespace or name).startswith(_OF_TESTS) and not (namespace or name).startswith(ours)


def exec_command(url: str, kubeconfig: Path, command: str) -> list[str]:
    """`k8s-mcp exec`."""
    options = [f"--url={url}", "--insecure-http", f"--kubeconfig={kubeconfig}"]
    return [sys.executable, "-m", "k8s_mcp", "exec", *options, "--", command]


def environment() -> dict[str, str]:
    """Ours, without anything that says which cluster or service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("K8S_MCP_", "KUBECONFIG"))}
