"""docs/helm.md, word for word, from installing to removing."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder import tools
from images.builder.cache import Cache
from tests.e2e.chart.release import NAME, environment, everything, namespaces
from tests.e2e.place import Place
from tests.support.documents import carry_out, commands
from tests.support.service import wait_for

pytestmark = pytest.mark.cluster

_ROOT = Path(__file__).parents[3]
_GUIDE = _ROOT / "docs" / "helm.md"


@pytest.fixture
def home(namespaces: Place, server_image: None, only_release: None, tmp_path: Path) -> Iterator[Path]:
    """A directory with what the reader has: the repository, a kubeconfig, and the programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    built = tools.ensure(Cache.from_environment(), _ROOT)
    for name in ("helm", "kubectl"):
        (programs / name).symlink_to(built / name)
    (programs / "k8s-mcp").symlink_to(Path(sys.executable).parent / "k8s-mcp")
    (tmp_path / "charts").symlink_to(_ROOT / "charts")
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").symlink_to(namespaces.cluster.kubeconfig)
    yield tmp_path
    namespaces.kubectl("delete", "namespace", NAME, f"{NAME}-runs", "--ignore-not-found", "--wait=false")


@pytest.mark.timeout(300)
def test_the_guide_installs_runs_and_leaves_nothing(home: Path, place: Place) -> None:
    before = everything(place)
    path = os.pathsep.join((str(home / "bin"), os.environ["PATH"]))
    carry_out(commands(_GUIDE), home, {**environment(), "HOME": str(home), "PATH": path}, seconds=280)
    wait_for(lambda: f"{NAME}-runs" not in namespaces(place), 60, "the runner namespace to go")
    assert everything(place) - before == set()
