"""Fixtures for all tests.

What needs a real cluster starts one where the machine can; what was left out is listed at the end.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest

from tests import testcluster
from tests.support import kubeconfigs, one_context, short_loop, side_by_side
from tests.support.client import Client
from tests.support.left_out import leave_out
from tests.support.prepared import Prepared
from tests.support.service import Service, StartService, services

_ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Those of our plugins, which are registered later than options are read."""
    short_loop.add_options(parser)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """For `.ci/run`."""
    config = session.config
    if config.pluginmanager.hasplugin("cacheprovider") and not hasattr(config, "workerinput"):
        config.cache.set("k8s-mcp/exitstatus", int(exitstatus))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a test has logged can be any text; half a character in a worker's report would end the whole session."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        items = [_encodable(item) for item in cast("list[Any]", value)]
        return items if isinstance(value, list) else tuple(items)
    return value


def pytest_configure(config: pytest.Config) -> None:
    """Whoever starts the tests in the background may have them ignore signals; the programs under test must not.

    A signal that has a handler here has its default effect in what is started from here. So `nohup make test` goes on
    when its terminal is closed, and a program that is told to hang up ends.
    """
    one_context.share()
    config.pluginmanager.register(side_by_side)
    config.pluginmanager.register(short_loop)
    state = tempfile.mkdtemp(prefix="k8s-mcp-tests-state-")  # not the history of who runs the tests
    os.environ["XDG_STATE_HOME"] = state
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
    in_their_time = [hypothesis.HealthCheck.too_slow]  # a busy machine is no fault of the code
    hypothesis.settings.register_profile(
        "k8s-mcp", hypothesis.settings.default, deadline=None, suppress_health_check=in_their_time
    )
    hypothesis.settings.load_profile("k8s-mcp")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _go_on)


def _go_on(*_: object) -> None:
    """Takes a signal and does nothing."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop that the service has."""
    return "asyncio"


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> testcluster.Cluster:
    """A real Kubernetes cluster. Its first build takes minutes, so its progress is shown."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            return testcluster.ensure()
    except testcluster.NotPossibleError as error:
        leave_out(f"no Kubernetes cluster here: {error}")


@pytest.fixture(scope="session")
def kubeconfig(cluster: testcluster.Cluster) -> str:
    """The content of the cluster administrator's kubeconfig."""
    return cluster.kubeconfig.read_text()


@pytest.fixture(scope="session")
def second_kubeconfig(cluster: testcluster.Cluster) -> str:
    """The same for another API server, with its own authority and data."""
    if cluster.second_kubeconfig is None:
        leave_out("no second Kubernetes cluster: K8S_MCP_TEST_SECOND_KUBECONFIG is not set")
    return cluster.second_kubeconfig.read_text()


@pytest.fixture(scope="session")
def fake_kubeconfig() -> str:
    """Well-formed, made up, with the credentials of `kubeconfigs.CREDENTIALS`: for tests that need no cluster."""
    return kubeconfigs.fake()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in front of every service's PATH; the fixture `kubectl` puts something there."""
    return tmp_path_factory.mktemp("tools")


@pytest.fixture(scope="session")
def kubectl(tools: Path) -> Path:
    """kubectl, which commands can then use: from PATH, else the test cluster's, else compiled as for the images."""
    running = testcluster.current()
    found = shutil.which("kubectl") or (running and running.kubectl) or _compiled_kubectl()
    link = tools / "kubectl"
    link.symlink_to(found)
    return link


def _compiled_kubectl() -> Path:
    build = subprocess.run([_ROOT / "images" / "build", "--print-tools"], capture_output=True, text=True, check=False)
    if build.returncode:
        leave_out(f"no kubectl here: {build.stderr[-500:]}")
    return Path(build.stdout.split()[-1]) / "kubectl"


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    """Starts services that have imported everything already."""
    with Prepared() as prepared:
        yield prepared


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared) -> Iterator[StartService]:
    """Starts services, `serve(resume_window=1)`, which must end well: see `services`."""
    with services(tmp_path_factory.mktemp("services"), tools, how=prepared) as start:
        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared) -> Iterator[Service]:
    """A service with default settings, shared by the tests of a module."""
    with services(tmp_path_factory.mktemp("server"), tools, how=prepared) as start:
        yield start()


@pytest.fixture
async def client(server: Service, fake_kubeconfig: str) -> AsyncIterator[Client]:
    """A client of `server`."""
    async with Client(server.url, fake_kubeconfig) as client:
        yield client


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.getreports("skipped")
    if not skipped:
        return
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in skipped
        if isinstance(report, pytest.TestReport) and isinstance(report.longrepr, tuple)
    )
    terminalreporter.section("what was left out")
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} tests: {reason}")
