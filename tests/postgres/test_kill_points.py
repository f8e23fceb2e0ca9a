"""An operator that is killed, cut off or raced while it makes a database leaves nothing that anybody could use,
and the next one completes the work."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql
from servicedb.plan.marker import Marker
from servicedb.plan.steps import (
    CREATION,
    ChangeSchemaOwner,
    CreateDatabase,
    CreateExtension,
    Grant,
    OpenDatabase,
    ProveLogin,
    Step,
)

from tests.postgres.binaries import VERSIONS
from tests.postgres.fixtures import StartServer
from tests.postgres.killed import Moment, killed_at
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site, full_spec, key_of, unused_name
from tests.postgres.server import Server
from tests.postgres.snapshot import Snapshot, snapshot

EXTENSIONS = {15: "pg_trgm", 16: "vector", 18: "vector"}
"""An extension that each server for tests has: on 15 a trusted one, else one that only a superuser installs."""

TRANSACTIONS: tuple[type[Step], ...] = (Grant, OpenDatabase, ChangeSchemaOwner)
"""One kind of step from each transaction."""


def cases() -> Iterator[tuple[int, str, type[Step], Moment]]:
    for version in VERSIONS:
        for kind in CREATION:
            if kind is not CreateExtension or version == 15:  # elsewhere only a superuser can install one
                yield version, "createrole", kind, Moment.BEFORE
                yield version, "createrole", kind, Moment.AFTER
            yield version, "superuser", kind, Moment.AFTER
        for kind in TRANSACTIONS:
            yield version, "createrole", kind, Moment.UNCOMMITTED


def moments() -> list[object]:
    return [
        pytest.param(version, admin, kind, moment, id=f"pg{version}-{admin}-{moment}-{kind.__name__}")
        for version, admin, kind, moment in cases()
    ]


@pytest.fixture(scope="module")
def place(
    servers: Callable[[int], Server], shared_site: Callable[[Server, str], Site]
) -> Callable[[int, str], tuple[Site, Snapshot]]:
    """Gives a site for a server and a kind of admin, and what a database that nothing came between looks like."""
    made: dict[tuple[int, str], tuple[Site, Snapshot]] = {}

    def place_of(version: int, admin: str) -> tuple[Site, Snapshot]:
        if (version, admin) not in made:
            site = shared_site(servers(version), admin)
            site.serve(extensions={"allowed": ["vector"]})
            name = unused_name("undisturbed")
            site.provision(name, spec_for(site, name))
            made[version, admin] = site, snapshot_of(site, name)
            site.drop(name)
        return made[version, admin]

    return place_of


def spec_for(site: Site, name: str) -> dict[str, object]:
    extensible = site.server.version == 15 or site.admin == site.server.superuser
    extensions = [{"name": EXTENSIONS[site.server.version]}] if extensible else []
    return full_spec(name, schemas=[{"name": "app"}], parameters={"work_mem": "8MB"}, extensions=extensions)


def snapshot_of(site: Site, name: str) -> Snapshot:
    with site.as_superuser(name) as connection:
        return snapshot(connection, admin=site.admin.name)


@pytest.mark.parametrize(("version", "admin", "kind", "moment"), moments())
def test_killed_anywhere_nothing_leaks_and_the_next_run_completes(
    place: Callable[[int, str], tuple[Site, Snapshot]], version: int, admin: str, kind: type[Step], moment: Moment
) -> None:
    site, undisturbed = place(version, admin)
    name = unused_name("killed")
    try:
        site.want(name, spec_for(site, name))
        assert killed_at(site.objects.file, name, kind, moment).exitcode == -signal.SIGKILL
        check_nothing_leaks(site, name)
        site.provision(name, spec_for(site, name))
        assert snapshot_of(site, name) == undisturbed
        for role in ("app", "migrator", "readOnly", "keeper"):
            site.login(name, role).close()
    finally:
        site.drop(name)


async def test_what_a_superuser_did_to_roles_before_the_database_was_open_keeps_nobody_waiting(
    site: Site, database: str
) -> None:
    site.want(database)
    assert killed_at(site.objects.file, database, CreateDatabase, Moment.AFTER).exitcode == -signal.SIGKILL
    reader, writer = sql.Identifier(f"{database}__ro"), sql.Identifier(f"{database}__rw")
    with site.as_superuser() as connection:
        connection.execute(sql.SQL("GRANT {} TO {}").format(writer, reader))
        connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 3").format(writer))
    async with Operator(site.objects) as operator:
        opened = await operator.bring(database)
        assert opened.ready.reason == "Ready", opened.message
        if site.server.version >= 16 and site.admin != site.server.superuser:  # before, any CREATEROLE could revoke it
            assert [line for line in opened.drift if f"{database}__ro" in line], opened.drift
            assert not opened.in_sync
        else:
            assert opened.drift == []
        for role in ("app", "migrator", "readOnly", "keeper"):
            site.login(database, role).close()


CUTS: tuple[type[Step], ...] = (Grant, CreateDatabase, OpenDatabase, ChangeSchemaOwner, ProveLogin)
"""Kinds of step just before which a connection is lost: one in each transaction, and those that stand alone."""


@pytest.mark.parametrize("kind", CUTS, ids=lambda kind: kind.__name__)
async def test_cut_off_by_the_server_it_says_so_and_goes_on_later(site: Site, database: str, kind: type[Step]) -> None:
    def cut(step: Step) -> None:
        if isinstance(step, kind):
            with site.as_superuser() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'servicedb'"
                )

    site.want(database)
    async with Operator(site.objects, on_step=cut) as operator:
        ended = await operator.bring(database)
    assert (ended.ready.status, ended.ready.reason, ended.stalled) == ("Unknown", "ServerUnreachable", False)
    assert "terminating connection" in ended.ready.message
    check_nothing_leaks(site, database)
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Ready"


@pytest.mark.parametrize("version", VERSIONS)
async def test_when_the_server_goes_down_it_says_so_and_completes_when_it_is_back(
    private_server: StartServer, tmp_path: Path, version: int
) -> None:
    server = private_server(version)
    site = Site.new(server, server.admin, tmp_path)
    for kind in CUTS:
        stops = [kind]

        def stop(step: Step, stops: list[type[Step]] = stops) -> None:
            if stops and isinstance(step, stops[0]):
                server.stop("immediate")
                stops.clear()

        name = unused_name("stopped")
        site.want(name)
        async with Operator(site.objects, on_step=stop) as operator:
            ended = await operator.bring(name)
            assert not server.is_running, kind
            assert (ended.ready.status, ended.stalled) == ("Unknown", False), ended.ready
            server.start()
            check_nothing_leaks(site, name)
            completed = await operator.bring(name)
            assert completed.reason == "Ready", (kind, completed.message)


async def test_of_two_clusters_that_race_for_a_name_one_gets_it_and_the_other_is_told_who(
    shared_site: Callable[[Server, str], Site], server: Server, admin: str, database: str
) -> None:
    sites = [shared_site(server, admin) for _ in range(2)]
    for one in sites:
        one.want(database)
    async with Operator(sites[0].objects) as first, Operator(sites[1].objects) as second:
        await asyncio.gather(first.bring(database), second.bring(database))
        ready = [(await operator.bring(database)).ready for operator in (first, second)]
    assert sorted(condition.reason for condition in ready) == ["Conflict", "Ready"]
    winner, loser = sorted(zip(ready, sites, strict=True), key=lambda pair: pair[0].reason, reverse=True)
    assert loser[0].message == (
        f'database "{database}" on server "main" belongs to ServiceDatabase {NAMESPACE}/{key_of(database).name} '
        f"(uid {winner[1].objects.uid(key_of(database).path)}, cluster {winner[1].objects.cluster_uid}); choose "
        "another spec.databaseName, or, if that cluster is no more and this one has taken its place, run "
        "`servicedb adopt --from-cluster`"
    )
    assert loser[1].passwords() == set()
    winner[1].login(database, "app").close()


async def test_two_operators_of_one_cluster_end_with_one_database_and_working_logins(site: Site, database: str) -> None:
    site.want(database)
    async with Operator(site.objects) as first, Operator(site.objects) as second:
        both = await asyncio.gather(first.bring(database), second.bring(database))
        assert {one.reason for one in both} <= {"Ready", "LockBusy", "Conflict"}
        assert not any(one.stalled for one in both)
        for operator in (first, second):
            assert (await operator.bring(database)).ready.reason == "Ready"
    for role in ("app", "migrator", "readOnly", "keeper"):
        site.login(database, role).close()


async def test_while_another_operator_works_on_the_database_nothing_is_touched(site: Site, database: str) -> None:
    site.want(database)
    async with Operator(site.objects) as operator:
        with site.as_superuser("servicedb") as other:
            other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (database,))
            busy = await operator.bring(database)
            # At once: with the session it would go when the server has noticed that that is closed.
            other.execute("SELECT pg_advisory_unlock_all()")
        assert (busy.reason, busy.stalled, busy.steps) == ("LockBusy", False, ())
        assert f'another operator works on database "{database}" on server "main"' in busy.message
        assert (await operator.bring(database)).ready.reason == "Ready"


def check_nothing_leaks(site: Site, name: str) -> None:
    """No role without a mark, no open database without its marker, no membership of the admin's that acts."""
    with site.as_superuser() as connection:
        roles: dict[str, str | None] = dict(
            connection.execute(
                "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE starts_with(rolname, %s)",
                (f"{name}__",),
            ).fetchall()
        )
        assert all(roles.values()), roles
        database = connection.execute(
            "SELECT oid::bigint, datallowconn, pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (name,)
        ).fetchone()
        if database is not None:
            oid, is_open, owner = database
            marker = Marker.read(roles[f"{name}__owner"])
            assert marker is not None
            assert marker.oid == (oid if is_open else None)
            assert owner == site.admin.name
        acting = "inherit_option OR set_option" if site.server.version >= 16 else "true"
        held = connection.execute(
            sql.SQL(
                "SELECT pg_get_userbyid(roleid) FROM pg_auth_members"
                " WHERE member = %s::regrole AND starts_with(pg_get_userbyid(roleid), %s) AND ({})"
            ).format(sql.SQL(acting)),
            (site.admin.name, f"{name}__"),
        ).fetchall()
        assert held == []
