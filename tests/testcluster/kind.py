"""Two kind clusters, where a Docker engine works and can pull kind's node image."""

import json
import shutil

from . import state
from .commands import problem_of, run, say
from .images import BUSYBOX_IMAGE
from .layout import NODE, run_dir
from .state import Cluster

_CLUSTERS = {NODE: "kubeconfig", f"{NODE}-second": "kubeconfig-second"}


def problem() -> str | None:
    """None where kind can be tried, else what is missing."""
    for program in ("kind", "docker", "kubectl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return problem_of("docker", "info")


def up() -> Cluster:
    """Create both clusters; ClusterError, with nothing left behind, when that fails."""
    down()
    run_dir().mkdir(mode=0o700, parents=True)
    try:
        for name in _CLUSTERS:
            say(f"kind: creating {name}")
            run(
                "kind",
                "create",
                "cluster",
                f"--name={name}",
                f"--kubeconfig={run_dir() / 'discarded'}",
                "--wait=120s",
            )
            _write_kubeconfig(name)
        _load_busybox()
    except BaseException:
        down()
        raise
    first, second = (run_dir() / file for file in _CLUSTERS.values())
    cluster = Cluster("kind", first, second, state.kubectl(), run_dir())
    state.write(cluster)
    return cluster


def down() -> None:
    """Delete both clusters and what belongs to them."""
    if problem() is None:
        existing = run("kind", "get", "clusters").split()
        for name in _CLUSTERS:
            if name in existing:
                run("kind", "delete", "cluster", f"--name={name}", f"--kubeconfig={run_dir() / 'discarded'}")
    if run_dir().exists():
        shutil.rmtree(run_dir())


def load_image(file: str) -> None:
    """Load an archive into the first cluster's node."""
    run("kind", "load", "image-archive", file, f"--name={NODE}")


def _write_kubeconfig(name: str) -> None:
    """With the node's own address: kind's default is this machine's loopback, which means another place in a pod."""
    kubeconfig = run_dir() / _CLUSTERS[name]
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(run("kind", "get", "kubeconfig", f"--name={name}"))
    (node,) = json.loads(run("docker", "inspect", f"{name}-control-plane"))
    address = node["NetworkSettings"]["Networks"]["kind"]["IPAddress"]
    server = f"--server=https://{address}:6443"
    run("kubectl", f"--kubeconfig={kubeconfig}", "config", "set-cluster", f"kind-{name}", server)


def _load_busybox() -> None:
    run("docker", "pull", "--quiet", "docker.io/library/busybox:stable")
    run("docker", "tag", "docker.io/library/busybox:stable", BUSYBOX_IMAGE)
    run("kind", "load", "docker-image", BUSYBOX_IMAGE, f"--name={NODE}")
