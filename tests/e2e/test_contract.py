"""The executor contract, tests/executors/test_contract.py, on Job pods, warm ones where there are any."""

import pytest

from tests.executors.test_contract import *  # noqa: F403 - its tests and fixtures, all but the one below
from tests.support.service import Service, StartService

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def start_service(serve_shared: StartService) -> StartService:
    def start(**settings: object) -> Service:
        return serve_shared(**{"warm_pods": 2, **settings})

    return start
