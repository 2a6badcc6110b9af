"""The programs a node needs that are not built here: from the distribution's packages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .commands import run, say
from .errors import NotPossibleError

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
    "umount": "mount",
}
_CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_POLICY = Path("/usr/sbin/policy-rc.d")


def ensure() -> None:
    """Install what is missing; NotPossibleError, naming the packages, where there is no apt-get."""
    missing = _missing()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NotPossibleError(f"please install what these Debian packages hold: {' '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=environment)
    with _services_stay_off():
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=environment)
    if still := _missing():
        raise NotPossibleError(f"installed, but not to be found afterwards: {' '.join(still)}")


def cni_plugins() -> Path:
    """The directory of the CNI plugins."""
    return next(one for one in _CNI_PLUGINS if (one / "bridge").exists())


def static_busybox() -> Path | None:
    """A busybox that runs in an image where there is nothing else."""
    path = shutil.which("busybox")
    return Path(path) if path and b"ld-linux" not in Path(path).read_bytes()[:4096] else None


def _missing() -> list[str]:
    missing = {
        package for program, package in _PROGRAMS.items() if shutil.which(program, path=_path()) is None
    }
    if not any((one / "bridge").exists() for one in _CNI_PLUGINS):
        missing.add("containernetworking-plugins")
    if static_busybox() is None:
        missing.add("busybox-static")
    return sorted(missing)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextmanager
def _services_stay_off() -> Iterator[None]:
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
