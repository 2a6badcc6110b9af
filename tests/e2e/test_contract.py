"""The executor contract, tests/executors/test_contract.py, on Job pods."""

import pytest

from tests.executors.test_contract import *  # noqa: F403 - its tests and fixtures, all but the one below
from tests.support.service import StartService

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def start_service(serve_kubernetes: StartService) -> StartService:
    return serve_kubernetes
