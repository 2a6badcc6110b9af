"""A run that several replicas follow, with an execution whose standing the test decides."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from k8s_mcp.errors import Unavailable
from k8s_mcp.executors.base import Item, Pending, Released, SharedExecutor
from k8s_mcp.kubeconfig.redact import Redactor
from k8s_mcp.models import Control, Ended, Principal, RunSpec
from k8s_mcp.observe.facts import Happening, RunEnded, RunReleased, RunStarted, Target, run_facts
from k8s_mcp.recorded import Requests
from k8s_mcp.runner.frames import HELLO, STDOUT, Decoder, Encoder, Frame
from k8s_mcp.runs.limits import Limits
from k8s_mcp.runs.shared_run import SharedRun

SPEC = RunSpec(
    run_id="0" * 32,
    name=f"run-{'0' * 32}",
    owner="me",
    digest="d",
    server="https://cluster.example",
    timeout=60,
    created="2026-11-29T00:00:00.000Z",
    command="echo",
    stdin=None,
    kubeconfig="k",
    proxied_kubeconfig="p",
    contexts=("c",),
)
pytestmark = pytest.mark.anyio


def hello() -> Frame:
    [frame] = Decoder().feed(Encoder().control(HELLO))
    return frame


class Shared:
    """An execution: the test pushes items, and says whose it is. Notes what it is asked to do."""

    left = ""
    place: Mapping[str, str] = {}
    requests: Requests | None = None

    def __init__(self, *, owned: bool) -> None:
        self.owned = owned
        self.lost = not owned
        self.orphaned = False
        self.told_to_stop = False
        self.can_go_on = True
        self.followed_ago = float("inf")
        self.awaited = 0.0
        self.asked: list[str] = []
        self.items: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self.taken_over = True
        self._news = asyncio.Event()
        self._done = asyncio.Event()

    async def doing(self) -> None:
        """Wait until it is asked for something."""
        await self._done.wait()
        self._done.clear()

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self._done.set()

    def change(self, **what: Any) -> None:
        for name, value in what.items():
            setattr(self, name, value)
        self._news.set()
        self._news = asyncio.Event()

    async def changed(self) -> None:
        await self._news.wait()

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            item = await self.items.get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def stop(self) -> None:
        self._ask("stop")
        if self.owned:
            self.items.put_nowait(Ended("cancelled"))

    async def settle(self) -> None:
        self._ask("settle")

    async def take_over(self) -> bool:
        self._ask("take over")
        if self.taken_over:
            self.change(owned=True, lost=False, orphaned=False)
        return self.taken_over

    async def say_followed(self, window: float) -> None:
        self._ask(f"followed {window:g}")

    async def say_awaited(self, seconds: float) -> None:
        self._ask(f"awaited {seconds:g}")
        self.change(awaited=seconds)

    async def keep(self, status: str, seconds: float, *, always: bool) -> None:
        self._ask(f"keep {status} {seconds:g}{' always' if always else ''}")

    async def remove_read(self) -> None:
        self._ask("remove read")

    async def release(self) -> None:
        self._ask("release")


class Scene:
    """One run with its execution; `told` is what audit log and metrics hear."""

    def __init__(
        self, *, owned: bool, key: bool = False, ended: str = "", window: float = 30, accepting: bool = True
    ) -> None:
        self.shared = Shared(owned=owned)
        self.told: list[Happening] = []
        self.refuse = False
        self.begun = ""
        spec = replace(SPEC, ended=ended, **({"name": "run-key", "key": "run-key"} if key else {}))
        facts = run_facts(spec, Principal("me"), "http", Target("s"), str, adopted=not owned)
        limits = Limits(600, 5, window, 60, 1 << 20, 1 << 24)
        self.run = SharedRun(
            facts, spec, Redactor(()), limits, self._observe, cast("SharedExecutor", self), lambda: accepting
        )
        self.task = asyncio.create_task(self.run.carry_out(cast("SharedExecutor", self)))

    def _observe(self, happening: Happening) -> None:
        if self.refuse and isinstance(happening, RunStarted):
            raise Unavailable("the audit log is full")
        self.told.append(happening)

    @asynccontextmanager
    async def _opened(self, how: str) -> AsyncGenerator[Shared]:
        self.begun = how
        yield self.shared

    def start(self, _: RunSpec) -> Any:
        return self._opened("start")

    def follow(self, _: RunSpec) -> Any:
        return self._opened("follow")

    async def until(self, what: str) -> None:
        async with asyncio.timeout(5):
            while what not in self.shared.asked:
                await self.shared.doing()

    async def end(self) -> list[str]:
        async with asyncio.timeout(5):
            await self.task
        return self.shared.asked

    def kinds(self) -> list[type]:
        return [type(one) for one in self.told if isinstance(one, RunStarted | RunReleased)]


async def read(run: SharedRun, *, watching: bool = False) -> list[str]:
    """The statuses of the control events, to the end of the stream."""
    seen: list[str] = []
    with run.events(watching=watching) as reader:
        while events := await reader.next():
            seen += [str(event.data["status"]) for event in events if isinstance(event, Control)]
    return seen


async def settle() -> None:
    """Let everything happen that does not wait for something else."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_owner_settles_and_waits_until_the_end_is_read() -> None:
    scene = Scene(owned=True)
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    assert await scene.end() == ["settle"]
    assert scene.begun == "start"
    assert isinstance(scene.run.last_word(), RunEnded)


async def test_a_stop_is_known_when_the_cluster_has_it_and_not_before() -> None:
    """Of the owner's and of a follower's: what one replica alone knows goes with it."""
    scene = Scene(owned=False)
    reading = asyncio.create_task(read(scene.run))
    assert not await scene.run.stopped(0.05)
    await scene.until("stop")
    asking = asyncio.create_task(scene.run.stopped(5))
    await settle()
    assert not asking.done()
    scene.shared.change(told_to_stop=True)
    assert await asking
    scene.shared.items.put_nowait(Ended("cancelled"))
    assert await reading == ["cancelled"]
    await scene.end()
    assert await scene.run.stopped(0), "it has ended"


async def test_a_stop_of_a_run_that_is_let_go_is_for_others_to_be_told_of() -> None:
    scene = Scene(owned=False)
    asking = asyncio.create_task(scene.run.stopped(5))
    await settle()
    scene.run.release()
    assert not await asking
    await scene.end()


async def test_a_follower_writes_nothing_but_that_it_is_there_and_tells_nobody() -> None:
    scene = Scene(owned=False)
    reading = asyncio.create_task(read(scene.run))
    await scene.until("followed 30")
    scene.shared.items.put_nowait([hello()])
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await reading == ["done"]
    assert set(await scene.end()) == {"followed 30"}
    assert scene.begun == "follow"
    assert (scene.told, scene.run.last_word()) == ([], None)


async def test_that_it_is_followed_is_said_again_half_a_window_after_it_was_said_last() -> None:
    """Not half a window after it was looked at: that can be a whole window later, and the owner's patience over."""
    scene = Scene(owned=False, window=8)
    scene.shared.followed_ago = 3.9
    reading = asyncio.create_task(read(scene.run))
    async with asyncio.timeout(3):
        while scene.shared.asked.count("followed 8") < 2:
            await scene.shared.doing()
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await reading == ["done"]
    await scene.end()


@pytest.mark.parametrize("owned", [True, False])
async def test_a_client_that_comes_back_later_is_noted_where_all_replicas_see_it(owned: bool) -> None:
    scene = Scene(owned=owned, window=0)
    await settle()
    scene.run.linger(60)
    await scene.until("awaited 60")
    await settle()
    assert scene.shared.asked.count("awaited 60") == 1
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    await scene.end()


async def test_an_owner_waits_for_a_client_that_another_replica_awaits() -> None:
    scene = Scene(owned=True, window=0.1)
    scene.shared.change(awaited=60, followed_ago=30)
    await settle()
    scene.run._abandon()  # pyright: ignore[reportPrivateUsage] - as when nobody has followed it here for a while
    await settle()
    assert "stop" not in scene.shared.asked
    scene.shared.change(followed_ago=61)
    scene.run._abandon()  # pyright: ignore[reportPrivateUsage]
    await scene.until("stop")
    assert "keep cancelled 60" in await scene.end(), "nobody has read it, but somebody will"
    assert await read(scene.run) == ["cancelled"]


async def test_who_has_read_the_end_of_an_orphaned_run_sees_to_what_is_left_of_it() -> None:
    """Else it would stay, and count as one that goes on, for as long as it is awaited."""
    scene = Scene(owned=False)
    scene.shared.items.put_nowait([hello()])
    await settle()
    scene.shared.change(orphaned=True)
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    asked = await scene.end()
    assert "take over" in asked
    assert asked[-1] == "settle"
    assert isinstance(scene.run.last_word(), RunEnded)


async def test_that_a_client_comes_back_is_noted_when_the_run_is_let_go() -> None:
    scene = Scene(owned=True)
    scene.run.expected = 60
    await settle()
    scene.run.release()
    assert await scene.end() == ["awaited 60", "release"]


async def test_who_only_watches_on_another_replica_keeps_nothing_alive_and_sees_the_end() -> None:
    scene = Scene(owned=False, window=0.1)
    reading = asyncio.create_task(read(scene.run, watching=True))
    await settle()
    scene.run._abandon()  # pyright: ignore[reportPrivateUsage] - as when nobody has followed it here for a while
    scene.shared.items.put_nowait([hello()])
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await reading == ["done"]
    assert await scene.end() == []


@pytest.mark.parametrize("reader_left", [False, True])
async def test_who_only_watches_on_another_replica_is_not_waited_for(reader_left: bool) -> None:
    """Else a run with more output than is kept would never end there. A follower that has left may come back for a
    while; then nobody waits for it any more.
    """
    scene = Scene(owned=False, window=0.1)
    if reader_left:
        with scene.run.events():
            await settle()
    reading = asyncio.create_task(read(scene.run, watching=True))
    await settle()
    encoder, decoder = Encoder(), Decoder()
    scene.shared.items.put_nowait(decoder.feed(encoder.control(HELLO)))
    for _ in range(40):  # of which a part is kept, and half of that is waited for
        scene.shared.items.put_nowait(decoder.feed(encoder.output(STDOUT, b"x" * 65_535 + b"\n")))
    scene.shared.items.put_nowait(Ended("done", 0))
    async with asyncio.timeout(5):
        assert (await reading)[-1] == "done"
    await scene.end()


async def test_state_says_why_a_run_does_not_start_as_long_as_it_does_not() -> None:
    scene = Scene(owned=True)
    reading = asyncio.create_task(read(scene.run))
    scene.shared.items.put_nowait(Pending("ErrImagePull", "no such image"))
    await settle()
    state = scene.run.describe()
    assert (state["status"], state["reason"], state["message"]) == ("pending", "ErrImagePull", "no such image")
    scene.shared.items.put_nowait([hello()])
    await settle()
    state = scene.run.describe()
    assert (state["status"], state.get("reason")) == ("running", None)
    scene.shared.items.put_nowait(Ended("error", None, "OOMKilled", "too much"))
    assert await reading == ["pending", "error"]
    assert scene.run.describe()["reason"] == "OOMKilled"
    await scene.end()


async def test_a_run_with_a_key_stays_to_be_found_by_whoever_repeats_the_request() -> None:
    scene = Scene(owned=True, key=True)
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await scene.end() == ["settle", "keep done 30 always"]


async def test_a_follower_takes_an_orphan_over_and_ends_it() -> None:
    scene = Scene(owned=False)
    reading = asyncio.create_task(read(scene.run))
    await scene.until("followed 30")
    scene.shared.items.put_nowait([hello()])
    scene.shared.change(orphaned=True)
    await scene.until("take over")
    scene.shared.items.put_nowait(Ended("done", 3))
    assert await reading == ["done"]
    assert "settle" in await scene.end()
    assert scene.kinds() == [RunStarted]
    assert isinstance(scene.run.last_word(), RunEnded)


async def test_nobody_takes_over_while_the_service_ends_or_without_readers() -> None:
    ending, unread = Scene(owned=False, accepting=False), Scene(owned=False)
    reading = asyncio.create_task(read(ending.run))
    for scene in (ending, unread):
        scene.shared.change(orphaned=True)
        await asyncio.sleep(0.05)
        assert "take over" not in scene.shared.asked
        scene.shared.items.put_nowait(Released())
    assert await reading == []
    for scene in (ending, unread):
        await scene.end()
        assert scene.run.released
        assert scene.run.last_word() is None


async def test_who_has_not_the_request_of_a_run_that_never_started_leaves_it_to_others_for_a_while() -> None:
    without, having = Scene(owned=False, window=2), Scene(owned=False, window=2)
    without.shared.can_go_on = False
    readings = [asyncio.create_task(read(scene.run)) for scene in (without, having)]
    begin = asyncio.get_running_loop().time()
    for scene in (without, having):
        scene.shared.change(orphaned=True)
    await having.until("take over")
    assert "take over" not in without.shared.asked
    await without.until("take over")
    assert asyncio.get_running_loop().time() - begin > 1
    for scene in (without, having):
        scene.shared.items.put_nowait(Ended("done", 0))
        await scene.end()
    assert [await reading for reading in readings] == [["done"], ["done"]]


async def test_an_owner_that_loses_the_run_goes_on_following_it() -> None:
    scene = Scene(owned=True)
    reading = asyncio.create_task(read(scene.run))
    scene.shared.items.put_nowait([hello()])
    await asyncio.sleep(0.01)
    scene.shared.change(owned=False, lost=True)
    await scene.until("followed 30")
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await reading == ["done"]
    assert "settle" not in await scene.end()
    assert scene.kinds() == [RunReleased]
    assert scene.run.last_word() is None


async def test_a_note_that_the_run_is_to_end_is_the_owners_to_act_on() -> None:
    theirs, ours = Scene(owned=False), Scene(owned=True)
    for scene in (theirs, ours):
        scene.shared.items.put_nowait([hello()])
        await asyncio.sleep(0.01)
        scene.shared.change(told_to_stop=True)
    assert await read(ours.run) == ["cancelled"]
    assert await ours.end() == ["stop", "settle"]
    await asyncio.sleep(0.01)
    assert "stop" not in theirs.shared.asked
    theirs.run.release()
    await theirs.end()


async def test_whoever_takes_over_a_run_that_is_to_end_ends_it() -> None:
    scene = Scene(owned=False)
    reading = asyncio.create_task(read(scene.run))
    scene.run.stop()
    await scene.until("stop")
    scene.shared.change(orphaned=True, told_to_stop=True)
    assert await reading == ["cancelled"]
    assert (await scene.end()).count("stop") == 2


async def test_released_streams_end_without_an_end_and_the_run_is_let_go() -> None:
    scene = Scene(owned=True)
    reading = asyncio.create_task(read(scene.run))
    scene.shared.items.put_nowait([hello()])
    await asyncio.sleep(0.01)
    scene.run.release()
    assert await reading == []
    assert await scene.end() == ["release"]
    assert isinstance(scene.run.last_word(), RunReleased)


async def test_a_run_that_has_ended_is_left_to_be_read_when_the_service_ends() -> None:
    scene = Scene(owned=True)
    scene.shared.items.put_nowait(Ended("done", 0))
    await scene.until("settle")
    scene.run.release()
    assert await scene.end() == ["settle", "keep done 30"]
    assert isinstance(scene.run.last_word(), RunEnded)


async def test_the_owner_keeps_a_run_that_is_followed_elsewhere_and_cancels_it_when_that_ends() -> None:
    scene = Scene(owned=True, window=0)
    with scene.run.events():
        scene.shared.items.put_nowait([hello()])
        await asyncio.sleep(0.01)
        scene.shared.followed_ago = 1.9
    await asyncio.sleep(0.05)
    assert "stop" not in scene.shared.asked
    scene.shared.followed_ago = 2.1
    await scene.until("stop")
    await scene.end()


async def test_a_follower_that_nobody_reads_any_more_goes_away() -> None:
    scene = Scene(owned=False, window=0)
    scene.shared.items.put_nowait([hello()])
    with scene.run.events():
        await asyncio.sleep(0.01)
    assert await scene.end() == ["followed 2", "release"]
    assert scene.run.released


async def test_a_run_that_cannot_be_audited_is_not_carried_out() -> None:
    scene = Scene(owned=False)
    scene.refuse = True
    reading = asyncio.create_task(read(scene.run))
    await scene.until("followed 30")
    scene.shared.change(orphaned=True)
    assert await reading == []
    assert (await scene.end())[-1] == "release"


async def test_a_run_that_was_kept_is_removed_by_who_reads_its_end() -> None:
    scene = Scene(owned=False, ended="done")
    scene.shared.items.put_nowait([hello()])
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    assert (await scene.end())[-1] == "remove read"


async def test_a_run_that_was_kept_stays_for_who_asks_for_more_later() -> None:
    scene = Scene(owned=False, ended="done")
    scene.run.keep()
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    assert "remove read" not in await scene.end()


async def test_a_finished_run_holds_nothing_of_its_request() -> None:
    scene = Scene(owned=True)
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    await scene.end()
    scene.run.forget_request()
    spec, facts = scene.run.spec, scene.run.facts
    assert (spec.command, spec.stdin, spec.kubeconfig, spec.proxied_kubeconfig, facts.command) == (
        "",
        None,
        "",
        "",
        None,
    )


async def test_a_finished_run_holds_nothing_of_its_pod_but_what_was_asked_of_the_cluster() -> None:
    """Job and pod are ten times as large as the rest of a short run."""
    scene = Scene(owned=True)
    asked = scene.shared.requests = Requests(total=3, refused=1, complete=True, size=500)
    scene.shared.items.put_nowait(Ended("done", 0))
    assert await read(scene.run) == ["done"]
    await scene.end()
    size = scene.run.size
    scene.run.forget_request()
    execution = weakref.ref(scene.shared)
    del scene.shared
    gc.collect()
    assert execution() is None
    assert scene.run.requests == asked
    assert 500 < scene.run.size <= size
