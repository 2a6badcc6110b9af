"""The configuration file of each component that has one, as functions of the layout. JSON is YAML, so JSON it is."""

import json
from pathlib import Path
from typing import Any

from .layout import NAME, NODE, Layout

PAUSE_IMAGE = "docker.io/k8s-mcp-test/pause:1"
POD_PIDS = 1024
"""Most processes of a pod: what docs/security.md tells operators to set, so that a fork bomb stays small."""


def write(layout: Layout, cni_plugins: Path) -> None:
    """Write all of them into the layout's config directory."""
    cni = layout.config / "cni"
    cni.mkdir(parents=True)
    (cni / "10-bridge.conflist").write_text(json.dumps(_cni(layout), indent=2))
    (layout.config / "containerd.toml").write_text(_containerd(layout, cni, cni_plugins))
    (layout.config / "kubelet.json").write_text(json.dumps(_kubelet(layout), indent=2))
    (layout.config / "proxy.json").write_text(json.dumps(_proxy(layout), indent=2))
    (layout.config / "Corefile").write_text(_corefile(layout))
    # Not this machine's own, whose name servers pods cannot reach.
    (layout.config / "resolv.conf").write_text(f"nameserver {layout.addresses.dns}\n")


def _cni(layout: Layout) -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.addresses.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.data / "cni"),
    }
    # Hairpin: a pod may be the backend of the Service it calls.
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": NAME, "plugins": [bridge]}


def _containerd(layout: Layout, cni: Path, cni_plugins: Path) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE no process may be given a better score than its parent has.
    # netns_mounts_under_state_dir: so that pods' namespaces are not among those of the machine.
    # opt: else it makes /opt/containerd.
    return f"""\
version = 2
root = "{layout.data}/containerd"
state = "{layout.run}/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.nri.v1.nri"]

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.data}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def _kubelet(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.addresses.node,
        "healthzBindAddress": layout.addresses.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "clusterDNS": [layout.addresses.dns],
        "clusterDomain": "cluster.local",
        "resolvConf": str(layout.config / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(layout.data / "pod-logs"),
        "volumePluginDir": str(layout.data / "volume-plugins"),
        "maxPods": 200,
        "podPidsLimit": POD_PIDS,
        # The machine's disk may be nearly full with other things; that is no reason to refuse pods.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        # Images come from files and cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.pki / "proxy.kubeconfig")},
        "mode": "iptables",
        "bindAddress": layout.addresses.node,
        "healthzBindAddress": f"{layout.addresses.node}:10256",
        "metricsBindAddress": f"{layout.addresses.node}:10249",
        "hostnameOverride": NODE,
        "clusterCIDR": layout.addresses.pods,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0},  # this limit is the whole machine's, not the namespace's
    }


def _corefile(layout: Layout) -> str:
    address = layout.addresses.node
    return f"""\
cluster.local in-addr.arpa {{
    bind {address}
    errors
    ready {address}:8181
    kubernetes {{
        kubeconfig {layout.pki / "dns.kubeconfig"}
    }}
    cache 5
}}
. {{
    bind {address}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
