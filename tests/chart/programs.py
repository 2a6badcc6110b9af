"""helm, and helm-unittest, compiled once from the Go module in `tools/`: `python -m tests.chart.programs`."""

import os
import platform
from pathlib import Path

from images.builder import tools
from images.builder.cache import Cache, key_of
from images.builder.commands import run, say

_REPOSITORY = Path(__file__).parents[2]
_MODULE = Path(__file__).parent / "tools"


def helm() -> Path:
    """The helm of the images. Raises NotPossibleError where there is no Go."""
    return tools.ensure(Cache.from_environment(), _REPOSITORY) / "helm"


def helm_unittest() -> Path:
    """Four minutes on two cores when it is not yet compiled. Raises NotPossibleError where there is no Go."""
    cache = Cache(Cache.from_environment().root.parent / "chart")
    sources = [(_MODULE / name).read_bytes() for name in ("go.mod", "go.sum")]
    key = key_of(tools.go_version(), platform.machine(), *sources)
    return cache.entry("helm-unittest", key, _compile) / "helm-unittest"


def _compile(out: Path) -> None:
    say("compiling helm-unittest (once; four minutes on two cores)")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    flags = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", f"{out}/")
    run("nice", "-n", "19", "go", "-C", _MODULE, "build", *flags, "tool", env=environment)


if __name__ == "__main__":
    print(helm_unittest())
