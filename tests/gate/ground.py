"""Where the tests of the gate happen: two namespaces that are alike, one for what goes straight to the API server and
one for what goes through the gate, and what the two answers have in common."""

import json
import os
import re
import subprocess
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testcluster import Cluster

IMAGE = "k8s-mcp-test/busybox:1"

_WEB = "mkdir /tmp/www && echo hello >/tmp/www/index.html && echo ready && exec httpd -f -p 8080 -h /tmp/www"

# What differs between two runs of one command whoever carries it out.
_CHANGING = (
    # kubectl and helm say so when the end of their watch is their own.
    (r'(?m)^[IWE]\d{4} .* (reflector\.go:.*|request\.go:.* err="context canceled")\n', ""),
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]* [-+]\d{4} \w+( m=\S+)?", "TIME"),
    (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4}", "TIME"),
    (r"\b\w{3} \w{3} {1,2}\d{1,2} \d\d:\d\d:\d\d \d{4}", "TIME"),
    (r'((?:resourceVersion|creationTimestamp)"?: *)"?[^",\n]*"?', r"\1X"),
    (r"\b10\.\d+\.\d+\.\d+\b", "IP"),
    (r"https?://127\.0\.0\.1:\d+(/k8s/clusters/c-1)?|https://IP:6443", "SERVER"),
    (r"127\.0\.0\.1:\d+", "SERVER"),
    (r"(?<![\w.-])(\d+[dhms])+(?![\w.-])", "AGE"),
    (r" {2,}|\t+", "  "),
)


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    stdout: str
    stderr: str
    exit_code: int


class Ground:
    """`direct` and `through` are the namespaces; `shared` is one that no command changes."""

    def __init__(self, cluster: Cluster, programs: Path, directory: Path, name: str) -> None:
        self.cluster = cluster
        self.directory = directory
        self.name = name
        self.direct, self.through, self.shared = f"{name}-a", f"{name}-b", f"{name}-c"
        self._path = f"{programs}:{os.environ['PATH']}"

    @contextmanager
    def made(self) -> Generator[None]:
        """The namespaces, until the end of the block."""
        names = [self.direct, self.through, self.shared]
        try:
            for name in names:
                self.kubectl("create", "namespace", name)
            yield
        finally:
            self.kubectl("delete", "namespace", *names, "--wait=false", "--ignore-not-found")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """The administrator's, straight to the API server; an AssertionError with its message when it fails."""
        argv = ["kubectl", *arguments]
        done = subprocess.run(
            argv,
            env=self.environment(self.cluster.kubeconfig, ""),
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def environment(self, kubeconfig: Path, namespace: str) -> dict[str, str]:
        """What a command sees. Each kubeconfig has caches of its own."""
        home = self.directory / f"home-{kubeconfig.parent.name}-{namespace}"
        home.mkdir(exist_ok=True)
        return {
            "PATH": self._path,
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "NS": namespace,
            "SHARED": self.shared,
            "IMAGE": IMAGE,
        }

    def run(self, script: str, kubeconfig: Path, namespace: str, seconds: float = 60) -> Answer:
        """Run a script in a directory of its own, with `k` for kubectl in the namespace."""
        text = f'k() {{ kubectl --namespace="$NS" "$@"; }}\nh() {{ helm --namespace="$NS" "$@"; }}\n{script}'
        environment = self.environment(kubeconfig, namespace)
        done = subprocess.run(
            ["bash", "-c", text],
            env=environment,
            cwd=environment["HOME"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        return Answer(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode)

    def alike(self, script: str, through: Path, straight: Path | None = None) -> tuple[Answer, Answer]:
        """What it answers in the namespace `direct` without the gate, and in `through` with it, made comparable."""
        with ThreadPoolExecutor(2) as both:
            plain = both.submit(self.run, script, straight or self.cluster.kubeconfig, self.direct)
            gated = both.submit(self.run, script, through, self.through)
            return self._comparable(plain.result()), self._comparable(gated.result())

    def _comparable(self, answer: Answer) -> Answer:
        return Answer(self._common(answer.stdout), self._common(answer.stderr), answer.exit_code)

    def _common(self, text: str) -> str:
        text = re.sub(rf"{self.name}-[ab]", "NS", text)
        for pattern, word in _CHANGING:
            text = re.sub(pattern, word, text)
        return text


def pod(name: str, script: str, **labels: str) -> str:
    """A pod that runs a shell script, and ends when told to."""
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    spec: dict[str, Any] = {
        "containers": [container],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
    }
    metadata = {"name": name, "labels": {"app": name, **labels}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@contextmanager
def ready_in_both(ground: Ground) -> Generator[None]:
    """The pod `web`, which the scripts ask for, in both namespaces, until the end of the block."""
    namespaces = [f"--namespace={name}" for name in (ground.direct, ground.through)]
    for where in namespaces:
        ground.kubectl("create", where, "--filename=-", stdin=pod("web", _WEB))
    for where in namespaces:
        ground.kubectl("wait", where, "--for=condition=Ready", "pod/web", "--timeout=60s")
    yield
    for where in namespaces:
        ground.kubectl("delete", where, "pods", "--all", "--now")  # helm's test leaves one, which others would see
