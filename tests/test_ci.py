"""What CI says of tests that failed: each that needed a second try is named, and no test is passed over."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.left_out import leave_out

_MAKE = """#!/bin/bash
if [[ $1 != test ]]; then
    echo make "$@"
    exit
fi
echo "${2-}" >>tries
mkdir -p .pytest_cache/v/cache .pytest_cache/v/k8s-mcp
bash "try$(wc -l <tries)"
status=$?
[[ $status -gt 128 ]] || echo -n $status >.pytest_cache/v/k8s-mcp/exitstatus
[[ $status -eq 0 ]] || exit 2
"""
_LIST = '{"a.py::test_one[x y]": true, "b.py::test_two": true}'
_FAILS = f"echo '{_LIST}' >.pytest_cache/v/cache/lastfailed;"


def _program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def _ci(home: Path, *tries: str) -> "subprocess.CompletedProcess[str]":
    """Runs it where nothing is to be installed; `make` says what it was told, and `make test` does as `tries` say."""
    if shutil.which("jq") is None:
        leave_out("no jq here")
    (home / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", home / ".ci")
    for name in ("chromium", "curl", "npm", "openssl", "pg_ctlcluster", "promtool", "python3"):
        _program(home / "bin" / name, "#!/bin/bash\n")
    _program(home / "bin" / "make", _MAKE)
    for number, commands in enumerate(tries, 1):
        (home / f"try{number}").write_text(commands)
    environment = {"PATH": f"{home}/bin:{os.environ['PATH']}"}
    run = [home / ".ci" / "run"]
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _tries(home: Path) -> list[str]:
    return (home / "tries").read_text().splitlines()


def test_all_is_well(tmp_path: Path) -> None:
    done = _ci(tmp_path, "exit 0")
    assert done.returncode == 0, done.stderr
    assert _tries(tmp_path) == [""]
    assert done.stdout.splitlines() == ["make lint", "make cluster-down"]


@pytest.mark.parametrize("second", [0, 1])
def test_each_test_that_needed_a_second_try_is_named_at_the_end(tmp_path: Path, second: int) -> None:
    done = _ci(tmp_path, f"{_FAILS} exit 1", f"exit {second}")
    assert done.returncode == (2 if second else 0)
    assert _tries(tmp_path) == ["", "ARGS=--last-failed"]
    named = ["== failed at the first try:", "a.py::test_one[x y]", "b.py::test_two"]
    assert done.stdout.splitlines()[-4:] == ["make cluster-down", *named]


@pytest.mark.parametrize(
    "first",
    [
        f"{_FAILS} exit 2",  # interrupted: others have not run at all
        "exit 1",  # ended before it could write which
        "echo '{}' >.pytest_cache/v/cache/lastfailed; exit 1",
        "kill -KILL $$",
    ],
)
def test_there_is_no_second_try_for_what_is_not_known(tmp_path: Path, first: str) -> None:
    (tmp_path / ".pytest_cache" / "v" / "cache").mkdir(parents=True)
    (tmp_path / ".pytest_cache" / "v" / "cache" / "lastfailed").write_text('{"of another day": true}')
    (tmp_path / ".pytest_cache" / "v" / "k8s-mcp").mkdir()
    (tmp_path / ".pytest_cache" / "v" / "k8s-mcp" / "exitstatus").write_text("1")
    done = _ci(tmp_path, first)
    assert done.returncode == 1
    assert _tries(tmp_path) == [""]
    assert done.stdout.splitlines()[-1].startswith("== no second try: the tests ended with status")
