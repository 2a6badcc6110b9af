"""Two kind clusters, where a Docker engine works and can pull kind's node image."""

import json
import shutil
from pathlib import Path

from . import state
from .commands import problem_of, run, say
from .configs import POD_PIDS
from .images import BUSYBOX_IMAGE
from .layout import NODE, run_dir
from .state import Cluster

_SECOND = f"{NODE}-second"
_UPSTREAM_BUSYBOX = "docker.io/library/busybox:stable"


def problem() -> str | None:
    """None where kind can be tried, else what is missing."""
    for program in ("kind", "docker", "kubectl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return problem_of("docker", "info")


def up() -> Cluster:
    """Create both clusters; ClusterError, with nothing left behind, when that fails."""
    _delete()
    run_dir().mkdir(mode=0o700, exist_ok=True)
    try:
        first, second = _create(NODE), _create(_SECOND)
        run("docker", "pull", "--quiet", _UPSTREAM_BUSYBOX)
        run("docker", "tag", _UPSTREAM_BUSYBOX, BUSYBOX_IMAGE)
        run("kind", "load", "docker-image", BUSYBOX_IMAGE, f"--name={NODE}")
    except BaseException:
        _delete()
        shutil.rmtree(run_dir())
        raise
    return Cluster("kind", first, second, state.kubectl(), run_dir())


def down() -> None:
    """Delete both clusters and what belongs to them, where there are any."""
    if problem() is None and _delete() and run_dir().exists():
        shutil.rmtree(run_dir())


def load_image(file: Path) -> None:
    """Load an archive into the first cluster's node."""
    run("kind", "load", "image-archive", file, f"--name={NODE}")


def _create(name: str) -> Path:
    """Create a cluster and return its kubeconfig.

    The server in it is the node's own address. kind's default is this machine's loopback, which means another
    place in a pod.
    """
    say(f"kind: creating {name}")
    config = run_dir() / "kind.json"
    config.write_text(json.dumps(_configuration()))
    call = ("kind", "create", "cluster", f"--config={config}", f"--name={name}")
    run(*call, f"--kubeconfig={_discarded()}", "--wait=120s")
    kubeconfig = run_dir() / f"kubeconfig-{name}"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(run("kind", "get", "kubeconfig", f"--name={name}"))
    (node,) = json.loads(run("docker", "inspect", f"{name}-control-plane"))
    server = f"--server=https://{node['NetworkSettings']['Networks']['kind']['IPAddress']}:6443"
    run("kubectl", f"--kubeconfig={kubeconfig}", "config", "set-cluster", f"kind-{name}", server)
    return kubeconfig


def _configuration() -> dict[str, object]:
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "podPidsLimit": POD_PIDS,
    }
    return {
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "kind": "Cluster",
        "kubeadmConfigPatches": [json.dumps(kubelet)],
    }


def _delete() -> bool:
    """Delete those of the clusters that exist; whether there were any."""
    existing = {NODE, _SECOND} & set(run("kind", "get", "clusters").split())
    for name in existing:
        run("kind", "delete", "cluster", f"--name={name}", f"--kubeconfig={_discarded()}")
    return bool(existing)


def _discarded() -> Path:
    """The kubeconfig that kind would else add to the user's own."""
    return run_dir() / "discarded-kubeconfig"
