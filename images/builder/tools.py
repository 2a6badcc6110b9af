"""The command line tools of the images, compiled from their Go modules."""

import platform
import shutil
from pathlib import Path

from .cache import Cache, key_of
from .commands import output, run, say
from .errors import NotPossibleError

_SOURCES = ("go.mod", "go.sum", "build.sh")  # in images/tools


def key(repository: Path) -> str:
    """Names the tools by what they are compiled from."""
    sources = [(repository / "images/tools" / name).read_bytes() for name in _SOURCES]
    return key_of(go_version(), platform.machine(), *sources)


def ensure(cache: Cache, repository: Path) -> Path:
    """The directory that holds kubectl, helm and yq; five minutes on two cores when they are not yet compiled."""
    return cache.entry("tools", key(repository), lambda path: _compile(repository / "images/tools", path))


def _compile(module: Path, out: Path) -> None:
    say("compiling kubectl, helm and yq (once; five minutes on two cores)")
    run("nice", "-n", "10", "sh", module / "build.sh", out)


def go_version() -> str:
    """Of the Go on this machine; NotPossibleError where there is none."""
    if shutil.which("go") is None:
        raise NotPossibleError("Go is not installed; it compiles the command line tools")
    return output("go", "env", "GOVERSION").strip()
