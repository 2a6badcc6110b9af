"""Through a gateway with a path and an authority of its own commands answer with the gate as without it, whichever
HTTP the gateway speaks. K8S_MCP_TEST_GATEWAY=all tries all commands; else it is those that a gateway could treat in a
way of its own: escaped paths, upgrades, what is followed, headers.
"""

import os
from collections.abc import Iterator

import pytest

from tests.gate import gateway
from tests.gate.conftest import StartGate
from tests.gate.gates import Gate
from tests.gate.gateway import Gateway
from tests.gate.ground import Ground, ready_in_both
from tests.gate.scripts import CHANGING, READING

pytestmark = pytest.mark.cluster

_TELLING = [
    "get chunks", "get raw paths", "openapi", "as", "logs", "proxy", "strange names", "edit", "run with input",
    "exec", "cp", "port-forward", "tokens", "custom resources", "watch", "logs followed",
]  # fmt: skip
_ALL = {**READING, **CHANGING}
_SCRIPTS = list(_ALL) if os.environ.get("K8S_MCP_TEST_GATEWAY") == "all" else _TELLING
_PROTOCOLS = {"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"}


@pytest.fixture(scope="module", params=_PROTOCOLS)
def way(
    request: pytest.FixtureRequest, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    program = gateway.compiled(tmp_path_factory.mktemp("gateway"))
    with gateway.running(program, ground.cluster, tmp_path_factory.mktemp("gateway"), request.param) as running:
        yield running


@pytest.fixture(scope="module")
def gate(gates: StartGate, way: Gateway) -> Gate:
    return gates(way.content)


@pytest.fixture(scope="module")
def web(ground: Ground) -> Iterator[None]:
    with ready_in_both(ground):
        yield


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("name", _SCRIPTS)
def test_commands_answer_as_without_the_gate(ground: Ground, gate: Gate, way: Gateway, name: str) -> None:
    plain, gated = ground.alike(_ALL[name], gate.kubeconfig, way.kubeconfig)
    assert gated == plain


def test_the_gate_speaks_what_the_gateway_speaks(gate: Gate, way: Gateway, request: pytest.FixtureRequest) -> None:
    before = way.seen()
    for _ in range(5):
        assert gate.ask("GET", "/version")[0] == 200
    after = way.seen()
    protocol = _PROTOCOLS[request.node.callspec.params["way"]]
    assert after[protocol] - before.get(protocol, 0) >= 5
    if protocol == "HTTP/1.1":
        assert set(after) == {protocol}
