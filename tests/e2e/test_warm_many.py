"""Many claims of few warm pods at once, by three replicas: no pod has two runs, and each command is executed once.

30 on 4 pods, and 10 of which calls go wrong; `make warm-claims` has 100 of each on 10 pods, and kills a replica
meanwhile. docs/reliability.md has the figures.
"""

import asyncio
import json
import os
import random
import re
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from tests.e2e.api_proxy import ApiProxy, Fault, refusal
from tests.e2e.place import ANY_RUN, Place
from tests.e2e.warm import DONE, asked, counted_cheaply, until_waiting
from tests.support.client import Client
from tests.support.events import Stream, Transcript
from tests.support.service import Service, StartService, wait_for

pytestmark = pytest.mark.cluster

ClientOf = Callable[[Service], Client]

MANY = "K8S_MCP_TEST_MANY_CLAIMS" in os.environ
CLAIMS, CLAIMS_WITH_FAULTS, PODS = (100, 100, 10) if MANY else (30, 10, 4)
NEVER_BEGUN = {"ApiUnreachable", "InternalError", "NotFound", "PodDeleted", "ReplicaLost"}
STEPS = re.compile("PATCH jobs/warm|POST secrets|PATCH pods")


@dataclass(frozen=True)
class Seen:
    """What a client saw of a run, and on how many replicas; `final` is empty for a run that nobody knows any more."""

    stdout: list[str]
    final: dict[str, Any]
    replicas: int = 1


class Noise:
    """Spoils one in three of the calls of a claim: it is refused, or carried out, and its answer is lost."""

    def __init__(self) -> None:
        self.spoilt: Counter[str] = Counter()

    def __call__(self, call: str) -> Fault | None:
        step = STEPS.match(call)
        if step is None or random.random() > 1 / 3:
            return None
        # For a new thing a conflict would say that there is one of its name.
        how = ["lost", "InternalError"] if step[0].startswith("POST") else ["lost", "InternalError", "Conflict"]
        reason = random.choice(how)
        self.spoilt[f"{step[0]}: {reason}"] += 1
        if reason == "lost":
            return Fault(call, cut=0)
        status = 409 if reason == "Conflict" else 500
        return Fault(call, status=status, body=refusal(status, reason))


async def executed(place: Place, label: str) -> Counter[str]:
    """How often each command was, by its number."""
    ran = await place.items("configmaps", "counted", place.target)
    labels = [item["metadata"]["labels"]["counted"] for item in ran]
    return Counter(each.removeprefix(f"{label}-") for each in labels if each.startswith(label))


def pods_of(logs: Iterable[Path]) -> dict[str, set[str]]:
    """Which runs each pod had, by the audit logs of all replicas."""
    runs: dict[str, set[str]] = defaultdict(set)
    for entry in (json.loads(line) for log in logs for line in log.read_text().splitlines()):
        if entry["event"] == "run.ended" and entry.get("pod_uid"):
            runs[entry["pod_uid"]].add(entry["run_id"])
    return runs


async def to_end(client: Client, other: Client, command: str) -> Seen:
    """Of a run, on another replica where its own dies meanwhile."""
    stream: Stream | None = None
    try:
        async with client.stream(command) as stream:
            whole = await stream.to_end()
            return Seen(whole.stdout, whole.final)
    except httpx.TransportError:
        first = Transcript(stream.seen if stream else [])
    if not first.events:
        return Seen([], {})
    last = max((event.id or 0 for event in first.events), default=0)
    events, headers = f"/runs/{first.run_id}/events", {"Last-Event-ID": str(last)}
    with anyio.fail_after(90):
        while (status := (await other.http.get(f"/runs/{first.run_id}")).status_code) != 404:
            async with other.http.stream("GET", events, headers=headers) as response:
                if (status := response.status_code) == 200:
                    rest = await Stream(response).to_end()
                    return Seen(first.stdout + rest.stdout, rest.final, replicas=2)
            assert status in {404, 503}, status
            await anyio.sleep(0.5)
    return Seen([], {}, replicas=2)


@pytest.mark.timeout(600 if MANY else 180)
async def test_each_command_is_executed_once_however_many_claim_at_once(
    serve_warm: StartService, client_of: ClientOf, place: Place, tmp_path: Path
) -> None:
    services = [serve_warm(warm_pods=PODS, audit_log=tmp_path / str(number)) for number in range(3)]
    label = f"claims-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(service)) for service in services]
        await asyncio.gather(*(clients[number % 3].run("true") for number in range(PODS)))  # now so many are wanted
        await until_waiting(services[0], PODS)
        began = time.monotonic()
        seen = await asyncio.gather(
            *(
                clients[number % 3].run(f"{counted_cheaply(place, f'{label}-{number}')} && echo {number}")
                for number in range(CLAIMS)
            )
        )
        seconds = time.monotonic() - began
    assert [each.stdout for each in seen] == [[str(number)] for number in range(CLAIMS)]
    assert {json.dumps(each.final) for each in seen} == {json.dumps(DONE)}
    assert await executed(place, label) == {str(number): 1 for number in range(CLAIMS)}
    counts = {result: sum(asked(service, result) for service in services) for result in ("hit", "miss", "late")}
    assert counts["hit"] >= PODS
    await place.nothing_left(selector=ANY_RUN)
    logs = [tmp_path / str(number) for number in range(3)]
    # Of its end the log tells when a replica has seen that it was cleaned up.
    await run_sync(wait_for, lambda: len(pods_of(logs)) >= CLAIMS + PODS)
    assert len(pods_of(logs)) == CLAIMS + PODS
    assert all(len(runs) == 1 for runs in pods_of(logs).values())
    print(f"{CLAIMS} claims on {PODS} pods: {seconds:.0f} s; {counts}")


@pytest.mark.timeout(600 if MANY else 180)
async def test_none_is_executed_twice_or_lost_when_calls_of_claims_go_wrong(
    serve_warm: StartService, client_of: ClientOf, place: Place, proxy: ApiProxy, tmp_path: Path
) -> None:
    """What did not end well was never begun, and says so."""
    proxy.heal()
    noise, label = Noise(), f"spoilt-{secrets.token_hex(3)}"
    settings = {"kubeconfig": place.proxied_kubeconfig(proxy.url), "warm_pods": PODS}
    services = [serve_warm(**settings, audit_log=tmp_path / str(number)) for number in range(3)]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(service)) for service in services]
        await asyncio.gather(*(clients[number % 3].run("true") for number in range(PODS)))
        await until_waiting(services[0], PODS)
        proxy.heal()
        proxy.noise = noise
        runs = [
            asyncio.create_task(
                to_end(
                    clients[number % 3],
                    clients[(number + 1) % 3],
                    f"{counted_cheaply(place, f'{label}-{number}')} && echo {number}",
                )
            )
            for number in range(CLAIMS_WITH_FAULTS)
        ]
        if MANY:
            await run_sync(wait_for, lambda: sum(call.startswith("PATCH jobs/warm") for call in proxy.calls) > PODS)
            services[2].kill()
        seen = await asyncio.gather(*runs)
    proxy.heal()
    times = await executed(place, label)
    for number, each in enumerate(seen):
        if each.final == DONE:
            assert (each.stdout, times[str(number)]) == ([str(number)], 1)
        else:
            assert each.final.get("reason", "NotFound") in NEVER_BEGUN, each
            assert times[str(number)] == 0, each
    endings = Counter(each.final.get("reason", each.final.get("status", "unknown")) for each in seen)
    assert endings["done"] > CLAIMS_WITH_FAULTS / 2, endings
    assert noise.spoilt
    assert all(len(runs) == 1 for runs in pods_of(tmp_path / str(number) for number in range(3)).values())
    await place.nothing_left(selector=ANY_RUN, seconds=150)  # of a dead replica: its Lease, and the resume window
    print(f"{CLAIMS_WITH_FAULTS} claims on {PODS} pods with faults: {dict(endings)}; {dict(noise.spoilt)}")
