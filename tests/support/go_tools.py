"""Command line tools for tests, built once from Go modules that pin and checksum them."""

import os
from pathlib import Path

from images.builder import tools
from images.builder.cache import Cache, key_of
from images.builder.commands import run
from images.builder.errors import NotPossibleError
from tests.support.left_out import leave_out

_FLAGS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w")


def go_tools(module: Path) -> Path:
    """The directory with the programs that the tool lines of `module`/go.mod name; the first time builds them."""
    try:
        go_version = tools.go_version()
    except NotPossibleError as error:
        leave_out(str(error))

    def compile_to(out: Path) -> None:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        run("go", "-C", module, "build", *_FLAGS, "-o", f"{out}/", "tool", env=environment)

    cache = Cache(Cache.from_environment().root.parent / "test-tools")
    sources = [(module / name).read_bytes() for name in ("go.mod", "go.sum")]
    return cache.entry(module.name, key_of(go_version, *_FLAGS, *sources), compile_to)
