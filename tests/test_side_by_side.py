"""How the suite runs: what may be side by side is, what must be alone is, whoever starts it and however."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.documents import ROOT

_MODULE = """
import os
from pathlib import Path

import pytest

from tests.support.service import wait_for

_HERE = Path(__file__).parent


def note(what):
    with (_HERE / "notes").open("a") as notes:
        notes.write(f"{os.environ['PYTEST_XDIST_WORKER']} {what}\\n")


@pytest.fixture(scope="module", autouse=True)
def _module():
    note("begins NAME")
    yield
    note("ends NAME")


@pytest.mark.MARK
@pytest.mark.parametrize("number", range(5))
def test_it(number):
    note("test NAME")
"""
_MEET = """

@pytest.mark.MARK
def test_the_other_file_runs_meanwhile():
    wait_for(lambda: (_HERE / "notes").read_text().count("begins") > 1)
"""


_PLUGINS = ("-p", "anyio", "-p", "timeout", "-p", "xdist")


def _pytest(*words: str, before: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # importing all of them takes longer than the tests
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *_PLUGINS, *words]
    return subprocess.run(
        ["bash", "-c", f'{before} exec "$@"', "bash", *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _notes_of_a_run(directory: Path, modules: dict[str, str]) -> list[tuple[str, str, str]]:
    """What the tests of modules with these marks noted: worker, what, module."""
    for name, mark in modules.items():
        text = _MODULE + (_MEET if mark == "cluster" else "")
        (directory / f"test_{name}.py").write_text(text.replace("NAME", name).replace("MARK", mark))
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n    cluster\n    alone\n    plain\n")
    options = ("--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder", "--import-mode=importlib")
    plugin = ("-p", "tests.support.side_by_side")
    done = _pytest(
        *plugin, *options, f"--rootdir={directory}", f"--config-file={directory}/pytest.ini", str(directory)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line.split() for line in (directory / "notes").read_text().splitlines()]
    return [(worker, what, module) for worker, what, module in found]


def test_files_run_side_by_side_whole_and_those_that_must_be_alone_when_all_others_have_ended(tmp_path: Path) -> None:
    modules = {"a": "alone", "b": "alone", "c": "plain", "d": "cluster", "e": "cluster"}
    notes = _notes_of_a_run(tmp_path, modules)
    for module in modules:
        assert len({worker for worker, _, one in notes if one == module}) == 1, "a file stays in one worker"
        assert sum(one == module for _, _, one in notes) == 7
    begun = [module for _, what, module in notes if what == "begins"]
    assert set(begun[:2]) == {"d", "e"}, "on a cluster first"
    assert begun[2] == "c"
    of_others = [index for index, (_, _, module) in enumerate(notes) if module not in "ab"]
    alone = [index for index, (_, what, module) in enumerate(notes) if what == "test" and module in "ab"]
    assert max(of_others) < min(alone)


def test_what_takes_the_cluster_is_not_among_what_needs_none() -> None:
    """Though the others of its file, for the same executor, are."""
    done = _pytest("--collect-only", "--quiet", "-m", "not cluster", "tests/executors/test_contract.py")
    assert "::test_kubeconfig_is_writable[local]" in done.stdout
    assert "::test_50_runs_at_once_on_two_clusters" not in done.stdout


_IGNORED = """
import signal
print([number.name for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN])
"""


def test_programs_under_test_begin_with_signals_as_they_are_by_default() -> None:
    """Python ignores two for itself, and its subprocesses begin with them as the system has them."""
    done = subprocess.run([sys.executable, "-c", _IGNORED], capture_output=True, text=True, check=True)
    assert done.stdout == "['SIGPIPE', 'SIGXFSZ']\n"


def test_also_where_the_tests_ignore_some() -> None:
    """Such as under `nohup`, or in the background of a script."""
    this = f"{__file__}::{test_programs_under_test_begin_with_signals_as_they_are_by_default.__name__}"
    done = _pytest("--quiet", this, before="trap '' HUP INT QUIT;")
    assert done.returncode == 0, done.stdout
