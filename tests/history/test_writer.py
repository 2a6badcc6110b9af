"""The history holds nothing up, and says what it misses: its database goes away while runs end, and comes back."""

import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from threading import Lock
from time import monotonic

import pytest
from anyio.to_thread import run_sync

from k8s_mcp.errors import StartError, Unavailable
from k8s_mcp.history.database import database
from k8s_mcp.history.history import History
from k8s_mcp.history.kept import pack, unpack
from k8s_mcp.history.store import Store
from k8s_mcp.history.writer import MOST_RUNS, MOST_WAITING, Keeping, Writer
from k8s_mcp.models import Control, Output
from k8s_mcp.observe.facts import RunStarted
from tests.history.rows import OWNER, ended, run_id
from tests.support.postgres import PASSWORD, Postgres
from tests.support.service import wait_for

KEPT = Keeping(seconds=86_400, command_bytes=100, prune_seconds=0.2)


class Counted:
    """What the metrics would have."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.runs = self.lost = 0
        self.there: bool | None = None

    def written(self, runs: int) -> None:
        with self._lock:
            self.runs += runs

    def missed(self, runs: int) -> None:
        with self._lock:
            self.lost += runs

    def reachable(self, *, is_so: bool) -> None:
        self.there = is_so


class Replica:
    """A history as one replica has it."""

    def __init__(self, url: str, keeping: Keeping = KEPT) -> None:
        self.counted = Counted()
        store = Store(database(url))
        self.history = History(store, keeping, Writer(store, keeping, self.counted), output=True)

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.history.observe(ended(number))

    async def has_written(self, runs: int) -> None:
        await run_sync(wait_for, lambda: self.counted.runs + self.counted.lost >= runs)


@pytest.fixture
def secretless(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG)
    yield caplog
    assert PASSWORD not in caplog.text


class Together:
    """Replicas at which as many runs end, each of its own."""

    def __init__(self, *replicas: Replica) -> None:
        self.replicas = replicas
        self.ended = 0

    def end(self, count: int) -> None:
        for each, replica in enumerate(self.replicas):
            first = each * MOST_RUNS + self.ended
            replica.end(*range(first, first + count))
        self.ended += count

    async def all_written(self) -> None:
        for replica in self.replicas:
            await replica.has_written(self.ended)

    async def end_until(self, number: int) -> None:
        """As many at a time as can wait."""
        while self.ended < number:
            self.end(min(500, number - self.ended))
            await self.all_written()


async def test_two_replicas_and_a_database_that_goes_away(
    postgres: Postgres, secretless: pytest.LogCaptureFixture
) -> None:
    """10,000 runs end; for a time nothing can be written. What did not fit into the queues is missed, and said."""
    url, too_many = postgres.new(), 250
    async with AsyncExitStack() as stack:
        both = Together(Replica(url), Replica(url))
        for replica in both.replicas:
            await stack.enter_async_context(replica.history.open())
        await both.end_until(2500)
        with postgres.away():
            both.end(MOST_WAITING + too_many)
            for replica in both.replicas:
                assert replica.counted.lost == too_many
                await run_sync(wait_for, lambda replica=replica: replica.counted.there is False)
                with pytest.raises(Unavailable, match="the history cannot be read"):
                    await replica.history.one(run_id(1))
        await both.all_written()
        await both.end_until(MOST_RUNS // 2)
        for replica in both.replicas:
            assert (replica.counted.runs, replica.counted.lost) == (MOST_RUNS // 2 - too_many, too_many)
            found = await replica.history.past(OWNER, None, None, 20_000)
            there = [run.spec.run_id for run in found.runs]
            assert len(there) == len(set(there)) == MOST_RUNS - 2 * too_many
            assert [missed.runs for missed in found.missed] == [too_many] * 2, "either tells of both"
    said = secretless.text
    assert said.count("the history cannot be written; what ends meanwhile waits") == 2
    assert said.count("the history misses runs from now on") == 2
    assert said.count(f"the history misses {too_many} runs that ended until") == 2


async def test_a_service_begins_and_ends_without_its_database(
    postgres: Postgres, secretless: pytest.LogCaptureFixture
) -> None:
    replica = Replica(postgres.new())
    with postgres.away():
        async with replica.history.open():
            replica.end(1, 2)
            with pytest.raises(Unavailable):
                await replica.history.past(OWNER, None, None, 10)
    assert replica.counted.lost == 2
    assert "the service ends, and the history misses its last 2 runs" in secretless.text


async def test_a_database_that_says_nothing_holds_nothing_up(
    postgres: Postgres, secretless: pytest.LogCaptureFixture
) -> None:
    url = postgres.new()
    impatient = replace(KEPT, answer_seconds=0.5)
    for beforehand in (True, False):
        replica, began = Replica(url, impatient), monotonic()
        async with AsyncExitStack() as stack:
            if beforehand:
                await stack.enter_async_context(replica.history.open())
                replica.end(1)
                await replica.has_written(1)
            began = monotonic()
            stack.enter_context(postgres.frozen())
            async with AsyncExitStack() as service:
                if not beforehand:
                    await service.enter_async_context(replica.history.open())
                replica.end(*range(2, 10))
                for _ in range(5):  # more than there are threads
                    with pytest.raises(Unavailable):
                        await replica.history.one(run_id(1))
                    replica.history._away_until = 0  # pyright: ignore[reportPrivateUsage]
        assert monotonic() < began + 20
    assert "the history misses its last" in secretless.text


async def test_a_later_version_ends_the_start_and_nothing_else(url: str) -> None:
    store = Store(database(url))
    session = store.connect()
    session.ask("UPDATE k8s_mcp_history SET version = 99")
    session.close()
    with pytest.raises(StartError, match="a later version of the service has used it"):
        async with Replica(url).history.open():
            pass


async def test_what_a_database_does_not_take_holds_nothing_up(url: str, secretless: pytest.LogCaptureFixture) -> None:
    replica = Replica(url)
    odd, broken = ended(2), ended(4)
    odd = replace(odd, run=replace(odd.run, run_id="\ud800"))
    broken = replace(broken, outcome=replace(broken.outcome, amounts=None))
    async with replica.history.open():
        for fact in (ended(1), odd, ended(3), broken, ended(5)):
            replica.history.observe(fact)
        replica.history.observe(RunStarted(ended(6).run))  # nothing that has ended
        await replica.has_written(5)
        found = await replica.history.past(OWNER, None, None, 10)
        assert [run.spec.run_id for run in found.runs] == [run_id(number) for number in (5, 3, 1)]
    assert (replica.counted.runs, replica.counted.lost) == (3, 2)
    assert "the history does not take run" in secretless.text
    assert "the history failed at RunEnded" in secretless.text


async def test_what_is_too_old_is_not_found_and_goes(url: str) -> None:
    """The runs of these tests ended five hours ago."""
    replica = Replica(url, replace(KEPT, seconds=3600))
    async with replica.history.open():
        replica.end(1)
        await replica.has_written(1)
        assert (await replica.history.past(OWNER, None, None, 10)).runs == []
        assert await replica.history.one(run_id(1)) is None
    other = Replica(url, KEPT)
    async with other.history.open():
        assert await other.history.one(run_id(1)) is None


async def test_output_is_kept_with_its_times(url: str) -> None:
    events = (
        (0.25, Output("stdout", 1, 2, "é\n<b>\x1b[1m\u2028".encode())),
        (1.5, Control({"status": "gap", "stream": None, "missing": 7}, 9)),
        (2.0, Control({"status": "done", "exit_code": 0}, 10, final=True)),
    )
    assert unpack(pack(events)) == list(events)
    replica = Replica(url)
    async with replica.history.open():
        replica.history.observe(ended(1, sent=events))
        await replica.has_written(1)
        assert await replica.history.output(run_id(1)) == list(events)
        assert await replica.history.output(run_id(2)) is None
        found = await replica.history.one(run_id(1))
        assert found
        assert found.has_output
