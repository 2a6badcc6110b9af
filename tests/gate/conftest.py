"""Fixtures for the tests of the gate as a program, before the API server of the test cluster."""

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from images.builder import gate, tools
from images.builder.cache import Cache
from images.builder.errors import NotPossibleError
from tests.gate.gates import Gate, started
from tests.gate.ground import Ground
from tests.support.left_out import leave_out
from tests.testcluster import Cluster

_ROOT = Path(__file__).parents[2]

StartGate = Callable[..., Gate]


@pytest.fixture(scope="session")
def gate_program() -> Path:
    """The gate, compiled from this tree."""
    try:
        return gate.ensure(Cache.from_environment(), _ROOT) / "gate"
    except NotPossibleError as error:
        leave_out(str(error))


@pytest.fixture(scope="session")
def ground(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two namespaces that are alike, kubectl and helm."""
    try:
        programs = tools.ensure(Cache.from_environment(), _ROOT)
    except NotPossibleError as error:
        leave_out(str(error))
    ground = Ground(cluster, programs, tmp_path_factory.mktemp("ground"), f"gate-{secrets.token_hex(3)}")
    with ground.made():
        yield ground


def _gates(program: Path, kubeconfig: str, directories: pytest.TempPathFactory) -> Generator[StartGate]:
    with ExitStack() as stack:

        def start(content: str = kubeconfig, **settings: Any) -> Gate:
            return stack.enter_context(started(program, directories.mktemp("gate"), content, **settings))

        yield start


@pytest.fixture
def start_gate(gate_program: Path, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGate]:
    """Starts gates, `start_gate(access="read_only")`, which must end well."""
    yield from _gates(gate_program, kubeconfig, tmp_path_factory)


@pytest.fixture(scope="module")
def gates(gate_program: Path, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGate]:
    """The same for gates that the tests of a module share."""
    yield from _gates(gate_program, kubeconfig, tmp_path_factory)
