"""Where the tests on a real cluster happen: namespaces of their own, and an account with the service's Role."""

import json
import subprocess
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import yaml
from anyio.to_thread import run_sync

from k8s_mcp.cluster import podstate
from tests.e2e.asked_often import asked_often
from tests.support.service import wait_for
from tests.testcluster import Cluster

Json = dict[str, Any]

IMAGE = "k8s-mcp-test/busybox:1"
_OURS = "app.kubernetes.io/managed-by=k8s-mcp-server"
ANY_RUN = "k8s-mcp-server/run"
"""Selects what belongs to runs, and not what waits warm."""
OF_KEYS = "k8s-mcp-server/key-of"
"""Selects the Jobs that stand for idempotency keys whose runs are in warm pods."""
_ACCOUNT = "k8s-mcp-server"  # images/runner/namespace.yaml gives it the Role


class Place:
    """`namespace` is for runner pods; `target` is for what commands make. The administrator's kubectl sees both."""

    def __init__(self, cluster: Cluster, namespace: str, directory: Path, stack: ExitStack) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.target = f"{namespace}-target"
        self.directory = directory
        self.admin: Json = yaml.safe_load(cluster.kubeconfig.read_text())
        self._asked = stack.enter_context(asked_often(self._command(())))

    @property
    def server(self) -> Json:
        """The API server as the kubeconfig's cluster entry has it."""
        return self.admin["clusters"][0]["cluster"]

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints; an AssertionError with its message when it fails."""
        done = subprocess.run(self._command(arguments), input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    async def akubectl(self, *arguments: str, stdin: str = "") -> str:
        """The same without holding up the event loop, and so the streams that are being read."""
        done = await anyio.run_process(self._command(arguments), input=stdin.encode(), check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def _command(self, arguments: Sequence[str]) -> list[str]:
        cache = self.directory / "kubectl-cache"
        options = (f"--kubeconfig={self.cluster.kubeconfig}", f"--cache-dir={cache}", "--request-timeout=30s")
        return [str(self.cluster.kubectl), *options, *arguments]

    async def items(self, kinds: str, selector: str, namespace: str | None = None) -> list[Json]:
        """The objects of these kinds in the namespace of runner pods, or in another."""
        where = namespace or self.namespace
        return [
            item for kind in kinds.split(",") for item in await run_sync(self._asked.items, kind, selector, where)
        ]

    async def one(self, kind: str, run_id: str) -> Json:
        """The run's Job, pod or Secret."""
        found = await self.items(kind, f"{ANY_RUN}={run_id}")
        assert len(found) == 1, found
        return found[0]

    async def has_pod(self, run_id: str) -> bool:
        """Whether the run has one now."""
        return bool(await self.items("pods", f"{ANY_RUN}={run_id}"))

    async def has_started(self, run_id: str) -> bool:
        """Whether the command has, or had, in a pod that is there."""
        pods = await self.items("pods", f"{ANY_RUN}={run_id}")
        return any(podstate.has_started(pod) for pod in pods)

    async def has_ended(self, run_id: str) -> bool:
        """The command, by itself: raises AssertionError when somebody has removed the pod."""
        return podstate.terminated(await self.one("pods", run_id)) is not None

    async def nothing_left(self, run_id: str = "", seconds: float = 0, selector: str = _OURS) -> None:
        """Wait until the run, or without an id the service, has no Job, pod or Secret any more; or with a selector
        what that selects, as ANY_RUN.

        A run whose client left before its end is kept for that client for the resume window, 30 s: runs of an
        earlier test can be such.
        """
        seconds = seconds or (30 if run_id else 60)  # a kubelet with 70 pods takes its time
        selectors = [f"{ANY_RUN}={run_id}", f"{OF_KEYS}={run_id}"] if run_id else [selector]
        left: list[str] = []
        with anyio.move_on_after(seconds):
            while selectors:
                left = [
                    f"{kind}/{item['metadata']['name']}"
                    for kind in ("jobs", "pods", "secrets")
                    for item in await self.items(kind, selectors[0])
                ]
                if left:
                    await anyio.sleep(0.1)
                else:
                    del selectors[0]
            return
        raise AssertionError(f"left after {seconds} s: {left}")

    def clear(self) -> None:
        """Delete all that services have there, and see it go."""
        self.kubectl("delete", "jobs,pods,secrets,leases", f"--namespace={self.namespace}", f"--selector={_OURS}")

    async def times_run(self, label: str) -> int:
        """How often the command `counted(label)` ran."""
        return len(await self.items("configmaps", f"counted={label}", self.target))

    def counted(self, label: str) -> str:
        """A command that leaves one more object in the target namespace each time it runs."""
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"generateName": "ran-", "namespace": self.target, "labels": {"counted": label}},
        }
        return f"kubectl create --filename=- >/dev/null <<<'{json.dumps(config_map)}'"

    def token(self, account: str = _ACCOUNT, namespace: str | None = None) -> str:
        where = f"--namespace={namespace or self.namespace}"
        return self.kubectl("create", "token", account, where, "--duration=24h").strip()

    def kubeconfig(self, name: str = "service", cluster: Json | None = None, token: str = "") -> Path:
        """The service's own, with nothing but the Role; or with another token, and other fields in `cluster`."""
        file = self.directory / name
        entry = {key: value for key, value in {**self.server, **(cluster or {})}.items() if value is not None}
        file.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "it",
                    "clusters": [{"name": "it", "cluster": entry}],
                    "users": [{"name": "it", "user": {"token": token or self.token()}}],
                    "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                }
            )
        )
        return file

    def proxied_kubeconfig(self, url: str) -> Path:
        """The same by way of a proxy that speaks plain HTTP."""
        return self.kubeconfig("proxied", {"server": url, "certificate-authority-data": None})


@contextmanager
def created(cluster: Cluster, namespace: str, directory: Path) -> Generator[Place]:
    """Both namespaces, for as long as the context lasts; the first one was made by images/build."""
    with ExitStack() as stack:
        place = Place(cluster, namespace, directory, stack)
        both = (place.namespace, place.target)
        stack.callback(place.kubectl, "delete", "namespace", *both, "--wait=false", "--ignore-not-found")
        place.kubectl("create", "namespace", place.target)
        for name in both:
            account = ("get", "serviceaccount/default", f"--namespace={name}", "--ignore-not-found", "--output=name")
            wait_for(lambda account=account: place.kubectl(*account), what=f"the default account of {name}")
        yield place
