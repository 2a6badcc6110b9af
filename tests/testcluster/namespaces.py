"""The node's own network and mount namespace: what happens there leaves no trace on this machine.

The mount namespace is there because components write to fixed places whatever they are told (pod log links, shim
sockets, device plugins), and because the kubelet sets kernel parameters. In it those places are covered by empty
ones, and all volumes and image layers are mounted there and nowhere else. It goes, with all of that, when the last
process in it has ended.
"""

from pathlib import Path

from .commands import run
from .layout import DATA_DIR, run_dir

_FIXED_PLACES = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
_KERNEL_PARAMETERS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def network() -> Path:
    """The file that stands for the network namespace, for `nsenter --net=`."""
    return _directory() / "net"


def inside(*argv: str) -> list[str]:
    """The command that runs `argv` in the node's namespaces.

    Not `ip netns exec`: it mounts a new /sys, without the cgroups, and the kubelet then finds none.
    """
    return ["nsenter", f"--net={network()}", f"--mount={_mounts()}", "--", *argv]


def create() -> None:
    """Make both namespaces, and cover in them what is this machine's."""
    _directory().mkdir()
    # Namespaces are kept by mounting them, on a file system whose mounts do not spread into the namespaces kept.
    run("mount", "-t", "tmpfs", "-o", "mode=0700", "k8s-mcp-testcluster", _directory())
    run("mount", "--make-private", _directory())
    for file in (network(), _mounts()):
        file.touch()
    run("unshare", f"--net={network()}", f"--mount={_mounts()}", "--propagation=slave", "true")
    _cover_fixed_places()
    _cover_kernel_parameters()


def remove() -> None:
    """Let go of them. Call when every process in them has ended."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):  # a later one lies on or in an earlier one
        if point.is_relative_to(run_dir()) or point.is_relative_to(DATA_DIR):
            run("umount", point)
    if _made().exists():
        for directory in _made().read_text().splitlines():
            Path(directory).rmdir()
        _made().unlink()


def _cover_fixed_places() -> None:
    missing = [place for place in _FIXED_PLACES if not Path(place).exists()]
    _made().write_text("".join(f"{place}\n" for place in missing))
    for place in missing:
        Path(place).mkdir()
    for place in _FIXED_PLACES:
        run(*inside("mount", "-t", "tmpfs", "-o", "mode=0755", "k8s-mcp-testcluster", place))


def _cover_kernel_parameters() -> None:
    for name in _KERNEL_PARAMETERS:
        real = Path("/proc/sys", name)
        if real.exists():
            copy = _directory() / real.name
            copy.write_text(real.read_text())
            run(*inside("mount", "--bind", str(copy), str(real)))


def _directory() -> Path:
    return run_dir() / "namespaces"


def _mounts() -> Path:
    return _directory() / "mnt"


def _made() -> Path:
    """The list of directories that were made only to be covered."""
    return run_dir() / "made-directories"
