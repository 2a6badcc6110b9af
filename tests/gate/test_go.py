"""The gate's own tests, which are in Go beside what they test, and its form."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.left_out import leave_out

_GATE = Path(__file__).parents[2] / "gate"
_ENVIRONMENT = {**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}


@pytest.fixture(scope="session")
def go() -> str:
    return shutil.which("go") or leave_out("Go is not installed; it compiles the gate")


@pytest.mark.timeout(900)  # compiles them first
def test_its_tests_pass(go: str) -> None:
    argv = [go, "test", "./..."]
    done = subprocess.run(argv, cwd=_GATE, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(300)
def test_a_module_that_is_not_as_its_checksum_says_is_refused(go: str, tmp_path: Path) -> None:
    copy = tmp_path / "gate"
    shutil.copytree(_GATE, copy)
    sums = (copy / "go.sum").read_text()
    assert "k8s.io/apiserver v0." in sums
    (copy / "go.sum").write_text("\n".join(line for line in sums.splitlines() if "k8s.io/apiserver v0." not in line))
    argv = ["sh", copy / "build.sh", tmp_path / "out"]
    done = subprocess.run(argv, env={**os.environ, "GOFLAGS": ""}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "missing go.sum entry" in done.stderr
    assert go
