"""The test cluster: the image in its nodes, and the namespace that runner pods live in."""

import json
import string
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import testcluster

from .commands import output, say
from .errors import BuildError
from .image import Image

# Annotation of a node: the ID of the image that was loaded. Followed by the image's name.
_LOADED = "k8s-mcp-server/image-"


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster; called with arguments, it returns what kubectl prints."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return output(self.program, f"--kubeconfig={self.kubeconfig}", *arguments, stdin=stdin)


def running(program: Path) -> Kubectl:
    """The test cluster, started if it is not running; testcluster.NotPossibleError where there can be none."""
    return Kubectl(program, testcluster.ensure().kubeconfig)


def load(kubectl: Kubectl, image: Image, archive: Path) -> None:
    """Load the image into the nodes, unless they have it."""
    annotation, identity = f"{_LOADED}{image.name}", _id(archive)
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    if all(_has(node, image.tag, annotation, identity) for node in nodes):
        say(f"{image.tag} is loaded")
        return
    testcluster.load_image(archive)
    kubectl("annotate", "nodes", "--all", "--overwrite", f"{annotation}={identity}")


def prepare(kubectl: Kubectl, repository: Path, namespace: str, ports: list[int]) -> None:
    """Create the runner namespace, or bring it up to date."""
    template = string.Template((repository / "images/runner/namespace.yaml").read_text())
    api_servers = json.dumps([{"protocol": "TCP", "port": port} for port in ports])
    manifests = template.substitute(NAMESPACE=namespace, API_SERVER_PORTS=api_servers)
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=manifests)
    say(f"the namespace {namespace} is ready")


def _id(archive: Path) -> str:
    """The image's ID, which is the digest of its configuration."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        if manifest is None:
            raise BuildError(f"{archive} is not a docker-archive: its manifest.json is not a file")
        return Path(json.load(manifest)[0]["Config"]).stem


def _has(node: dict[str, Any], tag: str, annotation: str, identity: str) -> bool:
    """The annotation says which build was loaded, the node's own list that it has not been removed since."""
    names: list[str] = [name for known in node["status"].get("images", []) for name in known.get("names") or ()]
    loaded = node["metadata"].get("annotations", {}).get(annotation)
    return loaded == identity and any(name.endswith(tag) for name in names)
