"""The fuzz targets of the gate, which are in Go beside what they test: found there, and counted as the others are."""

import os
import re
import subprocess
from pathlib import Path

_GATE = Path(__file__).parents[2] / "gate"
_ENVIRONMENT = {**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0", "GOMAXPROCS": "1"}
_COUNTED = re.compile(r"^fuzz: elapsed: .* execs: (\d+) ", re.MULTILINE)


def packages() -> dict[str, str]:
    """Name of a target to the package that it is in."""
    return {
        name: f"./{file.parent.relative_to(_GATE)}"
        for file in sorted(_GATE.rglob("*_test.go"))
        for name in re.findall(r"^func (Fuzz\w+)\(", file.read_text(), re.MULTILINE)
    }


def compiled(name: str) -> None:
    """Compile a target, so that this is not counted; what it found before is tried again."""
    _go_test(name, "1x").check_returncode()


def fuzz(name: str, seconds: float) -> tuple[int, bool]:
    """How many inputs were tried, and whether one failed; that one is then in the package's testdata, to commit."""
    done = _go_test(name, f"{seconds:.0f}s")
    counted = _COUNTED.findall(done.stdout)
    if done.returncode or not counted:
        print(done.stdout[-6000:], flush=True)
    return int(counted[-1]) if counted else 0, done.returncode != 0


def _go_test(name: str, limit: str) -> subprocess.CompletedProcess[str]:
    options = ["-run", "^$", "-fuzz", f"^{name}$", "-fuzztime", limit, "-parallel", "1"]
    return subprocess.run(
        ["go", "test", packages()[name], *options],
        cwd=_GATE,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
