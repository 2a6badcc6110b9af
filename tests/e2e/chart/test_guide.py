"""The guide to installing the chart for a team."""

import json
import os
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder import tools
from images.builder.cache import Cache
from tests.e2e.chart.release import NAME, environment, everything, namespaces
from tests.e2e.place import Place
from tests.support.certificates import Authority
from tests.support.documents import carry_out, commands
from tests.support.issuer import Issuer, running_issuer
from tests.support.left_out import leave_out
from tests.support.service import wait_for
from tests.testcluster.layout import Addresses

pytestmark = pytest.mark.cluster

_ROOT = Path(__file__).parents[3]
_GUIDE = _ROOT / "docs" / "team.md"
_ISSUER = "https://login.example.com/realms/team"


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
    namespaces.kubectl("delete", "namespace", NAME, f"{NAME}-runs", "shop", "--ignore-not-found")


@pytest.fixture
def issuer(home: Path) -> Iterator[Issuer]:
    """On an address of this machine that pods reach, with a certificate of an authority of its own."""
    host = Addresses.from_environment().host
    authority = Authority(home)
    certificate, key = authority.issue(1, host)
    (home / "issuer.pem").write_bytes(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(home / "issuer.pem")
    authority.file.rename(home / "issuer-ca.pem")
    try:
        with running_issuer(host, tls) as issuer:
            yield issuer
    except OSError as error:
        leave_out(f"the pods of this cluster cannot reach an issuer on this machine: {error}")


@pytest.mark.timeout(300)
def test_a_team_gets_single_sign_on_and_a_policy(home: Path, place: Place, issuer: Issuer) -> None:
    """docs/team.md, word for word, from the issuer to removing it all; a program stands in for Alice's browser."""
    before = everything(place)
    token = issuer.token(sub="alice", groups=["developers"])
    login = home / "bin" / "kubectl-oidc_login"
    printed = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    login.write_text(f"#!/bin/sh\necho '{json.dumps(printed)}'\n")
    login.chmod(0o755)
    path = os.pathsep.join((str(home / "bin"), os.environ["PATH"]))
    given = {**environment(), "HOME": str(home), "PATH": path}
    carry_out(commands(_GUIDE), home, given, replaced={_ISSUER: issuer.url}, seconds=280)
    wait_for(lambda: {f"{NAME}-runs", "shop"}.isdisjoint(namespaces(place)), 60, "the namespaces to go")
    assert everything(place) - before == set()
