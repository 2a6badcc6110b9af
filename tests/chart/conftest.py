"""Fixtures for the tests of the chart: helm, and what it makes of values."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder.errors import NotPossibleError
from tests.chart import programs
from tests.chart.rendering import Helm
from tests.support.left_out import leave_out


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is compiled for these tests is begun at once, so that it is there when they come."""
    if any(item.path.name == "test_unittest.py" for item in session.items) and not session.config.option.collectonly:
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "tests.chart.programs"]
        quiet = subprocess.DEVNULL
        session.stash[_COMPILING] = subprocess.Popen(command, cwd=session.config.rootpath, stdout=quiet, stderr=quiet)


_COMPILING = pytest.StashKey[subprocess.Popen[bytes]]()


@pytest.fixture(scope="session")
def compiling(request: pytest.FixtureRequest) -> Iterator[None]:
    """The compiler that was begun ends with the tests."""
    yield
    request.session.stash[_COMPILING].terminate()
    request.session.stash[_COMPILING].wait()


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm, and the chart in a directory of its own."""
    try:
        return Helm(programs.helm(), tmp_path_factory.mktemp("helm"))
    except NotPossibleError as error:
        leave_out(f"no helm here: {error}")


@pytest.fixture(scope="session")
def helm_unittest(compiling: None) -> Path:
    try:
        return programs.helm_unittest()
    except NotPossibleError as error:
        leave_out(f"no helm-unittest here: {error}")
