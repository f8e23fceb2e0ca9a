"""A database that is restored into, on real servers: nobody else is in it, and nobody is kept out for longer."""

import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable
from servicedb.kube import resources
from servicedb.plan.asking import asked_by_restore
from servicedb.plan.marker import Restored
from servicedb.plan.set_aside import name_aside
from servicedb.plan.steps import (
    REOPENING,
    RESTORING,
    SETTING_ASIDE,
    Step,
)
from servicedb.reconcile import database_restore
from servicedb.reconcile.restored import record, recorded
from servicedb.reconcile.set_aside import set_aside

from tests.postgres.asking import BACKUP_KEY, FOUND, ended, restore
from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.deleted import look
from tests.postgres.killed import Moment, killed_at
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site, full_spec, key_of, unused_name
from tests.postgres.server import Server

OTHERS = ("app", "migrator", "readOnly", "keeper")
RESTORED = "CREATE TABLE kept AS SELECT 'restored' AS word"


def is_let_in(site: Site, name: str, role: str) -> bool:
    try:
        site.login(name, role).close()
    except psycopg.OperationalError as error:
        if "not permitted to log in" not in str(error):
            raise
        return False
    return True


def sdb_of(site: Site, name: str) -> ServiceDatabase:
    return ServiceDatabase.parse(site.objects.read()[key_of(name).path])


async def test_while_it_is_restored_into_a_database_is_closed_to_all_others(site: Site, database: str) -> None:
    site.provision(database)
    passwords = site.passwords()
    session = site.login(database, "app")
    again = restore(site, database)
    async with Operator(site.objects) as operator:
        admitted = await operator.bring(database)
        assert (admitted.ready.status, admitted.ready.reason) == ("False", "Restoring"), admitted.message
        assert f'DatabaseRestore "{again.name}" restores into database "{database}"' in admitted.ready.message
        uid = site.objects.uid(again.path)
        assert admitted.status["restore"] == {"name": again.name, "uid": uid, "state": "Admitted"}
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            session.execute("SELECT 1")
        assert [is_let_in(site, database, role) for role in OTHERS] == [False] * 4
        with site.login(database, "restore") as restoring:
            restoring.execute(RESTORED)
        assert not (await operator.bring(database)).changes
    async with Operator(site.objects) as operator:  # which finds tables there
        assert (await operator.bring(database, heard=False)).ready.reason == "Restoring"
        assert [is_let_in(site, database, role) for role in OTHERS] == [False] * 4
        outcome = Restored(again.name, BACKUP_KEY, "sha256:abc", "2026-11-21T23:00:00+00:00")
        assert await recorded(operator.world, sdb_of(site, database)) is None
        for _ in range(2):
            await record(operator.world, sdb_of(site, database), outcome)
        ended(site, again, succeeded=True)
        opened = await operator.bring(database)
        assert opened.ready.reason == "Ready", opened.message
        assert opened.in_sync, opened.drift
        assert "restore" not in opened.status
        assert await recorded(operator.world, sdb_of(site, database)) == outcome
        assert site.passwords() == passwords
        for role in OTHERS:
            with site.login(database, role) as connection:
                assert connection.execute("SELECT word FROM kept").fetchone() == ("restored",)
        with site.as_superuser() as connection:
            query = "SELECT rolname FROM pg_roles WHERE rolname ~ %s"
            assert connection.execute(query, (f"{database}__restore_",)).fetchall() == []
        assert not (await operator.bring(database)).changes
    assert "DriftRepaired" not in {body.get("reason") for body in site.objects.read().values()}


@on_versions(16)
@as_admin("createrole")
async def test_a_database_that_holds_tables_is_left_to_those_who_use_it(site: Site, database: str) -> None:
    site.provision(database)
    restore(site, database)
    async with Operator(site.objects) as operator:
        with site.login(database, "migrator") as session:
            session.execute("CREATE SCHEMA reports CREATE TABLE monthly (id int)")
        refused = await operator.bring(database)
        assert refused.ready.reason == "Ready"
        assert not refused.changes
        assert refused.status["restore"]["state"] == "Refused"
        assert "is not empty (it holds reports.monthly, for one)" in refused.status["restore"]["message"]
        with site.login(database, "migrator") as session:
            session.execute("DROP SCHEMA reports CASCADE")
        assert (await operator.bring(database)).ready.reason == "Restoring"


@on_versions(16)
@as_admin("createrole")
async def test_after_a_restore_that_failed_it_stays_closed_until_a_person_takes_that_away(
    site: Site, database: str
) -> None:
    site.provision(database)
    first, second = restore(site, database), restore(site, database, called="once-more")
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).status["restore"]["name"] in (first.name, second.name)
        begun = (await operator.bring(database)).status["restore"]["name"]
        failed, other = (first, second) if begun == first.name else (second, first)
        ended(site, failed, succeeded=False)
        assert (await operator.bring(database)).status["restore"]["name"] == failed.name
        assert not is_let_in(site, database, "app")
        site.objects.remove(failed.path)
        await operator.bring(database)
        assert (await operator.bring(database)).status["restore"]["name"] == other.name
        site.objects.remove(other.path)
        assert (await operator.bring(database)).ready.reason == "Ready"
        assert is_let_in(site, database, "app")
        ended_early = restore(site, database)
        ended(site, ended_early, succeeded=False)  # before it was let in
        assert (await operator.bring(database)).ready.reason == "Ready"


@on_versions(16)
@as_admin("createrole")
async def test_a_new_database_is_born_closed_where_a_restore_waits_for_it(site: Site, database: str) -> None:
    site.want(database)
    again = restore(site, database)
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Restoring"
        assert site.secret(database, "app") == {}
        site.login(database, "restore").close()
        ended(site, again, succeeded=True)
        assert (await operator.bring(database)).ready.reason == "Ready"
        for role in OTHERS:
            site.login(database, role).close()


@on_versions(16)
@as_admin("createrole")
async def test_where_drift_is_only_reported_a_restore_comes_and_goes_as_well(site: Site, database: str) -> None:
    site.provision(database, full_spec(database, driftPolicy="Report"))
    again = restore(site, database)
    async with Operator(site.objects) as operator:
        for _ in range(2):
            restoring = await operator.bring(database)
            assert (restoring.ready.reason, restoring.drift) == ("Restoring", [])
        ended(site, again, succeeded=True)
        for _ in range(2):
            opened = await operator.bring(database)
            assert (opened.ready.reason, opened.drift) == ("Ready", [])
        assert is_let_in(site, database, "app")


@on_versions(16)
@as_admin("createrole")
async def test_an_overlap_that_was_going_on_ends_with_a_restore(site: Site, database: str) -> None:
    site.provision(database)
    before = site.secret(database, "app")
    site.want(database, annotations={"rotate-at": "now"})
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Ready"
        again = restore(site, database)
        assert (await operator.bring(database)).ready.reason == "Restoring"
        ended(site, again, succeeded=True)
        assert (await operator.bring(database)).ready.reason == "Ready"
        operator.let_pass(timedelta(hours=2))
        assert (await operator.bring(database)).in_sync
    assert is_let_in(site, database, "app")
    with pytest.raises(psycopg.OperationalError):
        site.server.connect(before["user"], before["password"], before["dbname"])


@on_versions(16)
@as_admin("createrole")
async def test_of_a_deleted_object_the_logins_of_guests_go_too(site: Site, database: str) -> None:
    site.provision(database)
    restore(site, database)
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        assert is_let_in(site, database, "restore")
        held = site.secret(database, "restore")
    site.objects.remove(key_of(database).path)
    await look(site)
    assert resources.secret(NAMESPACE, f"{key_of(database).name}-restore") not in site.objects.read()
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        site.server.connect(held["user"], held["password"], held["dbname"])


def kills(course: tuple[type[Step], ...], *, turn: int = 0) -> list[Any]:
    """Each kind of step once: before or after it, in turn. A death after one step is one before the next."""
    places = [(15, Moment.BEFORE), (18, Moment.AFTER)]
    return [
        pytest.param(version, kind, moment, id=f"pg{version}-{moment}-{kind.__name__}")
        for number, kind in enumerate(course, turn)
        for version, moment in (places[number % 2],)
    ]


@pytest.mark.parametrize(("version", "kind", "moment"), kills(RESTORING))
async def test_killed_anywhere_while_it_makes_room_the_next_one_lets_the_restore_in(
    servers: Callable[[int], Server],
    shared_site: Callable[[Server, str], Site],
    version: int,
    kind: type[Step],
    moment: Moment,
) -> None:
    site, name = shared_site(servers(version), "createrole"), unused_name("restored")
    try:
        site.provision(name)
        session = site.login(name, "app")
        restore(site, name)
        assert killed_at(site.objects.file, name, kind, moment).exitcode == -signal.SIGKILL
        async with Operator(site.objects) as operator:
            assert (await operator.bring(name)).ready.reason == "Restoring"
            assert not (await operator.bring(name)).changes
        assert [is_let_in(site, name, role) for role in OTHERS] == [False] * 4
        assert is_let_in(site, name, "restore")
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    finally:
        site.drop(name)


@pytest.mark.parametrize(("version", "kind", "moment"), kills(REOPENING))
async def test_killed_anywhere_while_it_reopens_the_next_one_lets_everybody_in(
    servers: Callable[[int], Server],
    shared_site: Callable[[Server, str], Site],
    version: int,
    kind: type[Step],
    moment: Moment,
) -> None:
    site, name = shared_site(servers(version), "createrole"), unused_name("reopened")
    try:
        site.provision(name)
        again = restore(site, name)
        async with Operator(site.objects) as operator:
            assert (await operator.bring(name)).ready.reason == "Restoring"
        with site.login(name, "restore") as session:
            session.execute(RESTORED)
        ended(site, again, succeeded=True)
        assert killed_at(site.objects.file, name, kind, moment).exitcode == -signal.SIGKILL
        async with Operator(site.objects) as operator:
            opened = await operator.bring(name)
            assert opened.ready.reason == "Ready", opened.message
            assert opened.in_sync
        for role in OTHERS:
            with site.login(name, role) as session:
                session.execute("SELECT * FROM kept")
        with site.as_superuser() as connection:
            query = "SELECT rolname FROM pg_roles WHERE rolname ~ %s"
            assert connection.execute(query, (f"{name}__restore_",)).fetchall() == []
        assert resources.secret(NAMESPACE, f"{key_of(name).name}-restore") not in site.objects.read()
    finally:
        site.drop(name)


@pytest.mark.parametrize(("version", "admin"), [(15, "createrole"), (16, "superuser"), (18, "createrole")])
async def test_what_was_in_the_way_is_kept_under_another_name_and_can_be_had_back(
    servers: Callable[[int], Server], shared_site: Callable[[Server, str], Site], version: int, admin: str
) -> None:
    site, name = shared_site(servers(version), admin), unused_name("kept")
    try:
        site.provision(name, full_spec(name, schemas=[{"name": "app"}]))
        with site.login(name, "migrator") as session:
            session.execute("CREATE TABLE app.kept AS SELECT 'of before' AS word")
        passwords = site.passwords()
        session = site.login(name, "app")
        again = restore(site, name, overwrite="RenameOld")
        aside = name_aside(name, site.objects.uid(again.path))
        async with Operator(site.objects) as operator:
            admitted = await operator.bring(name)
            assert (admitted.ready.reason, admitted.status["restore"]["state"]) == ("Restoring", "Admitted")
            with pytest.raises(psycopg.OperationalError), session:
                session.execute("SELECT 1")
            with site.login(name, "restore") as session:
                session.execute("CREATE TABLE app.kept AS SELECT 'restored' AS word")
            assert not (await operator.bring(name)).changes
            ended(site, again, succeeded=True)
            opened = await operator.bring(name)
            assert opened.ready.reason == "Ready", opened.message
            assert opened.in_sync
            assert site.passwords() == passwords
            for role in OTHERS:
                with site.login(name, role) as session:
                    assert session.execute("SELECT word FROM app.kept").fetchone() == ("restored",)
            assert not (await operator.bring(name)).changes
        async with Operator(site.objects) as operator:
            for _ in range(3):
                assert (await operator.look())["Ready"].message == ""
            assert not (await operator.bring(name)).changes
            spec = full_spec(aside, schemas=[{"name": "app"}])
            site.want(aside, spec)
            refused = await operator.bring(aside)
            assert f'database "{aside}" on server "main" was released by' in refused.message
            entry = {"databaseName": aside, "namespace": NAMESPACE, "name": key_of(aside).name}
            site.serve(adoptable=[entry])
            assert (await operator.bring(aside)).ready.reason == "Ready"
        for role in OTHERS:
            with site.login(aside, role) as session:
                assert session.execute("SELECT word FROM app.kept").fetchone() == ("of before",)
        site.serve(adoptable=[])
    finally:
        site.drop(aside)
        site.drop(name)


@pytest.mark.parametrize(("version", "kind", "moment"), [*kills(SETTING_ASIDE), *kills(SETTING_ASIDE, turn=1)])
async def test_killed_anywhere_while_it_sets_a_database_aside_nothing_is_lost(
    servers: Callable[[int], Server],
    shared_site: Callable[[Server, str], Site],
    version: int,
    kind: type[Step],
    moment: Moment,
) -> None:
    site, name = shared_site(servers(version), "createrole"), unused_name("aside")
    try:
        site.provision(name)
        with site.login(name, "migrator") as session:
            session.execute("CREATE TABLE kept AS SELECT 'of before' AS word")
        session = site.login(name, "app")
        again = restore(site, name, overwrite="RenameOld")
        aside = name_aside(name, site.objects.uid(again.path))
        assert killed_at(site.objects.file, name, kind, moment).exitcode == -signal.SIGKILL
        async with Operator(site.objects) as operator:
            assert (await operator.bring(name)).ready.reason == "Restoring"
            with pytest.raises(psycopg.OperationalError), session:
                session.execute("SELECT 1")
            with site.login(name, "restore") as restoring:
                restoring.execute(RESTORED)
            ended(site, again, succeeded=True)
            assert (await operator.bring(name)).ready.reason == "Ready"
        with site.login(name, "app") as session:
            assert session.execute("SELECT word FROM kept").fetchone() == ("restored",)
        with site.as_superuser() as connection:
            closed = "SELECT NOT datallowconn FROM pg_database WHERE datname = %s"
            assert connection.execute(closed, (aside,)).fetchone() == (True,)
            allowed = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(aside))
            connection.execute(allowed)
        with site.as_superuser(aside) as connection:
            assert connection.execute("SELECT word FROM kept").fetchone() == ("of before",)
    finally:
        site.drop(aside)
        site.drop(name)


@on_versions(16)
@as_admin("createrole")
async def test_a_restore_that_is_made_anew_leaves_the_database_that_it_has_filled_before(
    site: Site, database: str
) -> None:
    site.provision(database)
    first = restore(site, database, overwrite="RenameOld", source=FOUND)
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Restoring"
        with site.login(database, "restore") as session:
            session.execute(RESTORED)
        outcome = Restored(first.name, BACKUP_KEY, "sha256:abc", "2026-11-21T23:00:00+00:00")
        await record(operator.world, sdb_of(site, database), outcome)
        ended(site, first, succeeded=True)
        assert (await operator.bring(database)).ready.reason == "Ready"
        site.objects.remove(first.path)
        again = restore(site, database, overwrite="RenameOld", source=FOUND, found=False)
        await database_restore.reconcile(again, operator.world)
        status = site.objects.read()[again.path]["status"]
        assert {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]} == {
            "Ready": ("True", "AlreadyDone"),
            "Succeeded": ("True", "AlreadyDone"),
        }
        site.objects.remove(again.path)
        restore(site, database, overwrite="RenameOld")  # which its object has let in, all the same
        left = await operator.bring(database)
        assert (left.ready.reason, left.status["restore"]["state"]) == ("Ready", "Refused"), left.message
        assert not left.changes
        another = restore(site, database, called="another", overwrite="RenameOld")
        asked = asked_by_restore(site.objects.read()[another.path])
        assert asked is not None
        server = operator.world.servers["main"]
        done = replace(asked, name=first.name)
        await set_aside(sdb_of(site, database), server, operator.world, done)
    with site.login(database, "app") as session:
        assert session.execute("SELECT word FROM kept").fetchone() == ("restored",)


@on_versions(16)
@as_admin("createrole")
async def test_a_restore_that_waits_says_who_holds_the_database(site: Site, database: str) -> None:
    site.provision(database)
    first = restore(site, database)
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        second = restore(site, database, called="second", source=FOUND)
        with pytest.raises(Retryable, match=f'DatabaseRestore "{first.name}" has it to itself'):
            await database_restore.reconcile(second, operator.world)
