"""Through the gate every command of kubectl and helm answers as it does without it: output, errors, exit code."""

from collections.abc import Iterator

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Gate
from tests.gate.ground import Ground, pod
from tests.gate.scripts import CHANGING, READING

pytestmark = pytest.mark.cluster

_WEB = "mkdir /tmp/www && echo hello >/tmp/www/index.html && echo ready && exec httpd -f -p 8080 -h /tmp/www"


@pytest.fixture(scope="module")
def gate(gates: StartGate) -> Gate:
    """It allows everything and changes nothing."""
    return gates()


@pytest.fixture(scope="module")
def web(ground: Ground) -> Iterator[None]:
    """The same pod in both namespaces."""
    namespaces = (ground.direct, ground.through)
    for namespace in namespaces:
        ground.kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=pod("web", _WEB))
    for namespace in namespaces:
        where = f"--namespace={namespace}"
        ground.kubectl("wait", where, "--for=condition=Ready", "pod/web", "--timeout=60s")
    yield
    for namespace in namespaces:
        ground.kubectl("delete", f"--namespace={namespace}", "pod/web", "--now")


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("script", READING.values(), ids=READING)
def test_reading_answers_as_without_the_gate(ground: Ground, gate: Gate, script: str) -> None:
    plain, gated = ground.alike(script, gate.kubeconfig)
    assert gated == plain


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("script", CHANGING.values(), ids=CHANGING)
def test_changing_answers_as_without_the_gate(ground: Ground, gate: Gate, script: str) -> None:
    plain, gated = ground.alike(script, gate.kubeconfig)
    assert gated == plain
