"""Debian's packages on the machine that builds."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .commands import run, say
from .errors import NotPossibleError

_POLICY = Path("/usr/sbin/policy-rc.d")


def ensure(program: str, purpose: str, *packages: str) -> Path:
    """The program's path; the packages are installed if need be. NotPossibleError where that cannot be."""
    if found := _find(program):
        return found
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotPossibleError(f"{program} is missing; it {purpose} (Debian: apt-get install {names}, as root)")
    say(f"installing {program}, which {purpose}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
    run(*apt, "update", env=environment)
    with _services_stay_off():
        run(*apt, "install", "-y", "--no-install-recommends", *packages, env=environment)
    if found := _find(program):
        return found
    raise NotPossibleError(f"{names}: installed, but there is no {program}")


def _find(program: str) -> Path | None:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return Path(found) if found else None


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
