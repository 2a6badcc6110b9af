"""Certificates of the two clusters, and the kubeconfigs made of them."""

import base64
from pathlib import Path

from .commands import run
from .layout import NODE, Layout


def write(layout: Layout) -> None:
    """Make both clusters' keys and certificates anew, and the administrators' kubeconfigs."""
    addresses = layout.addresses
    # A proxy on this machine's loopback may stand between a test and the API server, so those names are its own, too.
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    names += ["localhost", "127.0.0.1", addresses.host]
    pki = layout.node_binaries / "pki"
    run(pki, layout.pki, NODE, ",".join([*names, addresses.node, addresses.kubernetes]), NODE)
    second = f"{NODE}-second"
    run(pki, layout.second_pki, second, ",".join([*names, addresses.second, addresses.second_kubernetes]), "")
    write_kubeconfig(layout.kubeconfig, layout.server, layout.pki, "admin", NODE)
    write_kubeconfig(layout.second_kubeconfig, layout.second_server, layout.second_pki, "admin", second)
    for client in ("controller-manager", "scheduler", "proxy", "dns", "kubelet"):
        write_kubeconfig(layout.pki / f"{client}.kubeconfig", layout.server, layout.pki, client, NODE)
    second_client = layout.second_pki / "controller-manager.kubeconfig"
    write_kubeconfig(second_client, layout.second_server, layout.second_pki, "controller-manager", second)


def write_kubeconfig(file: Path, server: str, pki: Path, client: str, context: str) -> None:
    """A kubeconfig that needs no other file, readable by its owner only."""

    def data(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    text = f"""\
apiVersion: v1
kind: Config
current-context: {context}
clusters:
- name: {context}
  cluster:
    server: {server}
    certificate-authority-data: {data("ca.crt")}
users:
- name: {context}-{client}
  user:
    client-certificate-data: {data(f"{client}.crt")}
    client-key-data: {data(f"{client}.key")}
contexts:
- name: {context}
  context:
    cluster: {context}
    user: {context}-{client}
"""
    file.touch(mode=0o600)
    file.write_text(text)
