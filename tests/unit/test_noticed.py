"""What is noticed of objects: from the watch and from our own list, and how it shows that the watch has stopped."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import pytest
from servicedb.errors import Busy
from servicedb.kube.client import ApiError, KubeClient
from servicedb.kube.resources import DATABASE_SERVERS, MIGRATION_RUNS, SERVICE_DATABASES, Key, collection
from servicedb.reconcile import noticed
from servicedb.reconcile.noticed import Watched
from servicedb.reconcile.world import Noticed, World
from servicedb.settings import Settings

ORDERS, INVOICES = Key(SERVICE_DATABASES, "shop", "orders"), Key(SERVICE_DATABASES, "shop", "invoices")
RUN, OTHER_RUN = Key(MIGRATION_RUNS, "shop", "orders"), Key(MIGRATION_RUNS, "shop", "orders-too")
MAIN = Key(DATABASE_SERVERS, "", "main")
NO_CRD = ApiError(404, "NotFound", "the server could not find the requested resource", {})
FORBIDDEN = ApiError(403, "Forbidden", "no", {})
AWAY = Busy("ApiServerUnreachable", "the Kubernetes API server does not answer")


def body(key: Key, version: int = 1, *, uid: str = "uid-1", **changes: Any) -> dict[str, Any]:
    """An object as the API server shows it; `changes` are those of its metadata."""
    metadata = {"name": key.name, "uid": uid, "resourceVersion": str(version), "generation": 1, **changes}
    if key.namespace:
        metadata["namespace"] = key.namespace
    return {"metadata": metadata, "spec": {"serverRef": {"name": "main"}} if key.plural == SERVICE_DATABASES else {}}


def run_body(key: Key, *, database: str = "orders") -> dict[str, Any]:
    return body(key) | {"spec": {"databaseRef": {"name": database}}}


class Cluster:
    """An API server that lists what it is given, or fails as it is told."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.failures: dict[str, Exception] = {}
        self.while_listing: Callable[[], None] = lambda: None

    async def list(self, path: str) -> AsyncIterator[Mapping[str, Any]]:
        for key, one in list(self.objects.items()):
            if path == collection(key.plural):
                yield one
        self.while_listing()
        self.while_listing = lambda: None
        if path in self.failures:
            raise self.failures[path]

    async def get(self, path: str) -> Mapping[str, Any] | None:
        if path in self.failures:
            raise self.failures[path]
        return next((one for key, one in self.objects.items() if key.path == path), None)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class TwoPauses:
    """The pauses of a loop that goes on for ever; at the second it is cancelled."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.at_first: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == 2:
            raise asyncio.CancelledError
        self.at_first()


@pytest.fixture
def two_pauses(monkeypatch: pytest.MonkeyPatch) -> TwoPauses:
    pauses = TwoPauses()
    monkeypatch.setattr(asyncio, "sleep", pauses.sleep)
    return pauses


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def enqueued() -> list[Key]:
    return []


@pytest.fixture
def later() -> dict[Key, float]:
    return {}


@pytest.fixture
def world(cluster: Cluster, enqueued: list[Key], later: dict[Key, float]) -> World:
    return World(
        cast(KubeClient, cluster), Settings(), "cluster-1", enqueue=enqueued.append, enqueue_after=later.__setitem__
    )


@pytest.fixture
def watched(world: World) -> Watched:
    return Watched(world)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(noticed, "time", clock)
    return clock


async def list_all(watched: Watched, *, spread: float = 0.0) -> None:
    """One of the lists that keep_listing makes."""
    await watched._list((SERVICE_DATABASES, DATABASE_SERVERS), spread=spread)


def test_a_new_object_is_worked_on_and_known_by_its_server(watched, world, enqueued):
    watched.seen(ORDERS, body(ORDERS))
    assert enqueued == [ORDERS]
    assert world.databases == {ORDERS: Noticed("main", "uid-1", 1)}
    assert world.of_server("main") == [ORDERS]


def test_a_server_is_no_database(watched, world, enqueued):
    watched.seen(MAIN, body(MAIN))
    assert enqueued == [MAIN]
    assert world.databases == {}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="status"),
        pytest.param({"managedFields": [{"manager": "kubectl"}]}, id="managedFields"),
    ],
)
def test_a_change_that_does_not_concern_us_enqueues_nothing(watched, enqueued, changes):
    watched.seen(ORDERS, body(ORDERS))
    watched.seen(ORDERS, {**body(ORDERS, 2, **changes), "status": {"observedGeneration": 1}})
    assert enqueued == [ORDERS]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"generation": 2}, id="spec"),
        pytest.param({"annotations": {"servicedb.io/reconcile-at": "now"}}, id="annotation"),
        pytest.param({"deletionTimestamp": "2025-03-01T12:00:00Z"}, id="deletion"),
        pytest.param({"uid": "uid-2"}, id="made again"),
        pytest.param({"labels": {"team": "shop"}}, id="labels, by which a BackupSchedule selects"),
    ],
)
def test_a_change_that_concerns_us_is_worked_on(watched, enqueued, changes):
    watched.seen(ORDERS, body(ORDERS))
    watched.seen(ORDERS, body(ORDERS, 2, **changes))
    assert enqueued == [ORDERS, ORDERS]


def test_an_object_whose_spec_can_not_be_read_is_noticed_all_the_same(watched, world):
    watched.seen(ORDERS, {**body(ORDERS), "spec": None})
    assert world.databases == {ORDERS: Noticed("", "uid-1", 1)}


def test_a_deleted_object_is_looked_at_and_forgotten(watched, world, enqueued):
    watched.seen(ORDERS, body(ORDERS))
    watched.deleted(ORDERS, {})
    assert enqueued == [ORDERS, ORDERS]
    assert world.databases == {}
    watched.seen(ORDERS, body(ORDERS))
    assert enqueued == [ORDERS] * 3


async def test_the_list_has_everything_looked_at_servers_first(watched, cluster, world, enqueued):
    cluster.objects = {key: body(key) for key in (ORDERS, INVOICES, MAIN)}
    await list_all(watched)
    assert enqueued[0] == MAIN
    assert set(enqueued) == {MAIN, ORDERS, INVOICES}
    assert set(world.databases) == {ORDERS, INVOICES}


async def test_later_lists_are_spread(watched, cluster, enqueued, later):
    cluster.objects = {key: body(key) for key in (ORDERS, MAIN)}
    await list_all(watched)
    enqueued.clear()
    cluster.objects[INVOICES] = body(INVOICES)
    await list_all(watched, spread=300.0)
    assert set(enqueued) == {INVOICES, MAIN}  # not known yet, and a server: at once
    assert set(later) == {ORDERS, INVOICES}
    assert all(0 <= seconds <= 300 for seconds in later.values())


async def test_what_the_list_lacks_is_looked_at_and_forgotten(watched, cluster, world, enqueued):
    cluster.objects = {key: body(key) for key in (ORDERS, INVOICES, MAIN)}
    await list_all(watched)
    enqueued.clear()
    del cluster.objects[INVOICES]
    await list_all(watched)
    assert sorted(enqueued) == sorted([ORDERS, INVOICES, MAIN])
    assert set(world.databases) == {ORDERS}


async def test_what_comes_while_it_lists_is_not_forgotten(watched, cluster, world):
    cluster.while_listing = lambda: watched.seen(ORDERS, body(ORDERS))
    await list_all(watched)
    assert set(world.databases) == {ORDERS}


@pytest.mark.parametrize("plural", [SERVICE_DATABASES, DATABASE_SERVERS])
async def test_a_missing_crd_drops_nothing(watched, cluster, world, enqueued, plural):
    cluster.objects = {key: body(key) for key in (ORDERS, MAIN)}
    await list_all(watched)
    enqueued.clear()
    cluster.objects = {key: one for key, one in cluster.objects.items() if key.plural != plural}
    cluster.failures[collection(plural)] = NO_CRD
    await list_all(watched)
    assert set(world.databases) == {ORDERS}
    assert enqueued == list(cluster.objects)


async def test_without_the_crd_of_runs_databases_and_servers_are_listed(watched, cluster, world, enqueued):
    cluster.objects = {key: body(key) for key in (ORDERS, MAIN)}
    cluster.failures[collection(MIGRATION_RUNS)] = NO_CRD
    await watched._list((MIGRATION_RUNS, SERVICE_DATABASES, DATABASE_SERVERS), spread=0.0)
    assert (watched._missing, enqueued) == ({MIGRATION_RUNS}, [MAIN, ORDERS])


async def test_a_database_that_becomes_ready_or_gets_another_spec_has_its_runs_looked_at(watched, enqueued):
    watched.seen(RUN, run_body(RUN))
    watched.seen(OTHER_RUN, run_body(OTHER_RUN, database="invoices"))
    watched.seen(ORDERS, body(ORDERS))
    enqueued.clear()
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    for version in (2, 3):
        watched.seen(ORDERS, body(ORDERS, version) | ready)
    assert enqueued == [RUN]
    watched.seen(ORDERS, body(ORDERS, 4, generation=2) | ready)
    assert enqueued == [RUN, RUN, ORDERS]


async def test_when_a_run_goes_the_others_of_its_database_are_looked_at(watched, enqueued, world):
    for key in (RUN, OTHER_RUN):
        watched.seen(key, run_body(key))
    enqueued.clear()
    watched.deleted(RUN, {})
    assert enqueued == [RUN, OTHER_RUN]
    assert set(world.runs) == {OTHER_RUN}


@pytest.mark.parametrize("failure", [FORBIDDEN, AWAY], ids=["forbidden", "away"])
async def test_a_list_that_fails_drops_nothing(watched, cluster, world, enqueued, failure):
    cluster.objects = {ORDERS: body(ORDERS)}
    await list_all(watched)
    enqueued.clear()
    cluster.objects = {}
    cluster.failures[collection(SERVICE_DATABASES)] = failure
    with pytest.raises(type(failure)):
        await list_all(watched)
    assert set(world.databases) == {ORDERS}
    assert enqueued == []


async def test_listing_goes_on_after_a_failure(watched, cluster, two_pauses):
    cluster.failures[collection(SERVICE_DATABASES)] = AWAY
    two_pauses.at_first = cluster.failures.clear
    with pytest.raises(asyncio.CancelledError):
        await watched.keep_listing()
    failed, listed = two_pauses.seconds
    assert failed == 5.0
    assert 540.0 <= listed <= 660.0
    assert watched.listed


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("plural", [SERVICE_DATABASES, DATABASE_SERVERS])
async def test_a_kind_that_was_missing_is_listed_soon_and_alone_until_the_watch_tells_of_it(
    watched, cluster, world, enqueued, two_pauses, caplog, plural, is_told
):
    cluster.objects = {key: body(key) for key in (ORDERS, MAIN)}
    cluster.failures[collection(plural)] = NO_CRD

    def its_crd_comes() -> None:
        cluster.failures.clear()
        assert enqueued == [key for key in (ORDERS, MAIN) if key.plural != plural]
        enqueued.clear()
        if is_told:
            (key,) = (key for key in (ORDERS, MAIN) if key.plural == plural)
            watched.seen(key, body(key))

    two_pauses.at_first = its_crd_comes
    with pytest.raises(asyncio.CancelledError):
        await watched.keep_listing()
    soon, then = two_pauses.seconds
    assert soon == 5.0
    assert 535.0 <= then <= 660.0 if is_told else then == 5.0
    assert enqueued == ([] if is_told else [key for key in (ORDERS, MAIN) if key.plural == plural])
    assert [record.getMessage() for record in caplog.records] == [f"the CRD {plural}.servicedb.io is not installed"]


async def test_a_kind_that_stays_missing_is_said_once(watched, cluster, caplog):
    cluster.failures[collection(SERVICE_DATABASES)] = NO_CRD
    for _ in range(3):
        await list_all(watched)
    assert len(caplog.records) == 1
    cluster.failures.clear()
    await list_all(watched)
    cluster.failures[collection(SERVICE_DATABASES)] = NO_CRD
    await list_all(watched)
    assert len(caplog.records) == 2


async def test_a_watch_that_delivers_what_was_listed_has_no_lag(watched, cluster, clock):
    cluster.objects = {ORDERS: body(ORDERS, 7)}
    await list_all(watched)
    clock.now = 59.0
    assert (watched.lag(), watched.healthy) == (59.0, True)
    watched.seen(ORDERS, body(ORDERS, 7))
    clock.now = 1000.0
    assert (watched.lag(), watched.healthy) == (0.0, True)


async def test_a_watch_that_stays_behind_is_unhealthy(watched, cluster, clock):
    watched.seen(ORDERS, body(ORDERS, 6))
    cluster.objects = {ORDERS: body(ORDERS, 7)}
    await list_all(watched)
    watched.seen(ORDERS, body(ORDERS, 6))
    clock.now = 30.0
    await list_all(watched)
    clock.now = 60.0
    assert (watched.lag(), watched.healthy) == (60.0, False)


async def test_what_was_delivered_before_is_not_owed(watched, cluster, clock):
    watched.seen(ORDERS, body(ORDERS, 7))
    cluster.objects = {ORDERS: body(ORDERS, 7)}
    await list_all(watched)
    clock.now = 1000.0
    assert watched.lag() == 0.0


@pytest.mark.parametrize("how", ["deleted", "not listed"])
async def test_an_object_that_is_gone_is_not_owed(watched, cluster, clock, how):
    cluster.objects = {ORDERS: body(ORDERS, 7)}
    await list_all(watched)
    cluster.objects = {}
    if how == "deleted":
        watched.deleted(ORDERS, {})
    else:
        await list_all(watched)
    clock.now = 1000.0
    assert watched.healthy


@pytest.mark.parametrize(
    ("there", "failures", "lag"),
    [
        pytest.param([ORDERS], {}, 40.0, id="there: the watch owes it"),
        pytest.param([], {}, 0.0, id="gone"),
        pytest.param([ORDERS], {ORDERS.path: NO_CRD}, 0.0, id="its CRD is gone"),
        pytest.param([ORDERS], {ORDERS.path: AWAY}, 0.0, id="the API server is away"),
    ],
)
@pytest.mark.usefixtures("two_pauses")
async def test_what_is_owed_for_long_is_checked(cluster, clock, there, failures, lag):
    watched = Watched(World(cast(KubeClient, cluster), Settings(), "cluster-1"))
    cluster.objects = {ORDERS: body(ORDERS, 7)}
    await list_all(watched)
    cluster.objects = {key: body(key, 7) for key in there}
    cluster.failures = failures
    clock.now = 40.0
    with pytest.raises(asyncio.CancelledError):
        await watched.keep_checking()
    assert watched.lag() == lag
