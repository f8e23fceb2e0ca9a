"""Scratch databases on real servers: made for one Job, useless for anything else, and gone with it."""

import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from servicedb.errors import Retryable, Terminal
from servicedb.kube import resources
from servicedb.plan.scratch import TIME_TO_COME, Scratch, scratch_database
from servicedb.plan.steps import CREATION, DELETION, CommentOnRole, CreateExtension, DropOwned, EndSessions, Step
from servicedb.plan.wanted import WantedExtension
from servicedb.reconcile.scratch import give_up_scratch, open_scratch

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.deleted import everything, marker_of, write_marker
from tests.postgres.killed import Moment, killed_doing
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site
from tests.postgres.server import Server


@pytest.fixture
def scratch() -> Scratch:
    return unused_scratch()


@pytest.fixture
def nothing_is_left(site: Site) -> Iterator[None]:
    before = everything(site)
    yield
    assert everything(site) == before


def unused_scratch() -> Scratch:
    return Scratch("main", NAMESPACE, f"verify-{secrets.token_hex(4)}", (WantedExtension("plpgsql", "pg_catalog"),))


async def opened(operator: Operator, scratch: Scratch) -> str:
    await operator.look()
    return await open_scratch(operator.world, scratch)


def session(site: Site, scratch: Scratch) -> psycopg.Connection[Any]:
    held = site.objects.secret(scratch.secret_name)
    return site.server.connect(held["user"], held["password"], held["dbname"])


def job(site: Site, scratch: Scratch, **status: Any) -> None:
    site.objects.put(resources.job(NAMESPACE, scratch.job), {"metadata": {"name": scratch.job}, "status": status})


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


async def test_it_is_made_for_a_job_and_goes_with_it(site: Site, scratch: Scratch, nothing_is_left: None) -> None:
    async with Operator(site.objects) as operator:
        assert await opened(operator, scratch) == scratch.secret_name
        with session(site, scratch) as restoring:
            restoring.execute("CREATE SCHEMA restored CREATE TABLE kept (id int)")
            restoring.execute("CREATE TABLE kept AS SELECT 1 AS one")
            with pytest.raises(InsufficientPrivilege):
                restoring.execute("CREATE ROLE another")
            query = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = session_user"
            assert restoring.execute(query).fetchone() == (False,)
        job(site, scratch)
        conditions = await operator.look()
        assert (conditions["Ready"].reason, conditions["Ready"].message) == ("Ready", "")
        assert site.objects.read()["/apis/servicedb.io/v1alpha1/databaseservers/main"]["status"]["databases"] == 0
        session(site, scratch).close()
        async with Operator(site.objects) as next_one:
            assert await opened(next_one, scratch) == scratch.secret_name
            session(site, scratch).close()
        job(site, scratch, **COMPLETE)
        assert (await operator.look())["Ready"].message == ""
        assert resources.secret(NAMESPACE, scratch.secret_name) not in site.objects.read()
        with pytest.raises(KeyError):
            session(site, scratch)


@on_versions(16)
@as_admin("createrole")
async def test_one_that_is_given_up_goes_although_its_job_is_there(
    site: Site, scratch: Scratch, nothing_is_left: None
) -> None:
    async with Operator(site.objects) as operator:
        await opened(operator, scratch)
        job(site, scratch)
        lingering = session(site, scratch)
        give_up_scratch(operator.world, scratch)
        await operator.look()
        with pytest.raises(psycopg.OperationalError), lingering:
            lingering.execute("SELECT 1")


@on_versions(18)
@as_admin("createrole")
async def test_one_whose_job_never_came_goes_when_that_has_had_its_time(
    site: Site, scratch: Scratch, nothing_is_left: None
) -> None:
    async with Operator(site.objects) as operator:
        await opened(operator, scratch)
        name = scratch_database(operator.world.cluster_uid, NAMESPACE, scratch.job)
    for age, stays in ((TIME_TO_COME - timedelta(minutes=1), True), (TIME_TO_COME, False)):
        since = (datetime.now(UTC) - age).isoformat()
        write_marker(site, name, replace(marker_of(site, name), since=since))
        async with Operator(site.objects) as operator:
            await operator.look()
        if stays:
            session(site, scratch).close()


@on_versions(16)
@as_admin("superuser")
async def test_no_more_is_taken_than_there_is_room_for(site: Site, scratch: Scratch) -> None:
    async with Operator(site.objects) as operator:
        await operator.look()
        with pytest.raises(Terminal, match=r"holds 2.0 GiB, and a verification on server \"main\" may take 1.0 GiB"):
            await open_scratch(operator.world, replace(scratch, expected_bytes=2 << 30, max_bytes=1 << 30))
        other = unused_scratch()
        await open_scratch(operator.world, other)
        with pytest.raises(Retryable, match="waits for them to go"):
            await open_scratch(operator.world, replace(scratch, expected_bytes=1 << 20, max_bytes=(1 << 20) + 1000))
        give_up_scratch(operator.world, other)
        await operator.look()
        await open_scratch(operator.world, replace(scratch, expected_bytes=1 << 20, max_bytes=1 << 20))
        give_up_scratch(operator.world, scratch)
        await operator.look()


def kills() -> list[Any]:
    made = [(kind, opened) for kind in CREATION if kind is not CreateExtension]
    dropped = [(kind, dropped_again) for kind in DELETION if kind not in (DropOwned, EndSessions, CommentOnRole)]
    places = [(15, Moment.BEFORE), (18, Moment.AFTER), (16, Moment.AFTER)]
    cases = [(*places[number % 3], *one) for number, one in enumerate([*made, *dropped])]
    return [
        pytest.param(version, moment, kind, work, id=f"pg{version}-{moment}-{kind.__name__}-{work.__name__}")
        for version, moment, kind, work in cases
    ]


async def dropped_again(operator: Operator, scratch: Scratch) -> None:
    await open_scratch(operator.world, scratch)
    give_up_scratch(operator.world, scratch)
    await operator.look()


@pytest.mark.parametrize(("version", "moment", "kind", "work"), kills())
async def test_killed_anywhere_nothing_of_it_is_left(
    servers: Callable[[int], Server],
    shared_site: Callable[[Server, str], Site],
    version: int,
    moment: Moment,
    kind: type[Step],
    work: Any,
) -> None:
    site, scratch = shared_site(servers(version), "createrole"), unused_scratch()
    before = everything(site)
    process = killed_doing(site.objects.file, partial(work, scratch=scratch), kind, moment)
    assert process.exitcode == -signal.SIGKILL
    job(site, scratch, **COMPLETE)
    async with Operator(site.objects) as operator:
        assert (await operator.look())["Ready"].reason == "Ready"
    assert everything(site) == before
    assert resources.secret(NAMESPACE, scratch.secret_name) not in site.objects.read()
