"""The components of both clusters: how each is started, and how it tells that it is ready."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, health, processes
from .commands import end_of, problem_of, wait_for
from .errors import ClusterError
from .layout import NODE, Layout
from .namespaces import inside


@dataclass(frozen=True)
class Component:
    """`ready` is a URL that answers 200, or a command that succeeds, once the component can be used."""

    name: str
    argv: list[str]
    ready: str | list[str]
    pid_file: Path
    log: Path

    def start(self) -> None:
        if self.pid is None:
            processes.start(inside(*self.argv), self.pid_file, self.log, cgroups.components_file())

    def wait(self) -> None:
        """Return when it is ready; ClusterError when it ended instead, or takes too long."""

        def problem() -> str | None:
            if self.pid is None:
                raise ClusterError(f"{self.name} ended by itself{end_of(self.log)}")
            return self.problem()

        wait_for(self.name, problem, log=self.log)

    def problem(self) -> str | None:
        """None when ready, else why not."""
        if self.pid is None:
            return "does not run"
        return health.problem_at(self.ready) if isinstance(self.ready, str) else problem_of(*self.ready)

    @property
    def pid(self) -> int | None:
        return processes.pid_of(self.pid_file)


def all_of(layout: Layout) -> dict[str, Component]:
    """Every component by name, in the order in which they are started."""
    addresses = layout.addresses
    first = _control_plane(layout, "", addresses.node, addresses.services, layout.pki)
    second = _control_plane(layout, "-second", addresses.second, addresses.second_services, layout.second_pki)
    return {component.name: component for component in (*first, *second, *_node(layout))}


def _control_plane(layout: Layout, suffix: str, address: str, services: str, pki: Path) -> Iterator[Component]:
    peer, client = (2380, 2379) if not suffix else (2480, 2479)
    health_url = f"http://{address}:2381"
    etcd = [
        "etcd", f"--data-dir={layout.data}/etcd{suffix}", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}", f"--listen-metrics-urls={health_url}",
    ]  # fmt: skip
    yield _component(layout, f"etcd{suffix}", etcd, f"{health_url}/health")

    issuer = "https://kubernetes.default.svc.cluster.local"
    apiserver = [
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--bind-address={address}", f"--advertise-address={address}", "--secure-port=6443",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt", f"--service-cluster-ip-range={services}",
        f"--service-account-issuer={issuer}", f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        # Else it waits for as long as its clients keep their watches open, up to a minute.
        "--shutdown-watch-termination-grace-period=1s",
        # etcd 3.4.23 cannot do it, so every watch from "0" that takes bookmarks would end with an error.
        "--feature-gates=WatchList=false",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key", "--kubelet-preferred-address-types=InternalIP",
    ]  # fmt: skip
    yield _kubernetes(layout, "apiserver", suffix, apiserver, f"https://{address}:6443/readyz")

    controllers = [
        f"--kubeconfig={pki}/controller-manager.kubeconfig", "--leader-elect=false", f"--bind-address={address}",
        "--use-service-account-credentials=true", f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--flex-volume-plugin-dir={layout.data}/volume-plugins",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
    ]  # fmt: skip
    yield _kubernetes(layout, "controller-manager", suffix, controllers, f"https://{address}:10257/healthz")


def _node(layout: Layout) -> Iterator[Component]:
    address = layout.addresses.node
    config = layout.config
    scheduler = [
        f"--kubeconfig={layout.pki}/scheduler.kubeconfig",
        "--leader-elect=false",
        f"--bind-address={address}",
    ]
    yield _kubernetes(layout, "scheduler", "", scheduler, f"https://{address}:10259/readyz")

    containerd = ["containerd", f"--config={config}/containerd.toml", "--log-level=warn"]
    yield _component(layout, "containerd", containerd, ["ctr", f"--address={layout.containerd_socket}", "version"])

    kubelet = [
        str(layout.node_binaries / "node"), "kubelet",
        f"--config={config}/kubelet.json", f"--kubeconfig={layout.pki}/kubelet.kubeconfig",
        f"--root-dir={layout.data}/kubelet", f"--cert-dir={layout.pki}/kubelet-serving",
        f"--node-ip={address}", f"--hostname-override={NODE}",
    ]  # fmt: skip
    yield _component(layout, "kubelet", kubelet, f"http://{address}:10248/healthz")

    yield _kubernetes(layout, "proxy", "", [f"--config={config}/proxy.json"], f"http://{address}:10256/healthz")
    dns = [str(layout.dns_binaries / "dns"), "-conf", f"{config}/Corefile"]
    yield _component(layout, "dns", dns, f"http://{address}:8181/ready")


def _kubernetes(layout: Layout, name: str, suffix: str, flags: list[str], ready: str) -> Component:
    argv = [str(layout.node_binaries / "node"), f"kube-{name}", *flags]
    return _component(layout, f"{name}{suffix}", argv, ready)


def _component(layout: Layout, name: str, argv: list[str], ready: str | list[str]) -> Component:
    return Component(name, argv, ready, layout.pids / f"{name}.json", layout.logs / f"{name}.log")
