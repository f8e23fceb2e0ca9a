"""A database that servicedb never made is adopted: it gets an owner role and logins, and nobody loses anything until
its entry in spec.adoptable is gone."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from servicedb.kube.resources import Key
from servicedb.plan.steps import Grant, Step
from servicedb.postgres.script import Planned
from servicedb.reconcile.preview import preview
from servicedb.reconcile.work import Work
from servicedb.reconcile.world import Noticed

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.deleted import marker_of
from tests.postgres.foreign import Foreign, applications, work
from tests.postgres.provision import Operator, Round, Site, key_of, unused_name
from tests.postgres.server import Server


@pytest.fixture(scope="module")
def original(server: Server, shared_site: Callable[[Server, str], Site]) -> Iterator[Foreign]:
    made = Foreign.new(shared_site(server, "superuser"), unused_name("legacy"))
    yield made
    made.remove()


@pytest.fixture
def foreign(original: Foreign, site: Site, database: str) -> Foreign:
    """A database of an application of years, for the cluster of `site`."""
    return original.copy(site, database)


@pytest.fixture
def adoptable(foreign: Foreign) -> Foreign:
    """The same, with all done that an admin does for its adoption."""
    foreign.grant_to_admin()
    foreign.list_adoptable()
    foreign.want()
    return foreign


async def bring(foreign: Foreign) -> Round:
    """One round of an operator just started."""
    async with Operator(foreign.site.objects) as operator:
        return await operator.bring(foreign.name)


async def adopt(foreign: Foreign) -> Round:
    done = await bring(foreign)
    assert done.reason == "Ready", done.message
    return done


async def test_objects_of_all_owners_end_under_the_owner_role_and_other_databases_stay(adoptable: Foreign) -> None:
    contents, elsewhere, before = adoptable.contents(), adoptable.elsewhere(), adoptable.owners()
    done = await adopt(adoptable)
    assert (done.in_sync, done.drift) == (True, [])
    after = adoptable.owners()
    assert {*after} == {*before}
    others = {name: owner for name, owner in after.items() if owner != adoptable.owner}
    assert others == {"monitoring pg_proc monitoring.users()": adoptable.site.server.superuser.name}
    assert adoptable.contents() == contents
    assert adoptable.elsewhere() == elsewhere
    with adoptable.site.login(adoptable.name, "app") as app:
        app.execute("INSERT INTO orders (total) VALUES (5)")
        assert app.execute("SELECT count(*) FROM app.report").fetchone() == (50,)
        app.execute("SELECT * FROM public.monthly, events_2a; CALL pay(2)")
    with adoptable.site.login(adoptable.name, "migrator") as migrator:
        migrator.execute("ALTER TABLE app.report ADD COLUMN new int; CREATE TABLE made_later (id int)")
    assert (await bring(adoptable)).changes == ()
    marker = marker_of(adoptable.site, adoptable.name)
    assert marker.shared_with == (adoptable.legacy, adoptable.reports)
    message = done.conditions["RolesReady"].message
    assert f"these may do whatever its owner role may: {adoptable.legacy}, {adoptable.reports}" in message


async def test_the_applications_of_before_work_on_through_it_and_no_more_when_the_entry_is_gone(
    adoptable: Foreign,
) -> None:
    failed: list[str] = []
    with applications(adoptable) as sessions, applications(adoptable) as others:
        failed += work(adoptable, sessions)
        over = threading.Event()

        def go_on() -> None:
            while not over.is_set():
                failed.extend(work(adoptable, others))

        at_work = threading.Thread(target=go_on)
        at_work.start()
        try:
            async with Operator(adoptable.site.objects) as operator:
                while (done := await operator.bring(adoptable.name)).reason != "Ready":
                    assert not done.stalled, done.message
        finally:
            over.set()
            await asyncio.to_thread(at_work.join)
        failed += work(adoptable, sessions)
        with applications(adoptable) as new:
            failed += work(adoptable, new)
        assert failed == []

        adoptable.tell_otherwise()
        told = await bring(adoptable)
        assert (told.reason, told.in_sync) == ("Ready", True)
        assert (await bring(adoptable)).changes == ()
        for role, statement in (
            ("legacy", "SELECT * FROM public.orders"),
            ("legacy", "DROP TABLE public.monthly"),
            ("reports", "SELECT * FROM app.report"),
            ("reader", "SELECT * FROM public.open_orders"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                sessions[role].execute(statement.encode())
    for role in ("legacy", "reports", "reader"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            adoptable.login(role)
    with adoptable.site.login(adoptable.name, "app") as app:
        app.execute("SELECT * FROM orders, app.report")
    assert marker_of(adoptable.site, adoptable.name).shared_with is None
    adoptable.list_adoptable()
    assert (await bring(adoptable)).changes == ()


async def test_what_they_make_meanwhile_is_taken_over_and_what_others_make_is_left_to_them(adoptable: Foreign) -> None:
    async with Operator(adoptable.site.objects) as operator:
        await operator.bring(adoptable.name)
        with applications(adoptable) as sessions:
            sessions["legacy"].execute("CREATE SCHEMA more; CREATE TABLE more.new (id serial)")
            sessions["reader"].execute("CREATE TABLE readers (id int)")
        done = await operator.bring(adoptable.name)
    owners = adoptable.owners()
    assert owners["more pg_class r new"] == owners["more pg_class S new_id_seq"] == adoptable.owner
    assert owners["public pg_class r readers"] == adoptable.reader
    assert done.drift == [
        f"table: 1 in schema public owned by {adoptable.reader}, not by {adoptable.owner}; left alone as long as "
        "spec.adoptable lists the database"
    ]
    with adoptable.site.login(adoptable.name, "app") as app:
        app.execute("INSERT INTO more.new DEFAULT VALUES")
    assert adoptable.reader not in marker_of(adoptable.site, adoptable.name).comment()


@as_admin("createrole")
async def test_a_table_in_use_is_passed_over_and_taken_when_it_is_free(adoptable: Foreign) -> None:
    with adoptable.login("legacy") as session:
        session.autocommit = False
        session.execute("SELECT * FROM monthly")
        done = await bring(adoptable)
        assert (done.reason, done.stalled) == ("ObjectBusy", False)
        assert done.message.startswith("table public.monthly is in use by a long transaction")
        session.rollback()
    owners = adoptable.owners()
    assert {name for name, owner in owners.items() if owner == adoptable.reports} == {
        "public pg_class r monthly",
        "public pg_type monthly",
    }
    await adopt(adoptable)


async def test_what_a_dba_has_to_do_first_is_said_in_statements_that_do_it(foreign: Foreign) -> None:
    foreign.list_adoptable()
    foreign.want()
    before = foreign.owners()
    needed = foreign.site.server.version >= 16 and foreign.site.admin != foreign.site.server.superuser
    for role in (foreign.legacy, foreign.reports) if needed else ():
        foreign.run(f"REVOKE {role} FROM {foreign.site.admin.name}")
    done = await bring(foreign)
    if needed:
        assert (done.reason, done.stalled, done.changes) == ("NotAdoptable", True, ())
        assert foreign.owners() == before
        statements = re.findall('GRANT "[^"]*" TO "[^"]*" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', done.message)
        assert len(statements) == 2
        foreign.run("; ".join(statements))
        done = await bring(foreign)
    assert done.reason == "Ready", done.message


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("ALTER TABLE monthly OWNER TO CURRENT_USER", 'table public.monthly belongs to the superuser "postgres"'),
        ("ALTER DATABASE orders OWNER TO CURRENT_USER", 'the database belongs to the superuser "postgres"'),
        ("ALTER SCHEMA public OWNER TO CURRENT_USER", 'schema public belongs to the superuser "postgres"'),
        ("ALTER DATABASE orders WITH ALLOW_CONNECTIONS false", "it takes no connections"),
        ("REVOKE CONNECT ON DATABASE orders FROM PUBLIC", "the admin may not connect to it"),
    ],
)
@as_admin("createrole")
async def test_what_can_not_be_adopted_whole_stays_as_it_is(adoptable: Foreign, statement: str, says: str) -> None:
    adoptable.run(statement, dbname="postgres" if "DATABASE" in statement else None)
    done = await bring(adoptable)
    assert (done.reason, done.stalled, done.changes) == ("NotAdoptable", True, ())
    assert says in done.message


@on_versions(15)
async def test_an_owner_that_does_not_inherit_is_to_be_changed_first(adoptable: Foreign) -> None:
    adoptable.run("ALTER ROLE reports NOINHERIT")
    done = await bring(adoptable)
    adoptable.run("ALTER ROLE reports INHERIT")
    assert done.reason == "NotAdoptable"
    assert f'ALTER ROLE "{adoptable.reports}" INHERIT' in done.message


@as_admin("createrole")
async def test_a_plan_shows_every_step_of_an_adoption_and_changes_nothing(adoptable: Foreign) -> None:
    before = adoptable.owners()
    adoptable.want(mode="Plan")
    planned = await bring(adoptable)
    assert (planned.reason, planned.changes) == ("Planned", ())
    assert adoptable.owners() == before
    lines = await plan_lines(adoptable)
    assert f'GRANT "{adoptable.owner}" TO "{adoptable.legacy}"' in "\n".join(lines)
    assert f'ALTER DATABASE "{adoptable.name}" OWNER TO "{adoptable.site.admin.name}"' in lines
    for named in ('TABLE "public"."orders"', 'SCHEMA "app"', 'TEXT SEARCH CONFIGURATION "public"."plain"'):
        assert f'ALTER {named} OWNER TO "{adoptable.owner}"' in lines
    assert not any(line.startswith("REVOKE") and adoptable.stem + "_" in line for line in lines)


async def plan_lines(foreign: Foreign) -> list[str]:
    """All lines of the plan: the status shows the first of them."""
    found: list[str] = []

    async def kept(work: Work) -> list[Planned]:
        lines = await preview(work)
        found.extend(line.text for line in lines)
        return lines

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("servicedb.reconcile.standing.preview", kept)
        await bring(foreign)
    return found


@as_admin("createrole")
async def test_a_marker_that_is_lost_meanwhile_cuts_nobody_off(adoptable: Foreign) -> None:
    await adopt(adoptable)
    before = marker_of(adoptable.site, adoptable.name)
    adoptable.run(f"COMMENT ON ROLE {adoptable.owner} IS NULL")
    await adopt(adoptable)
    assert marker_of(adoptable.site, adoptable.name) == before


@as_admin("createrole")
async def test_a_membership_that_is_lost_meanwhile_is_given_again(adoptable: Foreign) -> None:
    async with Operator(adoptable.site.objects) as operator:
        await operator.bring(adoptable.name)
        await operator.bring(adoptable.name)
        adoptable.run(f"REVOKE {adoptable.owner} FROM legacy GRANTED BY {adoptable.site.admin.name}")
        assert (await operator.bring(adoptable.name)).kinds() == {"Grant"}
    steps: list[Step] = []
    adoptable.run("ALTER ROLE reports RENAME TO reports_renamed")
    try:
        async with Operator(adoptable.site.objects, on_step=steps.append) as operator:
            assert (await operator.bring(adoptable.name)).reason == "Ready"
    finally:
        adoptable.run("ALTER ROLE reports_renamed RENAME TO reports")
    assert not any(isinstance(step, Grant) for step in steps)


@on_versions(16)
@as_admin("createrole")
async def test_whose_entry_comes_or_goes_is_looked_at_at_once(adoptable: Foreign) -> None:
    key, woken = key_of(adoptable.name), list[Key]()
    async with Operator(adoptable.site.objects) as operator:
        operator.world.databases[key] = Noticed("main", "uid")
        operator.world.enqueue = woken.append
        await operator.look()
        for change in (adoptable.tell_otherwise, adoptable.list_adoptable):
            woken.clear()
            change()
            await operator.look()
            assert woken == [key]
            await operator.look()
            assert woken == [key]
