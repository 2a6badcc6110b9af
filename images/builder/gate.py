"""The gate, compiled from its Go module."""

import platform
from pathlib import Path

from .cache import Cache, key_of
from .commands import run, say
from .tools import go_version


def key(repository: Path) -> str:
    """Names the gate by what it is compiled from."""
    contents: list[str | bytes] = [go_version(), platform.machine()]
    for file in sources(repository):
        contents += [str(file), (repository / file).read_bytes()]
    return key_of(*contents)


def sources(repository: Path) -> list[Path]:
    """All that it is compiled from: its tests and its documentation are not."""
    module = repository / "gate"
    found = [module / name for name in ("build.sh", "go.mod", "go.sum")]
    found += sorted(path for path in module.rglob("*.go") if not _is_a_tests(path.relative_to(module)))
    return [path.relative_to(repository) for path in found]


def _is_a_tests(path: Path) -> bool:
    return path.name.endswith("_test.go") or path.parts[0] == "testdata"


def ensure(cache: Cache, repository: Path) -> Path:
    """The directory that holds the gate; a minute on two cores when it is not yet compiled."""
    return cache.entry("gate", key(repository), lambda path: _compile(repository / "gate", path))


def _compile(module: Path, out: Path) -> None:
    say("compiling the gate (once; a minute on two cores)")
    run("nice", "-n", "10", "sh", module / "build.sh", out)
