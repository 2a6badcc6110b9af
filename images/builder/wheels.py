"""The Python packages of the server image, downloaded as the lock says.

With this machine's pip and its settings, which know a mirror or an authority that a container does not know.
"""

import platform
import sys
from pathlib import Path

from .base import PYTHON
from .cache import Cache, key_of
from .commands import run, say

_LOCK = "requirements/runtime.lock"
_OLDEST_GLIBC, _NEWEST_GLIBC = 17, 41  # 2.17 is that of manylinux2014, 2.41 the base's


def key(repository: Path) -> str:
    """Names the packages by the lock and the platform."""
    return key_of((repository / _LOCK).read_bytes(), PYTHON, platform.machine())


def ensure(cache: Cache, repository: Path) -> Path:
    """The directory that holds them."""
    return cache.entry("wheels", key(repository), lambda path: _download(repository / _LOCK, path))


def _download(lock: Path, out: Path) -> None:
    say("downloading the packages of the server image (once)")
    environment = out.with_name("pip")
    run(sys.executable, "-m", "venv", environment)
    platforms = [f"manylinux_2_{minor}_{platform.machine()}" for minor in range(_OLDEST_GLIBC, _NEWEST_GLIBC + 1)]
    platforms.append(f"manylinux2014_{platform.machine()}")
    run(
        environment / "bin" / "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",  # the lock has all of them
        "--require-hashes",
        "--only-binary=:all:",
        f"--python-version={PYTHON}",
        *(f"--platform={name}" for name in platforms),
        f"--requirement={lock}",
        f"--dest={out}",
    )
