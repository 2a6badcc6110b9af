"""The cluster that is built here: one node, two control planes, each component a process of this machine."""

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path

from . import addons, binaries, cgroups, components, configs, credentials, images, namespaces, network, packages
from .commands import problem_of, run, say, wait_for
from .components import Component
from .errors import ClusterError, NotPossibleError
from .layout import DATA_DIR, NODE, Addresses, Layout, run_dir
from .state import Cluster


def up() -> Cluster:
    """Start it from nothing; what an earlier one left is removed first."""
    if os.geteuid() != 0:
        raise NotPossibleError("it takes root, to start a node here, or kind with a Docker that works")
    packages.ensure()
    layout = Layout(run_dir(), DATA_DIR, binaries.node(), binaries.dns(), Addresses.from_environment())
    down()
    _prepare(layout)
    _start(layout)
    _wait_until_usable(layout)
    return Cluster(
        kind="built",
        kubeconfig=layout.kubeconfig,
        second_kubeconfig=layout.second_kubeconfig,
        kubectl=layout.kubectl,
        run_dir=layout.run,
        netns=namespaces.network(),
    )


def down() -> None:
    """Remove everything an `up` made, also one that was cut short or that died with the machine."""
    if os.geteuid() != 0:
        return  # then there was none
    cgroups.remove()
    network.down()
    namespaces.remove()
    for directory in (run_dir(), DATA_DIR):
        if directory.exists():
            shutil.rmtree(directory)


def alive() -> bool:
    """Whether all its components run, and run what would be built now."""
    layout = _layout()
    current = layout.node_binaries == binaries.node() and layout.dns_binaries == binaries.dns()
    return current and all(one.pid is not None for one in components.all_of(layout).values())


def all_components() -> list[Component]:
    """The components of the running cluster."""
    return list(components.all_of(_layout()).values())


def component(name: str) -> Component:
    """Find one by its name; ClusterError, with the names there are, for another."""
    every = components.all_of(_layout())
    if name not in every:
        raise ClusterError(f"no component {name!r}; there are {', '.join(every)}")
    return every[name]


def load_image(file: Path) -> None:
    """Load an archive into the node."""
    _load_image(_layout(), file)


def _prepare(layout: Layout) -> None:
    network.check_free(layout.addresses)
    layout.run.mkdir(mode=0o700)
    layout.data.mkdir(mode=0o700)
    for directory in (layout.logs, layout.config, layout.pids):
        directory.mkdir()
    _layout_file().write_text(json.dumps(dataclasses.asdict(layout), indent=2, default=str) + "\n")
    _make_room(layout)
    credentials.write(layout)
    configs.write(layout, packages.cni_plugins())


def _make_room(layout: Layout) -> None:
    try:
        cgroups.create()
        namespaces.create()
        network.up(layout.addresses)
    except (ClusterError, OSError) as error:
        down()
        # Root in an ordinary container, for example, may do none of this.
        raise NotPossibleError(f"root may not make cgroups, namespaces or links here: {error}") from error


def _start(layout: Layout) -> None:
    """All that needs nothing starts together; what would give up without an API server waits for it."""
    every = components.all_of(layout)
    say("starting " + " ".join(every))
    for name in ("etcd", "etcd-second", "containerd", "kubelet"):
        every[name].start()
    for name in ("etcd", "etcd-second"):
        every[name].wait()
    for name in ("apiserver", "apiserver-second"):
        every[name].start()
    every["containerd"].wait()
    _load_own_images(layout)
    for name in ("apiserver", "apiserver-second"):
        every[name].wait()
    addons.apply(layout)
    for one in every.values():
        one.start()
    for one in every.values():
        one.wait()


def _load_own_images(layout: Layout) -> None:
    pause = images.single_program(configs.PAUSE_IMAGE, layout.node_binaries / "pause")
    for archive in (pause, images.busybox(packages.static_busybox())):
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(archive)
            file.flush()
            _load_image(layout, Path(file.name))


def _load_image(layout: Layout, file: Path) -> None:
    images.load(["ctr", f"--address={layout.containerd_socket}", "--namespace=k8s.io"], file)


def _wait_until_usable(layout: Layout) -> None:
    first = (layout.kubectl, f"--kubeconfig={layout.kubeconfig}", f"--cache-dir={layout.kubectl_cache}")
    second = (*first, f"--kubeconfig={layout.second_kubeconfig}")
    account = ("get", "--namespace=default", "serviceaccount/default")
    wait_for("the default ServiceAccount", lambda: problem_of(*first, *account))
    wait_for("the second cluster's default ServiceAccount", lambda: problem_of(*second, *account))
    run(*first, "wait", f"node/{NODE}", "--for=condition=Ready", "--timeout=60s")
    lookup = ("busybox", "nslookup", "kubernetes.default.svc.cluster.local", layout.addresses.dns)
    wait_for("DNS", lambda: problem_of(*namespaces.inside(*lookup)), log=layout.logs / "dns.log")


def _layout() -> Layout:
    """The layout that the running cluster was started with."""
    if not _layout_file().exists():
        raise ClusterError("only a built cluster has components here, and none is running")
    fields = json.loads(_layout_file().read_text())
    addresses = Addresses(**fields.pop("addresses"))
    return Layout(**{name: Path(value) for name, value in fields.items()}, addresses=addresses)


def _layout_file() -> Path:
    return run_dir() / "layout.json"
