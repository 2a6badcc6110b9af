"""Through the gate every command of kubectl and helm answers as it does without it: output, errors, exit code."""

from collections.abc import Iterator

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Gate
from tests.gate.ground import Ground, ready_in_both
from tests.gate.scripts import CHANGING, READING

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def gate(gates: StartGate) -> Gate:
    """It allows everything and changes nothing."""
    return gates()


@pytest.fixture(scope="module")
def web(ground: Ground) -> Iterator[None]:
    """The same pod in both namespaces."""
    with ready_in_both(ground):
        yield


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
