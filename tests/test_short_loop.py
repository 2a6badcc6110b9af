"""The short loop leaves out what is listed, and nothing that is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import short_loop
from tests.support.documents import ROOT

_MODULE = """
import pytest

def test_listed(): ...
@pytest.mark.parametrize("text", ["a", "[b"])
def test_listed_with_words(text): ...
@pytest.mark.parametrize("text", ["a", "[b"])
def test_not_listed(text): ...
@pytest.mark.cluster
def test_on_a_cluster(): ...
"""
_REPORT = """<testsuites><testsuite>
<testcase classname="a.test_a" name="test_long[a.b::c[]" time="0.1"/>
<testcase classname="a.test_a" name="test_long[d]" time="0.9"/>
<testcase classname="a.test_a" name="test_short[a]" time="0.1"/>
</testsuite></testsuites>"""


def test_every_listed_test_exists() -> None:
    for name in short_loop.SLOW.read_text().splitlines():
        file, function = name.split("::")
        assert f"def {function}(" in (ROOT / file).read_text(), name


@pytest.mark.parametrize(("words", "chosen"), [((), 6), (("--short",), 2)])
def test_only_what_is_not_listed_and_needs_no_cluster_is_run(tmp_path: Path, words: list[str], chosen: int) -> None:
    (tmp_path / "test_it.py").write_text(_MODULE)
    (tmp_path / "slow.txt").write_text("test_it.py::test_listed\ntest_it.py::test_listed_with_words\n")
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "from tests.support import short_loop\n"
        "short_loop.SLOW = Path(__file__).with_name('slow.txt')\n"
        "pytest_addoption = short_loop.add_options\n"
        "pytest_collection_modifyitems = short_loop.pytest_collection_modifyitems\n"
    )
    ini = "[pytest]\nmarkers =\n    cluster\n    minutes\n"
    (tmp_path / "pytest.ini").write_text(ini)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *words]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"{chosen} passed" in done.stdout, done.stdout + done.stderr


def test_what_was_measured_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, report = tmp_path / "slow.txt", tmp_path / "report.xml"
    slow.write_text("b/test_b.py::test_b\n")
    report.write_text(_REPORT)
    monkeypatch.setattr(short_loop, "SLOW", slow)
    monkeypatch.setattr(sys, "argv", ["short_loop", str(report)])
    assert short_loop.main() == 0
    assert slow.read_text() == "a/test_a.py::test_long\nb/test_b.py::test_b\n"
