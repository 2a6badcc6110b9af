"""The log of a run's events: bounded, and every reader gets each line once or is told that it is missing."""

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8s_mcp.models import Control, Ended, Event, Output, StreamName, final_event, gap
from k8s_mcp.runs.eventlog import EventLog, Reader

CAPACITY = 10_000
FINAL = 200  # bytes, in the account of the log; the final event is added over the bound
T = TypeVar("T")
WIDE = 1 << 30
MANY = settings(max_examples=100, deadline=None)
STARTED = Control({"status": "started"})
PENDING = Control({"status": "pending"})


def block(first_id: int, count: int = 1, stream: StreamName = "stdout", width: int = 10) -> Output:
    """Lines that tell their own id."""
    lines = [b"%d" % number + b"." * width for number in range(first_id, first_id + count)]
    return Output(stream, first_id, count, b"\n".join(lines))


def final(event_id: int) -> Control:
    return final_event(Ended("done", 0), 300, event_id)


def ids(events: Sequence[Event]) -> list[int]:
    """The id of every line; it is the one that the line itself tells."""
    told: list[int] = []
    for event in events:
        if isinstance(event, Output):
            lines = event.data.split(b"\n")
            assert [int(line.rstrip(b".")) for line in lines] == list(range(event.first_id, event.last_id + 1))
            told += range(event.first_id, event.last_id + 1)
    return told


def missing(events: Sequence[Event]) -> list[int]:
    """The ids that gaps speak of."""
    gaps = [event for event in events if isinstance(event, Control) and event.data["status"] == "gap"]
    return [number for event in gaps for number in range((event.id or 0) - amount(event) + 1, (event.id or 0) + 1)]


def amount(event: Control) -> int:
    value = event.data["missing"]
    assert isinstance(value, int)
    return value


async def all_of(reader: Reader) -> list[Event]:
    """Read to the end."""
    seen: list[Event] = []
    while events := await reader.next():
        seen += events
    return seen


async def read(log: EventLog, after: int | None = None) -> list[Event]:
    with log.reader(after) as reader:
        return await all_of(reader)


async def settle() -> None:
    """Let all other tasks go on until each waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def write(log: EventLog, events: Sequence[Event], end: int) -> None:
    for event in events:
        await log.append(event)
    log.end(final(end))


async def filled(events: Sequence[Event], end: int, capacity: int = WIDE) -> EventLog:
    """A log that has ended and did not wait for anybody."""
    log = EventLog(capacity)
    log.stop_waiting()
    await write(log, events, end)
    return log


async def within_reason(work: Awaitable[T]) -> T:
    """Not a measure of speed: what waits longer waits for ever."""
    async with asyncio.timeout(30):
        return await work


async def test_a_reader_gets_every_event_in_order_and_then_nothing() -> None:
    events: list[Event] = [STARTED, PENDING, block(1, 3), block(4, 2, "stderr"), gap("stdout", 2, 7), block(8)]
    log = await filled(events, 9)
    with log.reader(None) as reader:
        assert await all_of(reader) == [*events, final(9)]
        assert await reader.next() == []


async def test_a_reader_that_waits_gets_what_comes() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        for number in range(1, 5):
            waiting = asyncio.ensure_future(reader.next())
            await settle()
            assert not waiting.done()
            await log.append(block(number))
            assert await waiting == [block(number)]


async def test_an_end_comes_to_a_reader_that_waits_for_events() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        waiting = asyncio.ensure_future(all_of(reader))
        await settle()
        log.end(final(1))
        assert await within_reason(waiting) == [final(1)]


@MANY
@given(st.lists(st.integers(1, 5), max_size=6), st.integers(0, 40))
@example([5], 2)
async def test_a_replay_gives_exactly_what_is_behind_an_id_even_within_a_block(counts: list[int], after: int) -> None:
    events: list[Event] = [STARTED, PENDING]
    end = 1
    for count in counts:
        events += [block(end, count, "stdout" if count % 2 else "stderr"), PENDING]
        end += count
    seen = await read(await filled(events, end), after)
    assert ids(seen) == list(range(after + 1, end))
    assert [event for event in seen if isinstance(event, Control)] == [final(end)]


async def test_a_replay_repeats_gaps_but_neither_started_nor_pending() -> None:
    log = await filled([STARTED, block(1, 2), PENDING, gap("stderr", 3, 5), PENDING, block(6)], 7)
    assert await read(log, 0) == [block(1, 2), gap("stderr", 3, 5), block(6), final(7)]
    assert await read(log, 2) == [gap("stderr", 3, 5), block(6), final(7)]
    assert await read(log, 5) == [block(6), final(7)]
    assert await read(log, 7) == [final(7)], "which comes to everybody"


async def test_a_fast_reader_costs_no_more_than_the_capacity() -> None:
    log = EventLog(CAPACITY)
    seen: list[Event] = []
    largest = 0
    with log.reader(None) as reader:
        for number in range(1, 1001):
            await within_reason(log.append(block(number, width=number % 400)))
            largest = max(largest, log.size)
            seen += await reader.next()
    assert ids(seen) == list(range(1, 1001))
    assert largest <= CAPACITY


async def test_the_writer_waits_for_a_slow_reader_and_loses_nothing() -> None:
    log = EventLog(CAPACITY)
    events = [block(number, width=100) for number in range(1, 1001)]
    seen: list[Event] = []
    with log.reader(None) as reader:
        writer = asyncio.ensure_future(write(log, events, 1001))
        while batch := await within_reason(reader.next()):
            seen += batch
            await settle()
            assert log.size <= CAPACITY + FINAL
            assert writer.done() or len(ids(seen)) < 990
        await writer
    assert ids(seen) == list(range(1, 1001))


async def test_at_most_half_of_the_capacity_is_for_what_nobody_has_taken() -> None:
    log = EventLog(CAPACITY)
    writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
    await settle()
    assert not writer.done()
    assert CAPACITY / 4 < log.size <= CAPACITY / 2
    seen = await within_reason(read(log))
    assert ids(seen) == list(range(1, 1001))
    await writer


async def test_what_was_taken_is_kept_for_a_replay_as_far_as_there_is_room() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
        await within_reason(all_of(reader))
        await writer
    assert CAPACITY / 2 < log.size <= CAPACITY + FINAL
    seen = await read(log, 980)
    assert ids(seen) == list(range(981, 1001))


async def test_an_event_larger_than_the_capacity_passes() -> None:
    log = EventLog(CAPACITY)
    writer = asyncio.ensure_future(write(log, [block(number, width=3 * CAPACITY) for number in range(1, 5)], 5))
    assert ids(await within_reason(read(log))) == [1, 2, 3, 4]
    await writer


async def test_the_slower_of_two_readers_holds_the_writer_until_it_leaves() -> None:
    log = EventLog(CAPACITY)
    writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
    with log.reader(None) as fast:
        with log.reader(None):
            fast_task = asyncio.ensure_future(all_of(fast))
            await settle()
            assert not writer.done()
            assert log.size <= CAPACITY / 2
        assert ids(await within_reason(fast_task)) == list(range(1, 1001))
    await writer


async def test_nothing_waits_for_who_only_watches_and_they_are_told_what_they_missed() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None, watching=True) as slow, log.reader(None) as reader:
        writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
        assert ids(await within_reason(all_of(reader))) == list(range(1, 1001))
        await within_reason(writer)
        seen = await within_reason(all_of(slow))
    assert missing(seen) + ids(seen) == list(range(1, 1001))
    assert missing(seen)


async def test_what_only_watchers_have_read_was_read_by_nobody() -> None:
    log = EventLog(CAPACITY)
    writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
    with log.reader(None, watching=True) as watcher:
        await settle()
        assert ids(await watcher.next())
        waiting = asyncio.ensure_future(watcher.next())
        await settle()
        assert not writer.done(), "what comes next waits for somebody who follows"
        assert ids(await within_reason(read(log))) == list(range(1, 1001))
        assert ids(await within_reason(waiting))
    await within_reason(writer)
    short = EventLog(CAPACITY)
    short.end(final(1))
    with short.reader(None, watching=True) as watcher:
        await all_of(watcher)
    assert not short.read_to_end
    await read(short)
    assert short.read_to_end


async def test_two_readers_get_the_same() -> None:
    log = EventLog(CAPACITY)
    events = [block(number, width=100) for number in range(1, 501)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        first = group.create_task(read(log))
        second = group.create_task(read(log, 100))
        group.create_task(write(log, events, 501))
    assert ids(first.result()) == list(range(1, 501))
    assert ids(second.result()) == list(range(101, 501))


@pytest.mark.parametrize("after", [None, 0, 1, 500, 900])
async def test_a_reader_is_told_exactly_what_was_forgotten(after: int | None) -> None:
    log = await filled([block(number, width=100) for number in range(1, 1001)], 1001, CAPACITY)
    assert log.size <= CAPACITY + FINAL
    seen = await read(log, after)
    told = seen[0]
    kept = ids(seen)
    assert isinstance(told, Control)
    assert told == gap("stdout", kept[0] - 1 - (after or 0), kept[0] - 1)
    assert missing(seen) + kept == list(range((after or 0) + 1, 1001))
    assert len(missing(seen)) + len(kept) == 1000 - (after or 0)


async def test_a_reader_of_what_is_still_there_is_told_of_no_gap() -> None:
    log = await filled([block(number, width=100) for number in range(1, 1001)], 1001, CAPACITY)
    assert missing(await read(log, 990)) == []
    assert ids(await read(log, 990)) == list(range(991, 1001))


@pytest.mark.parametrize(
    ("forgotten", "stream"),
    [
        ([block(1, 2, "stderr")], "stderr"),
        ([block(1), block(2, 1, "stderr")], None),
        ([block(1), gap("stderr", 1, 2)], None),
        ([block(1), gap("stdout", 1, 2)], "stdout"),
        ([STARTED, block(1, 2)], "stdout"),
    ],
)
async def test_a_gap_names_the_stream_if_it_is_of_one_only(forgotten: list[Event], stream: StreamName | None) -> None:
    log = await filled([*forgotten, block(3, width=CAPACITY)], 4, CAPACITY)
    assert await read(log, 0) == [gap(stream, 2, 2), block(3, width=CAPACITY), final(4)]


async def test_events_without_an_id_are_forgotten_without_a_gap() -> None:
    log = await filled([STARTED, PENDING, block(1, width=CAPACITY)], 2, CAPACITY)
    assert await read(log) == [block(1, width=CAPACITY), final(2)]


async def test_a_reader_overtaken_by_forgetting_goes_on_behind_a_gap() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        await log.append(block(1, 5))
        assert ids(await reader.next()) == [1, 2, 3, 4, 5]
        log.stop_waiting()
        await write(log, [block(number, width=100) for number in range(6, 1001)], 1001)
        seen = await within_reason(all_of(reader))
    assert missing(seen) + ids(seen) == list(range(6, 1001))


async def test_from_stop_waiting_on_a_waiting_writer_goes_on() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None):
        writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
        await settle()
        assert not writer.done()
        log.stop_waiting()
        await within_reason(writer)
        assert log.size <= CAPACITY + FINAL


async def test_the_end_and_what_is_added_at_once_do_not_wait() -> None:
    log = EventLog(CAPACITY)
    await log.append(block(1, width=CAPACITY))
    log.add(block(2, width=CAPACITY))
    log.end(final(3))
    assert ids(await read(log)) == [1, 2]


async def test_a_cancelled_next_loses_nothing() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        await log.append(block(1))
        assert ids(await reader.next()) == [1]
        for _ in range(2):
            waiting = asyncio.ensure_future(reader.next())
            await settle()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await log.append(block(2))
        log.end(final(3))
        assert ids(await within_reason(all_of(reader))) == [2]


async def test_a_cancelled_append_adds_nothing_and_the_log_goes_on() -> None:
    log = EventLog(CAPACITY)
    await log.append(block(1, width=CAPACITY))
    waiting = asyncio.ensure_future(log.append(block(2)))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    writer = asyncio.ensure_future(write(log, [block(3)], 4))
    assert ids(await within_reason(read(log))) == [1, 3]
    await writer


async def test_read_to_end_is_true_once_a_reader_passed_the_final_event_on() -> None:
    log = await filled([block(1)], 2)
    assert not log.read_to_end
    with log.reader(None) as reader:
        assert await reader.next() == [block(1), final(2)]
        assert not log.read_to_end
    assert not log.read_to_end, "it left before it said so"
    with log.reader(1) as reader:
        assert await reader.next() == [final(2)]
        assert await reader.next() == []
        assert log.read_to_end


async def test_a_closed_log_lets_its_readers_go_without_a_final_event() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        await log.append(block(1))
        waiting = asyncio.ensure_future(all_of(reader))
        await settle()
        assert not waiting.done()
        log.close()
        assert await within_reason(waiting) == [block(1)]
    assert await read(log) == [block(1)]
    assert not log.read_to_end


async def test_read_to_end_is_not_true_before_the_end() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as reader:
        await log.append(block(1))
        await reader.next()
        waiting = asyncio.ensure_future(reader.next())
        await settle()
        assert not log.read_to_end
        log.end(final(2))
        assert await waiting == [final(2)]


async def test_a_reader_that_claims_ids_nobody_has_given_yet_does_not_hold_the_writer() -> None:
    log = EventLog(CAPACITY)
    with log.reader(10**9) as reader:
        waiting = asyncio.ensure_future(all_of(reader))
        await settle()
        await within_reason(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
        assert await within_reason(waiting) == [final(1001)]


async def test_a_reader_that_comes_back_having_seen_everything_lets_the_writer_go_on() -> None:
    log = EventLog(CAPACITY)
    writer = asyncio.ensure_future(write(log, [block(number, width=100) for number in range(1, 1001)], 1001))
    await settle()
    with log.reader(None) as reader:
        last = ids(await reader.next())[-1]
    await settle()
    assert not writer.done(), "its connection broke before it said that it passed them on"
    assert ids(await within_reason(read(log, last))) == list(range(last + 1, 1001))
    await writer


async def test_idle_readers_wait_and_do_not_wake_each_other() -> None:
    log = EventLog(CAPACITY)
    with log.reader(None) as first, log.reader(10**9) as second:
        tasks = [asyncio.ensure_future(all_of(reader)) for reader in (first, second)]
        await log.append(block(1))
        await settle()
        woken: list[int] = []
        tasks.append(asyncio.ensure_future(watch(log, woken)))
        await settle()
        assert woken == []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def watch(log: EventLog, woken: list[int]) -> list[Event]:
    while True:
        await log.changed()
        woken.append(1)


PAUSES = st.lists(st.integers(0, 12), min_size=1, max_size=6)
READERS = st.lists(st.tuples(st.none() | st.integers(0, 80), st.integers(0, 60), PAUSES), min_size=1, max_size=3)


@MANY
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 300)), max_size=60), PAUSES, READERS)
async def test_whenever_readers_come_and_however_slow_they_are_they_get_everything_once(
    blocks: list[tuple[int, int]],
    writer_pauses: list[int],
    readers: list[tuple[int | None, int, list[int]]],
) -> None:
    log = EventLog(CAPACITY)
    ends = [1, *(1 + sum(count for count, _ in blocks[: n + 1]) for n in range(len(blocks)))]
    events = [
        block(start, end - start, width=width)
        for (start, end), (_, width) in zip(pairwise(ends), blocks, strict=True)
    ]

    async def writing() -> None:
        for number, event in enumerate(events):
            await pause(writer_pauses, number)
            await log.append(event)
            assert log.size <= CAPACITY + FINAL
        log.end(final(ends[-1]))

    async def reading(after: int | None, late: int, pauses: list[int]) -> list[Event]:
        for _ in range(late):
            await asyncio.sleep(0)
        seen: list[Event] = []
        with log.reader(after) as reader:
            while batch := await reader.next():
                seen += batch
                await pause(pauses, len(seen))
        return seen

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        tasks = [group.create_task(reading(*reader)) for reader in readers]
        group.create_task(writing())
    for (after, _, _), task in zip(readers, tasks, strict=True):
        seen = task.result()
        assert missing(seen) + ids(seen) == list(range((after or 0) + 1, ends[-1]))
        assert seen[-1] == final(ends[-1])


async def pause(pauses: list[int], number: int) -> None:
    for _ in range(pauses[number % len(pauses)]):
        await asyncio.sleep(0)


async def test_the_end_is_behind_what_was_seen_elsewhere() -> None:
    """Whoever knows fewer lines than a client has seen does not take it for one that has seen the end."""
    log = EventLog(1000)
    log.end(Control({"status": "cancelled"}, 1, final=True), whole=False)
    with log.reader(None) as new, log.reader(5) as back:
        assert await new.next() == [Control({"status": "cancelled"}, 1, final=True)]
        assert await back.next() == [Control({"status": "cancelled"}, 6, final=True)]
        assert await back.next() == []
