"""The chart as an operator installs it: from the images that `make images` builds."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder import tools
from images.builder.cache import Cache
from tests.e2e.chart.release import NAME, Release, everything, node_address
from tests.e2e.chart.release import namespaces as all_namespaces
from tests.e2e.place import Place
from tests.support.service import wait_for

_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def server_image(namespaces: Place) -> None:
    """The service's image, in the nodes."""
    given = {**os.environ, "K8S_MCP_NAMESPACE": namespaces.namespace}
    built = [_ROOT / "images" / "build", "server"]
    done = subprocess.run(built, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def only_release(namespaces: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The chart's namespace for runner pods has one name: one worker at a time has a release, until that is gone."""
    with (tmp_path_factory.getbasetemp().parent / "release.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        wait_for(lambda: f"{NAME}-runs" not in all_namespaces(namespaces), 120, "the runner namespace to go")


@pytest.fixture(scope="module")
def release(namespaces: Place, server_image: None, only_release: None) -> Iterator[Release]:
    """Installed for the tests of a module, which run in the order of their file; the last one removes it."""
    namespace = f"{namespaces.namespace}-release"
    namespaces.kubectl("create", "namespace", namespace)
    values: dict[str, object] = {
        "auth": {"insecureNoAuth": True, "serviceAccounts": {"enabled": False}},
        "service": {"type": "NodePort"},
        "image": {"pullPolicy": "Never"},
        "runner": {"image": {"pullPolicy": "Never"}},
        "resources": {"requests": {"cpu": "10m"}},
        "settings": {
            "allowedHosts": [node_address(namespaces)],
            "runnerCpuRequest": "10m",
            "warmPods": 0,
            "shutdownGrace": 2,  # so that runs are handed over rather than waited for
        },
    }
    release = Release(tools.ensure(Cache.from_environment(), _ROOT) / "helm", namespaces, namespace, values)
    try:
        yield release
    finally:
        if NAME in release("list", "--short").split():
            release("uninstall", NAME, "--no-hooks", "--ignore-not-found")
        namespaces.kubectl("delete", "namespace", namespace, release.runners, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def before(release: Release) -> set[str]:
    """Everything that is in the cluster before the installation."""
    account = ("get", "serviceaccount/default", f"--namespace={release.namespace}", "--ignore-not-found")
    wait_for(lambda: release.place.kubectl(*account), what="the default account")
    return everything(release.place)


@pytest.fixture(scope="module")
def installed(release: Release, before: set[str]) -> str:
    """The URL of the installed service."""
    release.install()
    return release.url
