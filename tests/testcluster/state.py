"""What is running, as tests and later calls read it: one JSON file in the run directory."""

import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .commands import problem_of
from .errors import NotPossibleError
from .layout import run_dir


@dataclass(frozen=True)
class Cluster:
    """A cluster that tests can use.

    `kubeconfig` is its administrator's. `second_kubeconfig` is that of another API server with its own
    authority and data, which pods of the first can reach: a whole cluster with kind; with the built one an API
    server without nodes, whose pods stay pending. Only the built cluster has a `netns` (a file for
    `nsenter --net=`), and only its components can be stopped and started.
    """

    kind: Literal["given", "kind", "built"]
    kubeconfig: Path
    second_kubeconfig: Path | None
    kubectl: Path
    run_dir: Path
    netns: Path | None = None

    @property
    def can_restart(self) -> bool:
        return self.kind == "built"

    def problem(self) -> str | None:
        """None when the API servers answer, else what they say."""
        for kubeconfig in (self.kubeconfig, self.second_kubeconfig):
            if kubeconfig is None:
                continue
            ask = (self.kubectl, f"--kubeconfig={kubeconfig}", "--request-timeout=5s", "get", "--raw=/readyz")
            if problem := problem_of(*ask):
                return problem
        return None


def read() -> Cluster | None:
    """The given cluster, or else the one that was started and not yet removed; it may have died since."""
    given = _path(os.environ.get("K8S_MCP_TEST_KUBECONFIG"))
    if given:
        second = _path(os.environ.get("K8S_MCP_TEST_SECOND_KUBECONFIG"))
        return Cluster("given", given, second, kubectl(), run_dir())
    if not _file().exists():
        return None
    fields = json.loads(_file().read_text())
    return Cluster(
        kind=fields["kind"],
        kubeconfig=Path(fields["kubeconfig"]),
        second_kubeconfig=_path(fields["second_kubeconfig"]),
        kubectl=Path(fields["kubectl"]),
        run_dir=Path(fields["run_dir"]),
        netns=_path(fields["netns"]),
    )


def write(cluster: Cluster) -> None:
    """Keep it for `read`; whole or not at all."""
    new = _file().with_suffix(".new")
    new.write_text(json.dumps(dataclasses.asdict(cluster), indent=2, default=str) + "\n")
    new.rename(_file())


def kubectl() -> Path:
    """Find kubectl on PATH, for clusters that do not bring their own."""
    found = shutil.which("kubectl")
    if found is None:
        raise NotPossibleError("kubectl is not installed")
    return Path(found)


def _path(text: str | None) -> Path | None:
    return Path(text).absolute() if text else None


def _file() -> Path:
    return run_dir() / "cluster.json"
