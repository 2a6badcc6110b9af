"""Command line tools for tests, built once from Go modules that pin and checksum them."""

import os
import platform
from pathlib import Path

from images.builder import tools
from images.builder.cache import Cache, key_of
from images.builder.commands import run, say
from images.builder.errors import NotPossibleError
from tests.support.left_out import leave_out


def go_tools(module: Path) -> Path:
    """The directory with the programs that the tool lines of `module`/go.mod name; the first time compiles them.

    Where there is no Go the test is left out.
    """
    try:
        return compiled(module)
    except NotPossibleError as error:
        leave_out(str(error))


def compiled(module: Path, *, stamp: str = "") -> Path:
    """The same for who decides itself what to do without Go: NotPossibleError.

    `stamp` sets a variable of the program, as in `go tool link -X`.
    """
    linker = f"-s -w -X {stamp}" if stamp else "-s -w"
    flags = ("-mod=readonly", "-buildvcs=false", "-trimpath", f"-ldflags={linker}")

    def compile_to(out: Path) -> None:
        say(f"compiling {module.name} (once)")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        run("nice", "-n", "19", "go", "-C", module, "build", *flags, "-o", f"{out}/", "tool", env=environment)

    cache = Cache(Cache.from_environment().root.parent / "test-tools")
    sources = [(module / name).read_bytes() for name in ("go.mod", "go.sum")]
    key = key_of(tools.go_version(), platform.machine(), *flags, *sources)
    return cache.entry(module.name, key, compile_to)
