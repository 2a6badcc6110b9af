"""The cluster's own cgroups, on version 1, version 2 and the hybrid of both.

Every process the cluster starts, and every process those start, is in them. So all of it can be ended for
certain, without looking for names: nothing else can be inside.
"""

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .commands import wait_for
from .errors import NotPossibleError
from .layout import NAME


@dataclass(frozen=True)
class Hierarchy:
    """One tree of cgroups: version 2 has one for everything, version 1 one for each controller."""

    mount: Path
    unified: bool

    @property
    def ours(self) -> Path:
        return self.mount / NAME


def create() -> None:
    """Make the cluster's cgroup in every hierarchy; the kubelet wants to find its root in all of them."""
    for hierarchy in _hierarchies():
        hierarchy.ours.mkdir(exist_ok=True)
        if hierarchy.unified:
            _hand_controllers_on(hierarchy)
    components_file().parent.mkdir(exist_ok=True)


def components_file() -> Path:
    """The file into which a component writes 0 to join.

    One hierarchy is enough to keep track of the components and what they start; the kubelet puts pods beside
    them. The unified one is preferred, where it exists: it can end a whole cgroup at once.
    """
    hierarchies = _hierarchies()
    tracking = next((one for one in hierarchies if one.unified), hierarchies[0])
    return tracking.ours / "components" / "cgroup.procs"


def remove() -> None:
    """End every process of the cluster and remove its cgroups."""
    existing = [hierarchy.ours for hierarchy in _hierarchies() if hierarchy.ours.exists()]
    for ours in existing:
        wait_for(f"the end of all processes in {ours}", partial(_kill, ours), 30)
    for ours in existing:
        for directory in _bottom_up(ours):
            wait_for(f"removal of {directory}", partial(_rmdir, directory), 10)


def _hierarchies() -> list[Hierarchy]:
    found: dict[str, Hierarchy] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        _, _, device, _, point, *_ = mount.split()
        kind = filesystem.split()[0]
        if kind in ("cgroup", "cgroup2") and os.access(point, os.W_OK):
            found.setdefault(device, Hierarchy(Path(point), kind == "cgroup2"))
    if not found:
        raise NotPossibleError("no writable cgroup file system is mounted on this machine")
    return list(found.values())


def _hand_controllers_on(hierarchy: Hierarchy) -> None:
    for directory in (hierarchy.mount, hierarchy.ours):
        available = (directory / "cgroup.controllers").read_text().split()
        try:
            (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in available))
        except OSError as error:
            # So it is in a container whose root cgroup has processes of its own: no child gets a controller.
            raise NotPossibleError(f"cannot hand cgroup controllers on from {directory}: {error}") from error


def _kill(directory: Path) -> str | None:
    at_once = directory / "cgroup.kill"
    if at_once.exists():
        at_once.write_text("1")
    alive = [pid for one in _bottom_up(directory) for pid in _processes(one)]
    if not at_once.exists():
        for pid in alive:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself since the list was read
    return f"{len(alive)} still there" if alive else None


def _processes(cgroup: Path) -> list[str]:
    """Their numbers; none when somebody has just removed it: a container's, when the container ends."""
    try:
        return (cgroup / "cgroup.procs").read_text().split()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return []


def _rmdir(directory: Path) -> str | None:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error)  # the kernel keeps it busy until the last process is reaped
    return None


def _bottom_up(top: Path) -> Iterator[Path]:
    for directory, _, _ in os.walk(top, topdown=False):
        yield Path(directory)
