"""A gateway before the API server of the test cluster: gate/testdata/gateway, compiled when it is first needed."""

import base64
import json
import os
import ssl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import yaml

from tests.support.left_out import leave_out
from tests.testcluster import Cluster

_MODULE = Path(__file__).parents[2] / "gate"


@dataclass(frozen=True)
class Gateway:
    """`kubeconfig` is a file for whoever goes through it, `content` the same as text."""

    server: str
    authority: str
    kubeconfig: Path
    content: str

    def seen(self) -> dict[str, int]:
        """How many requests came by each protocol."""
        parts = urlsplit(self.server)
        context = ssl.create_default_context(cadata=self.authority)
        with urlopen(f"https://{parts.netloc}/seen", context=context, timeout=30) as answer:
            return json.load(answer)


def compiled(directory: Path) -> Path:
    """The program."""
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}
    program = directory / "gateway"
    argv = ["nice", "-n", "10", "go", "build", "-o", program, "./testdata/gateway"]
    try:
        done = subprocess.run(argv, cwd=_MODULE, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        leave_out("Go is not installed; it compiles the gateway")
    assert done.returncode == 0, done.stderr
    return program


@contextmanager
def running(program: Path, cluster: Cluster, directory: Path, protocol: str) -> Generator[Gateway]:
    """It speaks `protocol`, h2 or http/1.1, until the end of the block."""
    given = yaml.safe_load(cluster.kubeconfig.read_text())
    there, user = given["clusters"][0]["cluster"], given["users"][0]["user"]
    files = {
        "authority": there["certificate-authority-data"],
        "certificate": user["client-certificate-data"],
        "key": user["client-key-data"],
    }
    for name, content in files.items():
        (directory / name).write_bytes(base64.b64decode(content))
    argv = [program, there["server"], *(directory / name for name in files), protocol]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        content = _kubeconfig(given["current-context"], **said)
        (directory / "kubeconfig").write_text(content)
        yield Gateway(said["server"], said["authority"], directory / "kubeconfig", content)
        process.stdin.close()


def _kubeconfig(name: str, server: str, authority: str, token: str) -> str:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": "somebody", "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "somebody"}}],
        }
    )
