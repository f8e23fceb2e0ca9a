"""The operator's beginning and end: what it waits for, and in which order it stops."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from servicedb.errors import Busy
from servicedb.kube.client import ApiError, KubeClient
from servicedb.kube.discovery import served
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES, Key, collection
from servicedb.reconcile import run as operator_run
from servicedb.reconcile.run import WatchEnded, run
from servicedb.settings import Settings

ORDERS = Key(SERVICE_DATABASES, "shop", "orders")
BODY = {
    "metadata": {"namespace": "shop", "name": "orders", "uid": "1", "resourceVersion": "1"},
    "spec": {"serverRef": {"name": "main"}},
}
KINDS = (DATABASE_SERVERS, SERVICE_DATABASES)
GROUPS = {"groups": [{"name": "apps"}, {"name": "servicedb.io"}]}


class Cluster:
    """An API server with one ServiceDatabase, that serves the kinds in `kinds`."""

    def __init__(self, kinds: tuple[str, ...] = KINDS) -> None:
        self.kinds = kinds
        self.asked_for_kinds = asyncio.Event()
        self.closed = False

    async def get(self, path: str) -> dict[str, Any] | None:
        return {"metadata": {"uid": "cluster-1"}} if path.endswith("/kube-system") else None

    async def list(self, path: str) -> AsyncIterator[dict[str, Any]]:
        if path == collection(SERVICE_DATABASES):
            yield BODY

    async def request(self, _: str, path: str) -> dict[str, Any]:
        self.asked_for_kinds.set()
        return GROUPS if path == "/apis" else {"resources": [{"name": name} for name in self.kinds]}

    async def close(self) -> None:
        self.closed = True


class LongWork:
    """Work that goes on until it is let go, with a task of its own."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.done = asyncio.Event(), asyncio.Event(), False

    async def __call__(self, _: Key) -> None:
        self.begun.set()
        await asyncio.gather(self.let_go.wait())
        self.done = True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()

    async def load(_: str | None) -> Cluster:
        return cluster

    monkeypatch.setattr(KubeClient, "load", load)
    monkeypatch.setattr(operator_run, "_LOOKS_AGAIN", 0.001)
    return cluster


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> LongWork:
    work = LongWork()
    monkeypatch.setattr(operator_run, "work_of", lambda _: work)
    return work


SETTINGS = Settings(http_host="127.0.0.1", http_port=0, workers=2)


async def test_the_watch_ends_after_the_work_however_often_a_signal_comes(cluster, work):
    done_before_the_watch = []

    async def watch(kube, watched, ready, stop):
        await stop.due.wait()
        done_before_the_watch.append(work.done)

    running = asyncio.create_task(run(SETTINGS, None, watch))
    await work.begun.wait()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        _, going_on = await asyncio.wait({running}, timeout=0.1)
        assert going_on
    work.let_go.set()
    await running
    assert done_before_the_watch == [True]
    assert cluster.closed


async def test_a_watch_that_fails_ends_the_operator_with_its_failure(cluster, work):
    async def watch(kube, watched, ready, stop):
        await work.begun.wait()
        work.let_go.set()
        raise RuntimeError("no watch")

    with pytest.raises(RuntimeError, match="no watch"):
        await run(SETTINGS, None, watch)
    assert (work.done, cluster.closed) == (True, True)


async def test_a_watch_that_a_removed_crd_ended_is_begun_anew(cluster, work):
    work.let_go.set()
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def watch(kube, watched, ready, stop):
        begun.put_nowait(None)
        if begun.qsize() < 3:
            raise WatchEnded("404 page not found")
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.due.wait()

    await run(SETTINGS, None, watch)
    assert begun.qsize() == 3


@pytest.mark.parametrize("kinds", [(), (DATABASE_SERVERS,), (SERVICE_DATABASES,)], ids=str)
async def test_the_watch_begins_when_both_kinds_are_served(cluster, work, kinds):
    cluster.kinds = kinds
    work.let_go.set()
    watching = asyncio.Event()

    async def watch(kube, watched, ready, stop):
        watching.set()
        assert cluster.kinds == KINDS
        await stop.due.wait()

    running = asyncio.create_task(run(SETTINGS, None, watch))
    for _ in range(3):
        cluster.asked_for_kinds.clear()
        await cluster.asked_for_kinds.wait()
    assert not watching.is_set()
    cluster.kinds = KINDS
    await watching.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running


async def test_an_operator_that_waits_for_its_kinds_ends_at_a_signal(cluster, work):
    cluster.kinds = ()
    work.let_go.set()

    async def watch(kube, watched, ready, stop):
        raise AssertionError("nothing is to be watched")

    running = asyncio.create_task(run(SETTINGS, None, watch))
    await cluster.asked_for_kinds.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running


@pytest.mark.parametrize(
    "failure",
    [Busy("ApiServerUnreachable", "no answer"), ApiError(404, "NotFound", "no such group", {})],
    ids=["away", "no such group"],
)
async def test_what_discovery_does_not_tell_is_not_served(failure):
    class Failing:
        async def request(self, _, path):
            if path == "/apis":
                return GROUPS
            raise failure

    assert not await served(cast(KubeClient, Failing()), KINDS)
