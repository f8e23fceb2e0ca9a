"""The login for backups on real servers: it comes with a schedule, reads everything, changes nothing, and goes."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from servicedb.kube import resources

from tests.postgres.asking import schedule
from tests.postgres.binaries import VERSIONS
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Round, Site
from tests.postgres.server import Server, session_directory

MIGRATION = b"""
    CREATE TABLE orders (id int PRIMARY KEY, customer text);
    INSERT INTO orders VALUES (1, 'ada'), (2, 'grace');
    ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
    CREATE POLICY nobody ON orders USING (false);
    CREATE TABLE forced (id int);
    INSERT INTO forced VALUES (1);
    ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
"""

GRANTED = b"""
    GRANT pg_read_all_data TO opadmin WITH ADMIN OPTION;
    ALTER ROLE opadmin BYPASSRLS;
    GRANT SET ON PARAMETER lo_compat_privileges TO opadmin;
"""


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"pg{version}")
def hardened(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each version in turn on which PUBLIC connects to nothing."""
    with Server.start_new(request.param, Path(session_directory()) / f"hardened-{request.param}") as server:
        with server.connect() as connection:
            for name in (b"postgres", b"template1"):
                connection.execute(b"REVOKE CONNECT, TEMPORARY ON DATABASE " + name + b" FROM PUBLIC")
            connection.execute(b"GRANT CONNECT ON DATABASE postgres TO opadmin")
            for statement in filter(bytes.strip, GRANTED.split(b";")):
                connection.execute(statement)
        yield server


@pytest.fixture(params=["createrole", "superuser"])
def hardened_site(request: pytest.FixtureRequest, hardened: Server, tmp_path: Path) -> Site:
    admin = hardened.superuser if request.param == "superuser" else hardened.admin
    return Site.new(hardened, admin, tmp_path)


def reads(done: Round) -> str:
    assert done.ready.status == "True", done.ready
    assert done.in_sync, done.drift
    return str(done.status["backupAccess"]["reads"])


def dumped(site: Site, name: str) -> str:
    """What pg_dump gives the login for backups, row security off as for every backup."""
    held = site.secret(name, "backup")
    command = [str(site.server.bin_directory / "pg_dump"), "-d", held["uri"].replace("sslmode=disable", "")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def test_the_login_comes_reads_everything_and_goes(hardened_site: Site) -> None:
    site, name = hardened_site, "orders"
    site.provision(name)
    with site.login(name, "migrator") as session:
        session.execute(MIGRATION)
    with site.login(name, "app") as session:
        session.execute("SELECT lo_from_bytea(4711, 'of the application')")
    everything = site.server.version >= 16 or site.admin == site.server.superuser
    async with Operator(site.objects) as operator:
        nightly = schedule(site, name)
        done = await operator.bring(name)
        assert reads(done) == ("AllData" if everything else "AsOwner")
        assert "backup" in {row["name"] for row in done.status["roles"]}
        assert "DriftRepaired" not in told(site)
        with site.login(name, "backup") as session:
            session.execute("SET row_security = off")
            assert session.execute("SELECT count(*) FROM orders").fetchone() == (2,)
            if everything:
                assert session.execute("SELECT count(*) FROM forced").fetchone() == (1,)
                assert session.execute("SELECT lo_get(4711)").fetchone() == (b"of the application",)
            with pytest.raises((ReadOnlySqlTransaction, InsufficientPrivilege)):
                session.execute("DELETE FROM orders")
        if everything:
            assert b"of the application".hex() in dumped(site, name)
            with site.login(name, "backup") as session:
                session.execute("SET default_transaction_read_only = off")
                with pytest.raises(InsufficientPrivilege):
                    session.execute("DELETE FROM orders")
        assert not (await operator.bring(name)).changes
        site.objects.remove(nightly.path)
        left = await operator.bring(name)
        assert left.due is not None
        assert left.due > timedelta(minutes=50)
        assert "backupAccess" not in left.status
        operator.let_pass(timedelta(hours=1, seconds=1))
        gone = await operator.bring(name)
        assert gone.kinds() >= {"CloseLogin", "DeleteSecret", "DropRole"}
        assert resources.secret(NAMESPACE, "orders-backup") not in site.objects.read()
        assert {row["name"] for row in gone.status["roles"]} == {"app", "migrator", "readonly", "keeper"}
        with site.as_superuser() as connection:
            assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname ~ 'backup_'").fetchone() is None
    site.drop(name)


async def test_as_soon_as_any_login_may_connect_somewhere_backups_read_as_the_owner(hardened_site: Site) -> None:
    site, name = hardened_site, "orders"
    if site.server.version < 16:
        site = Site.new(site.server, site.server.superuser, site.objects.file.parent)
    site.provision(name)
    with site.login(name, "migrator") as session:
        session.execute("CREATE TABLE kept AS SELECT 1 AS one")
    schedule(site, name)
    async with Operator(site.objects) as operator:
        assert reads(await operator.bring(name)) == "AllData"
        with site.login(name, "backup") as session:
            session.execute("SELECT * FROM kept")
        with site.as_superuser() as connection:
            connection.execute("CREATE DATABASE everybodys")
        narrowed = await operator.bring(name)
        assert reads(narrowed) == "AsOwner"
        assert "any login may connect to everybodys" in narrowed.status["backupAccess"]["message"]
        with site.as_superuser() as connection:
            query = (
                "SELECT rolname FROM pg_roles WHERE rolname ~ 'backup_'"
                " AND (rolbypassrls OR pg_has_role(oid, 'pg_read_all_data', 'MEMBER'))"
            )
            assert connection.execute(query).fetchall() == []
            connection.execute("DROP DATABASE everybodys")
        with site.login(name, "backup") as session:
            assert session.execute("SELECT current_user").fetchone() == (f"{name}__owner",)
            with pytest.raises(ReadOnlySqlTransaction):
                session.execute("DELETE FROM kept")
        assert "kept" in dumped(site, name)
        widened = await operator.bring(name)
        operator.let_pass(timedelta(hours=1, seconds=1))
        assert reads(widened) == reads(await operator.bring(name)) == "AllData"
        with site.login(name, "backup") as session:
            assert session.execute("SELECT current_user = session_user").fetchone() == (True,)
            session.execute("SELECT * FROM kept")
    site.drop(name)


async def test_an_operator_that_was_just_started_asks_before_it_takes_anything_back(site: Site, database: str) -> None:
    site.want(database)
    nightly = schedule(site, database)
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Ready"
    async with Operator(site.objects) as operator:
        assert not (await operator.bring(database, heard=False)).changes
        site.login(database, "backup").close()
        site.objects.remove(nightly.path)
        assert (await operator.bring(database, heard=False)).due is not None


def told(site: Site) -> set[str]:
    """Reasons of all events."""
    return {body["reason"] for body in site.objects.read().values() if "reason" in body}
