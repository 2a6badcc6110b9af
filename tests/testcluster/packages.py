"""The programs a node needs that are not built here: from the distribution's packages."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .commands import run, say
from .errors import ClusterError, NotPossibleError

# Program → Debian package.
_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "etcd": "etcd-server",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
}
_CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_POLICY = Path("/usr/sbin/policy-rc.d")


def ensure() -> None:
    """Install what is missing; NotPossibleError, naming the packages, where that does not work."""
    missing = _missing()
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise NotPossibleError(f"please install what these Debian packages hold: {names}")
    say(f"installing {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run("apt-get", "update", "-qq", env=environment)
        with _services_stay_off():
            run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=environment)
    except ClusterError as error:
        raise NotPossibleError(f"these packages are missing and cannot be installed: {names}: {error}") from error
    if _missing():
        raise NotPossibleError(f"installed, but not to be found afterwards: {' '.join(_missing())}")


def cni_plugins() -> Path:
    """Return the directory of the CNI plugins. Call `ensure` before."""
    return next(one for one in _CNI_PLUGINS if (one / "bridge").exists())


def static_busybox() -> Path:
    """Return a busybox that runs where there is nothing else. Call `ensure` before."""
    path = shutil.which("busybox")
    if path is None or not _is_static(Path(path)):
        raise NotPossibleError("please install busybox-static")
    return Path(path)


def _missing() -> list[str]:
    missing = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not any((one / "bridge").exists() for one in _CNI_PLUGINS):
        missing.add("containernetworking-plugins")
    busybox = shutil.which("busybox")
    if busybox is None or not _is_static(Path(busybox)):
        missing.add("busybox-static")
    return sorted(missing)


def _is_static(program: Path) -> bool:
    """Whether it names no dynamic loader, which would stand near the beginning of the file."""
    return b"/ld-" not in program.read_bytes()[:4096]


@contextmanager
def _services_stay_off() -> Generator[None]:
    """Debian starts a service when it installs one; this is its own way to be asked not to."""
    if _POLICY.exists():
        yield  # the machine has decided already
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
