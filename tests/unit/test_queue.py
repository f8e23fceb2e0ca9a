"""The queue: no key twice at once, no change forgotten, and failures spaced out."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.reconcile.queue import TryAgain, WorkQueue

ORDERS, INVOICES = Key(SERVICE_DATABASES, "shop", "orders"), Key(SERVICE_DATABASES, "shop", "invoices")
SECONDS = 30.0
"""Longer than any of this takes; nothing waits for it but a test that fails."""


class Bench:
    """Work that waits until it is told how to end, and tells when it begins."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[Key] = asyncio.Queue()
        self.begun_count = 0
        self.at_work: dict[Key, int] = defaultdict(int)
        self._ends: dict[Key, asyncio.Future[float | None]] = {}

    async def work(self, key: Key) -> float | None:
        self.at_work[key] += 1
        assert self.at_work[key] == 1, "a key was worked on twice at once"
        self.begun_count += 1
        end: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._ends[key] = end
        self.begun.put_nowait(key)
        try:
            return await end
        finally:
            self.at_work[key] -= 1

    async def next(self) -> Key:
        return await asyncio.wait_for(self.begun.get(), SECONDS)

    def end(self, key: Key, *, after: float | None = None) -> None:
        self._ends.pop(key).set_result(after)

    def fail(self, key: Key, error: Exception) -> None:
        self._ends.pop(key).set_exception(error)

    async def settle(self) -> None:
        """Let everything run that can."""
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(
    work: Callable[[Key], Awaitable[float | None]], *, workers: int = 2, first_backoff: float = 0.001
) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(work, first_backoff=first_backoff)
    queue.start(workers)
    try:
        yield queue
    finally:
        await queue.stop(grace=0)


async def test_a_key_that_is_added_is_worked_on():
    bench = Bench()
    async with running(bench.work) as queue:
        queue.add(ORDERS)
        assert not queue.idle
        assert await bench.next() == ORDERS
        assert (queue.depth, queue.idle) == (0, False)
        bench.end(ORDERS)
        await bench.settle()
        assert queue.idle


async def test_a_key_that_waits_is_worked_on_once_however_often_it_is_added():
    bench = Bench()
    async with running(bench.work, workers=1) as queue:
        for _ in range(5):
            queue.add(ORDERS)
        assert queue.depth == 1
        await bench.next()
        bench.end(ORDERS)
        await bench.settle()
        assert bench.begun_count == 1


async def test_a_key_at_work_is_worked_on_once_more_and_never_twice_at_once():
    bench = Bench()
    async with running(bench.work, workers=4) as queue:
        queue.add(ORDERS)
        await bench.next()
        for _ in range(5):
            queue.add(ORDERS)
        await bench.settle()
        assert bench.begun_count == 1
        bench.end(ORDERS)
        assert await bench.next() == ORDERS
        bench.end(ORDERS)
        await bench.settle()
        assert bench.begun_count == 2


async def test_different_keys_are_worked_on_at_the_same_time():
    bench = Bench()
    async with running(bench.work, workers=2) as queue:
        queue.add(ORDERS)
        queue.add(INVOICES)
        assert {await bench.next(), await bench.next()} == {ORDERS, INVOICES}


async def test_no_more_keys_are_at_work_than_there_are_workers():
    bench = Bench()
    async with running(bench.work, workers=1) as queue:
        queue.add(ORDERS)
        queue.add(INVOICES)
        first = await bench.next()
        await bench.settle()
        assert (bench.begun_count, queue.depth) == (1, 1)
        bench.end(first)
        assert {first, await bench.next()} == {ORDERS, INVOICES}


async def test_the_work_says_when_to_come_again():
    bench = Bench()
    async with running(bench.work) as queue:
        queue.add(ORDERS)
        await bench.next()
        bench.end(ORDERS, after=0.0)
        assert await bench.next() == ORDERS


@pytest.mark.parametrize(
    "error",
    [TryAgain(), ValueError("a bug"), asyncio.CancelledError()],
    ids=["not finished", "bug", "a task that it had begun was cancelled"],
)
async def test_work_that_fails_is_tried_again_and_its_worker_lives(error):
    bench = Bench()
    async with running(bench.work, workers=1) as queue:
        queue.add(ORDERS)
        await bench.next()
        bench.fail(ORDERS, error)
        assert await bench.next() == ORDERS


async def test_only_a_bug_is_logged(caplog):
    bench = Bench()
    async with running(bench.work, workers=1) as queue:
        queue.add(ORDERS)
        await bench.next()
        bench.fail(ORDERS, TryAgain())
        await bench.next()
        assert not caplog.records
        bench.fail(ORDERS, ValueError("a bug"))
        await bench.next()
    assert [record.getMessage() for record in caplog.records] == ["the work on servicedatabases/shop/orders failed"]


class Timed(WorkQueue):
    """A queue that only notes for when it would have set its timers."""

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], **arguments: float) -> None:
        super().__init__(work, **arguments)
        self.asked: list[tuple[Key, float]] = []

    def add_after(self, key: Key, seconds: float) -> None:
        self.asked.append((key, seconds))
        self.add(key)


async def test_backoff_doubles_for_each_key_alone_and_ends_with_success():
    outcomes = {ORDERS: [True] * 3 + [False] + [True] * 2, INVOICES: [True]}
    done = asyncio.Event()

    async def work(key: Key) -> float | None:
        if not outcomes[key]:
            if not any(outcomes.values()):
                done.set()
            return None
        if outcomes[key].pop(0):
            raise TryAgain
        return 0.0

    queue = Timed(work, first_backoff=8.0, longest_backoff=20.0)
    queue.start(1)
    queue.add(ORDERS)
    queue.add(INVOICES)
    await asyncio.wait_for(done.wait(), SECONDS)
    await queue.stop(grace=SECONDS)
    delays = [seconds for key, seconds in queue.asked if key == ORDERS]
    bounds = [(4, 8), (8, 16), (10, 20), (0, 0), (4, 8), (8, 16)]
    assert len(delays) == len(bounds)
    for delay, (least, most) in zip(delays, bounds, strict=True):
        assert least <= delay <= most
    assert [4 <= seconds <= 8 for key, seconds in queue.asked if key == INVOICES] == [True]


@given(st.integers(1, 5000))
def test_a_backoff_never_exceeds_the_longest(failures):
    queue = WorkQueue(Bench().work, first_backoff=0.5, longest_backoff=300.0)
    queue._failures[ORDERS] = failures
    assert 0.25 <= queue._backoff(ORDERS) <= 300.0


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([3600.0, 0.0], id="sooner after later"),
        pytest.param([0.0, 3600.0], id="later after sooner"),
        pytest.param([3600.0, 0.0, 7200.0], id="in the middle"),
    ],
)
async def test_of_several_times_the_earliest_counts(times):
    bench = Bench()
    async with running(bench.work) as queue:
        for seconds in times:
            queue.add_after(ORDERS, seconds)
        assert len(queue._timers) == 1
        assert await bench.next() == ORDERS
        assert not queue._timers


async def test_a_time_that_has_come_does_not_stand_in_the_way_of_the_next():
    bench = Bench()
    async with running(bench.work) as queue:
        queue.add_after(ORDERS, 0.0)
        await bench.next()
        bench.end(ORDERS, after=0.0)
        await bench.next()
        assert bench.begun_count == 2


async def test_stop_lets_the_work_end_and_begins_nothing_new():
    bench = Bench()
    queue = WorkQueue(bench.work)
    queue.start(1)
    queue.add(ORDERS)
    await bench.next()
    queue.add(INVOICES)
    queue.add(ORDERS)
    queue.add_after(INVOICES, 0.0)
    stopping = asyncio.create_task(queue.stop(grace=SECONDS))
    await bench.settle()
    assert not stopping.done()
    bench.end(ORDERS)
    await asyncio.wait_for(stopping, SECONDS)
    await bench.settle()
    assert bench.begun_count == 1
    assert not bench.at_work[ORDERS]


async def test_stop_cancels_what_does_not_end_in_time():
    cancelled = asyncio.Event()
    begun = asyncio.Event()

    async def work(_: Key) -> float | None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return None

    queue = WorkQueue(work)
    queue.start(2)
    queue.add(ORDERS)
    await asyncio.wait_for(begun.wait(), SECONDS)
    await asyncio.wait_for(queue.stop(grace=0.0), SECONDS)
    assert cancelled.is_set()


async def test_after_a_stop_no_timer_is_left_behind():
    bench = Bench()
    queue = WorkQueue(bench.work, first_backoff=3600.0, longest_backoff=3600.0)
    queue.start(1)
    queue.add(ORDERS)
    await bench.next()
    stopping = asyncio.create_task(queue.stop(grace=SECONDS))
    await bench.settle()
    bench.fail(ORDERS, TryAgain())
    await asyncio.wait_for(stopping, SECONDS)
    assert not queue._timers


async def test_a_queue_that_was_never_started_stops():
    await WorkQueue(Bench().work).stop(grace=0.0)
