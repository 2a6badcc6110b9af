"""What the bash of the runner image says about a command that is not there: `images/runner/bash-env`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BASH_ENV = Path(__file__).parents[2] / "images" / "runner" / "bash-env"
THERE = ("bash", "cat", "grep", "jq", "sh", "xargs")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with a few programs; bash and sh are the real ones."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in THERE:
        (directory / name).symlink_to(shutil.which(name) or "/bin/true")
    return directory


def bash(command: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        executable="/bin/bash",
        env={"BASH_ENV": str(BASH_ENV), "PATH": str(path), **environment},
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )


OWN = "command_not_found_handle() { echo mine $1; return 5; }"
THERE_IS = "There are jq grep xargs; `ls /usr/bin` lists all."


def test_a_command_that_is_not_there_is_answered_with_what_is(path: Path) -> None:
    done = bash("cat </dev/null\nterraform plan", path)
    said = f"bash: line 2: terraform: command not found\nIt is not in this image. {THERE_IS}\n"
    assert (done.returncode, done.stdout, done.stderr) == (127, "", said)


@pytest.mark.parametrize(
    ("name", "instead"),
    [("vim", "use kubectl patch"), ("watch", "use kubectl wait"), ("nslookup", "Use getent ahosts")],
)
def test_what_to_use_instead_is_said_where_there_is_something(path: Path, name: str, instead: str) -> None:
    assert instead in bash(name, path).stderr


@pytest.mark.parametrize(
    "command",
    [
        "set -eu; terraform; echo not reached",
        "set -f; terraform",
        "IFS=ea; terraform",
        "shopt -s nullglob failglob; terraform",
        "command terraform",
        "bash -c terraform",
        "echo terraform >script; bash script",
    ],
)
def test_it_is_the_same_however_the_shell_is_set(path: Path, command: str) -> None:
    done = bash(command, path)
    assert done.returncode == 127
    assert done.stdout == ""
    assert "terraform: command not found\n" in done.stderr
    assert THERE_IS in done.stderr


def test_trace_of_a_command_shows_the_command_only(path: Path) -> None:
    traced = [line for line in bash("set -x; terraform plan", path).stderr.splitlines() if line.startswith("+")]
    assert traced == ["+ terraform plan"]


def test_its_words_go_where_the_commands_would(path: Path) -> None:
    assert bash("terraform 2>/dev/null | cat; echo ${PIPESTATUS[0]}; terraform 2>&1 | cat", path).stderr == ""


def test_path_in_which_nothing_is_found_is_said(path: Path) -> None:
    assert "No program is found: PATH is /nowhere." in bash("PATH=/nowhere; kubectl", path).stderr


@pytest.mark.parametrize(
    "command",
    [
        f"{OWN}; terraform",
        f"{OWN}; export -f command_not_found_handle; bash -c terraform",
    ],
)
def test_handler_of_the_commands_own_wins(path: Path, command: str) -> None:
    done = bash(command, path)
    assert (done.returncode, done.stdout, done.stderr) == (5, "mine terraform\n", "")


@pytest.mark.parametrize("command", ["sh -c terraform", "echo terraform >script; sh script"])
def test_sh_is_as_it_was(path: Path, command: str) -> None:
    assert bash(command, path).stderr == bash(command, path, BASH_ENV=os.devnull).stderr


@pytest.mark.parametrize("command", ["true", "[[ x == x ]]", "jq --version; false", "command -v terraform"])
def test_nothing_else_is_said(path: Path, command: str) -> None:
    with_it, without = (bash(command, path, BASH_ENV=name) for name in (str(BASH_ENV), os.devnull))
    assert (with_it.returncode, with_it.stdout, with_it.stderr) == (
        without.returncode,
        without.stdout,
        without.stderr,
    )


def test_it_starts_no_program(path: Path) -> None:
    """So that it costs a bash that finds all its commands no more than reading a file of a screen."""
    for name in THERE:
        (path / name).unlink()
    done = bash("true", path)
    assert (done.returncode, done.stderr) == (0, "")
