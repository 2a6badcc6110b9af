"""What the tests of warm pods ask of a service that keeps some."""

import json
from collections.abc import Awaitable, Callable

import anyio
from anyio.to_thread import run_sync

from tests.e2e.place import Place
from tests.support.service import Service, wait_for

WAITING = "k8s-mcp-server/warm=true"
DONE = {"status": "done", "exit_code": 0}


def figure(service: Service, name: str) -> float:
    """A metric's value; see `Service.metric`."""
    value = service.metric(name)
    assert value is not None, name
    return value


def asked(service: Service, result: str) -> float:
    return figure(service, f'k8s_mcp_warm_pods_asked_total{{result="{result}"}}')


async def until_waiting(service: Service, count: int = 1) -> None:
    def waits() -> bool:
        return figure(service, "k8s_mcp_warm_pods_waiting") >= count

    await run_sync(lambda: wait_for(waits, 60, what=f"{count} warm pods"))


async def until(true: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    with anyio.fail_after(seconds):
        while not await true():  # noqa: ASYNC110 - it is in the cluster that it becomes so
            await anyio.sleep(0.1)


def counted_cheaply(place: Place, label: str) -> str:
    """As `Place.counted`, without kubectl's start: thirty of them at once are a minute of two processors."""
    config_map = {"metadata": {"generateName": "ran-", "labels": {"counted": label}}}
    url = f"http://127.0.0.1:9001/api/v1/namespaces/{place.target}/configmaps"
    return f"curl -sf {url} -H 'Content-Type: application/json' --data '{json.dumps(config_map)}' >/dev/null"
