"""Deleting on real servers: everything of a database goes when its grace is over, and nothing else ever does."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from servicedb.plan.steps import DropDatabase, DropRole, Step
from servicedb.reconcile.drop import drop_what_is_due

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.deleted import (
    NOTHING,
    deletable,
    delete,
    everything,
    keep_a_row,
    kept,
    look,
    marker_of,
    there,
    write_marker,
)
from tests.postgres.fixtures import StartServer
from tests.postgres.provision import AT_ONCE, Operator, Site, full_spec, run, unused_name


async def test_a_deleted_database_leaves_nothing_behind(site: Site, database: str) -> None:
    neighbour = unused_name("neighbour")
    site.provision(neighbour)
    try:
        before = everything(site)
        site.provision(database, deletable(database, schemas=[{"name": "app"}], parameters={"work_mem": "8MB"}))
        keep_a_row(site, database)
        sessions = [site.login(database, role) for role in ("app", "migrator", "readOnly", "keeper")]
        secrets = [path for path in site.objects.read() if f"/secrets/{database.replace('_', '-')}-" in path]
        assert len(secrets) == 4
        delete(site, database)
        assert (await look(site)).reason == "Ready"
        assert there(site, database) == NOTHING
        assert everything(site) == before
        assert not site.objects.read().keys() & set(secrets)
        for session in sessions:
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
        site.login(neighbour, "app").close()
    finally:
        site.drop(neighbour)


async def test_within_its_grace_all_data_stays_and_nobody_gets_in(site: Site, database: str) -> None:
    site.provision(database, deletable(database, "7d"))
    keep_a_row(site, database)
    before = there(site, database)
    held = {role: site.secret(database, role) for role in ("app", "migrator")}
    session = site.login(database, "app", "postgres")  # it may as well be busy elsewhere
    delete(site, database)
    ready = await look(site, times=1)
    assert there(site, database) == before  # seen once, it may be a mistake
    ready = await look(site, times=3)
    marker = marker_of(site, database)
    assert (marker.deleted_at is not None, marker.released, marker.dropping) == (True, None, None)
    assert there(site, database) == (True, before[1], set())
    assert f"{database} (not before 2" in ready.message
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    for role, secret in held.items():
        assert site.secret(database, role) == {}
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            site.server.connect(secret["user"], secret["password"], database)
    site.provision(database, deletable(database, "7d"))
    assert (marker_of(site, database).let_go, marker_of(site, database).oid) == (False, marker.oid)
    assert there(site, database) == before
    assert kept(site, database) == [("still here",)]
    assert site.secret(database, "app")["password"] != held["app"]["password"]


async def test_policy_retain_drops_nothing_however_long_it_takes(site: Site, database: str) -> None:
    site.provision(database, full_spec(database, deletion={"policy": "Retain", "gracePeriod": "0s"}))
    with site.login(database, "app") as session:
        delete(site, database)
        await look(site, times=4)
        assert session.execute("SELECT 1").fetchone() == (1,)  # what is going on may end in its own time
    assert there(site, database)[0]
    assert there(site, database)[2] == set()
    assert marker_of(site, database).released is not None


@pytest.mark.parametrize(
    "marker_changes",
    [
        pytest.param({"grace": "soon"}, id="an unreadable grace"),
        pytest.param({"deleted_at": "long ago"}, id="an unreadable time"),
        pytest.param({"policy": "Retain"}, id="another policy"),
        pytest.param({"deleted_at": "2999-01-01T00:00:00+00:00"}, id="a time ahead"),
        pytest.param({"grace": "900000d"}, id="a long grace"),
    ],
)
@on_versions(16)
@as_admin("createrole")
async def test_what_is_not_due_is_not_dropped(site: Site, database: str, marker_changes: dict[str, Any]) -> None:
    site.provision(database, deletable(database, "7d"))
    delete(site, database)
    await look(site)
    write_marker(site, database, replace(marker_of(site, database), **marker_changes))
    await look(site, times=3)
    assert there(site, database)[0]


@on_versions(16)
@as_admin("createrole")
async def test_a_clock_of_the_operator_that_runs_ahead_drops_nothing(site: Site, database: str) -> None:
    site.provision(database, deletable(database, "1h"))
    delete(site, database)
    await look(site)
    async with Operator(site.objects, settings=AT_ONCE) as operator:
        operator.let_pass(timedelta(days=400))
        for _ in range(3):
            ready = (await operator.look())["Ready"]
    assert there(site, database)[0]
    assert ready.reason == "Ready"


@on_versions(16)
@as_admin("createrole")
async def test_an_object_that_is_back_is_seen_before_anything_is_dropped(site: Site, database: str) -> None:
    site.provision(database, deletable(database, "7d"))
    keep_a_row(site, database)
    delete(site, database)
    await look(site)
    write_marker(site, database, replace(marker_of(site, database), grace="0s"))
    site.want(database, deletable(database, "7d"))
    assert (await look(site, times=3)).reason == "Ready"
    assert marker_of(site, database).dropping is None
    site.provision(database, deletable(database, "7d"))
    assert kept(site, database) == [("still here",)]


@on_versions(16)
@as_admin("createrole")
async def test_nothing_is_dropped_by_a_marker_that_is_not_there_any_more(site: Site, database: str) -> None:
    site.provision(database, deletable(database, "7d"))
    delete(site, database)
    async with Operator(site.objects, settings=AT_ONCE) as operator:
        for _ in range(2):
            await operator.look()
        server = operator.world.servers["main"]
        server.markers[database] = replace(server.markers[database], grace="0s")
        await drop_what_is_due(server, operator.world)
    assert there(site, database)[0]
    assert marker_of(site, database).dropping is None


async def test_what_its_logins_left_elsewhere_goes_with_them(site: Site, database: str) -> None:
    before = everything(site)
    site.provision(database, deletable(database))
    with site.login(database, "readOnly", "postgres") as session:
        session.execute("SELECT lo_from_bytea(0, 'a large object')")
    delete(site, database)
    assert (await look(site)).reason == "Ready"
    assert there(site, database) == NOTHING
    assert everything(site) == before


async def test_a_neighbour_that_grants_it_something_does_not_hold_it_up(site: Site, database: str) -> None:
    neighbour = unused_name("neighbour")
    site.provision(neighbour)
    try:
        before = everything(site)
        site.provision(database, deletable(database))
        reader, group = f"{database}__readonly_a", f"{database}__ro"
        with site.login(neighbour, "migrator") as session:
            for statement in (
                "CREATE TABLE bait (word text)",
                "GRANT SELECT ON bait TO {reader} WITH GRANT OPTION",
                "GRANT SELECT ON bait TO {group}",
                "CREATE POLICY theirs ON bait TO {reader} USING (true)",
                "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}",
            ):
                names = {"reader": sql.Identifier(reader), "group": sql.Identifier(group)}
                session.execute(sql.SQL(statement).format(**names))
        delete(site, database)
        assert (await look(site)).reason == "Ready"
        assert there(site, database) == NOTHING
        with site.login(neighbour, "migrator") as session:
            session.execute("DROP TABLE bait")
        assert everything(site) == before
        async with Operator(site.objects) as operator:
            assert (await operator.bring(neighbour)).ready.reason == "Ready"
    finally:
        site.drop(neighbour)


async def test_what_a_dba_granted_it_is_the_dba_to_take_back(site: Site, database: str) -> None:
    site.provision(database, deletable(database))
    reader = sql.Identifier(f"{database}__readonly_a")
    with site.as_superuser() as dba:
        dba.execute("CREATE TABLE elsewhere (word text)")
        try:
            dba.execute(sql.SQL("GRANT SELECT ON elsewhere TO {}").format(reader))
            delete(site, database)
            ready = await look(site)
            if site.admin == site.server.superuser:
                assert there(site, database) == NOTHING
                return
            assert ready.reason == "DropBlocked"
            assert f'have a DBA run there: DROP OWNED BY "{database}__readonly_a"' in ready.message
            assert there(site, database)[0] is False
            site.want(database)
            async with Operator(site.objects) as operator:
                assert (await operator.bring(database)).reason == "BeingDropped"
            dba.execute(sql.SQL("DROP OWNED BY {}").format(reader))
            assert (await look(site, times=1)).reason == "Ready"  # though its object is there again
            assert there(site, database) == NOTHING
            async with Operator(site.objects) as operator:
                assert (await operator.bring(database)).reason == "Ready"
        finally:
            dba.execute("DROP TABLE elsewhere")


@pytest.mark.parametrize("data", [True, False], ids=["with data", "without data"])
async def test_a_copy_that_somebody_keeps_stops_it_before_anything_is_dropped(
    site: Site, database: str, data: bool
) -> None:
    site.provision(database, deletable(database))
    if data:
        keep_a_row(site, database)
    copy = f"{database}_copy"
    with site.as_superuser() as connection:
        text = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(database))
        connection.execute(text)
    try:
        roles = there(site, database)[1]
        delete(site, database)
        ready = await look(site, times=3)
        assert (ready.status, ready.reason) == ("True", "DropBlocked")
        assert f'role "{database}__owner" owns' in ready.message
        assert f'in database "{copy}"' in ready.message
        assert there(site, database) == (True, roles, set())
        assert marker_of(site, database).dropping is None
    finally:
        with site.as_superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(copy)))
    assert (await look(site, times=1)).reason == "Ready"
    assert there(site, database) == NOTHING


@on_versions(16)
@as_admin("createrole")
async def test_a_drop_that_is_held_up_is_told_while_releases_are_held_too(site: Site, database: str) -> None:
    others = [unused_name("held") for _ in range(4)]
    site.provision(database, deletable(database))
    try:
        with site.as_superuser(database):
            delete(site, database)
            assert (await look(site)).reason == "DropBlocked"
            for name in others:
                site.provision(name)
            for name in others:
                delete(site, name)
            ready = await look(site)
            assert (ready.status, ready.reason) == ("True", "ReleasesHeld")
            assert "4 ServiceDatabases are gone at once" in ready.message
            assert f'database "{database}" can\'t be dropped yet' in ready.message
    finally:
        for name in others:
            site.drop(name)


async def test_a_session_that_the_admin_may_not_end_holds_the_drop_up(site: Site, database: str) -> None:
    site.provision(database, deletable(database))
    delete(site, database)
    with site.as_superuser(database) as dba:
        ready = await look(site)
        if site.admin == site.server.superuser:
            assert there(site, database) == NOTHING
            return
        assert ready.reason == "DropBlocked"
        assert "being accessed by other users (There is 1 other session" in ready.message
        assert dba.execute("SELECT 1").fetchone() == (1,)
        assert marker_of(site, database).dropping is not None
    assert (await look(site, times=1)).reason == "Ready"
    assert there(site, database) == NOTHING


async def test_a_prepared_transaction_holds_the_drop_up_and_is_told(
    private_server: StartServer, tmp_path: Path
) -> None:
    server = private_server(16, settings={"max_prepared_transactions": "5"})
    site = Site.new(server, server.admin, tmp_path)
    site.provision("orders", deletable("orders"))
    with site.login("orders", "app") as session:
        session.execute("BEGIN; SELECT 1; PREPARE TRANSACTION 'forgotten'")
    delete(site, "orders")
    ready = await look(site)
    assert ready.reason == "DropBlocked"
    assert "while transactions stand prepared in it (1)" in ready.message
    with site.as_superuser("orders") as dba:
        dba.execute("ROLLBACK PREPARED 'forgotten'")
    assert (await look(site, times=1)).reason == "Ready"
    assert there(site, "orders") == NOTHING


@on_versions(15, 18)
async def test_a_database_that_was_renamed_or_replaced_is_left_alone(site: Site, database: str) -> None:
    site.provision(database, deletable(database))
    delete(site, database)
    other = f"{database}_old"
    name, old = sql.Identifier(database), sql.Identifier(other)
    with site.as_superuser() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(name, old))
    try:
        ready = await look(site)
        assert (ready.reason, f'now named "{other}"' in ready.message) == ("DropBlocked", True)
        with site.as_superuser() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
            connection.execute(sql.SQL("DROP DATABASE {}").format(old))
        ready = await look(site, times=1)
        assert (ready.reason, "another under its name" in ready.message) == ("DropBlocked", True)
        assert there(site, database)[0]
    finally:
        with site.as_superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(old))


async def test_an_object_made_again_while_its_database_is_dropped_gets_a_new_empty_one(
    site: Site, database: str
) -> None:
    site.provision(database, deletable(database))
    keep_a_row(site, database)
    oid = marker_of(site, database).oid
    delete(site, database)
    seen: list[str] = []

    def make_again(step: Step) -> None:
        if isinstance(step, DropDatabase):
            site.want(database, deletable(database))
        if isinstance(step, DropRole) and not seen:
            seen.append(run(brought()))

    async def brought() -> str:
        async with Operator(site.objects) as other:
            return (await other.bring(database)).reason

    await look(site, on_step=make_again)
    assert seen == ["LockBusy"]
    assert there(site, database) == NOTHING
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Ready"
    assert marker_of(site, database).oid != oid
    with pytest.raises(psycopg.errors.UndefinedTable):
        kept(site, database)
