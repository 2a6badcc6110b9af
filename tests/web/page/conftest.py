"""One browser and two services for a module: one that asks for tokens, with observers, and one that does not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.callers import Callers, service_with_policy
from tests.support.prepared import Prepared
from tests.support.service import Service
from tests.web.page.browser import Client, Tab, opened

POLICY = """
rules: [{name: all, principals: ["*"], own_kubeconfigs: true, max_timeout: 600}]
observers:
  - {principals: [olivia], output: true, cancel: true}
  - {principals: [looker]}
"""
NewTab = Callable[..., Tab]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    return Callers(tmp_path_factory.mktemp("callers") / "tokens", "alice", "bob", "olivia", "looker")


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, prepared: Prepared, callers: Callers
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("guarded")
    with service_with_policy(directory, tools, prepared, callers, POLICY, resume_window=2) as service:
        yield service


@pytest.fixture
def tab(browser: Browser) -> Iterator[NewTab]:
    """Opens tabs, `tab(service)`, in which nothing may go wrong."""
    made: list[Tab] = []

    def make(service: Service, **options: Any) -> Tab:
        made.append(Tab(browser, service.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        assert one.wrong == []


@pytest.fixture
def agent(server: Service) -> Iterator[Client]:
    """Somebody whose runs the page of `server` shows; without authentication, everybody."""
    client = Client(server.url)
    client.store()
    yield client
    client.close()


@pytest.fixture
def alice(guarded: Service, callers: Callers) -> Iterator[Client]:
    client = Client(guarded.url, callers.tokens["alice"])
    client.store()
    yield client
    client.close()
