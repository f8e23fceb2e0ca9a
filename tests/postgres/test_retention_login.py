"""The logins for retention on real servers: they come with a policy, reach its tables and no others, and go."""

from datetime import timedelta

import pytest
from psycopg.errors import InsufficientPrivilege
from servicedb.kube import resources

from tests.postgres.asking import policy
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site

TABLES = b"""
    CREATE TABLE sessions (id int PRIMARY KEY, at timestamptz);
    CREATE TABLE jobs (id int PRIMARY KEY, at timestamptz);
    INSERT INTO sessions VALUES (1, now());
    INSERT INTO jobs VALUES (1, now());
"""
LEDGER = b"""
    CREATE SCHEMA servicedb_retention;
    CREATE TABLE servicedb_retention.entries (word text);
    CREATE TABLE servicedb_retention.partitions (word text);
    GRANT SELECT, INSERT, DELETE ON servicedb_retention.entries TO "{group}";
    GRANT SELECT ON servicedb_retention.partitions TO "{group}";
"""
TAKE = "DELETE FROM {0} WHERE id IN (SELECT id FROM {0} FOR UPDATE SKIP LOCKED) RETURNING id"


async def test_they_come_with_a_policy_reach_its_tables_and_go(site: Site, database: str) -> None:
    site.want(database)
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        with site.login(database, "migrator") as owner:
            owner.execute(TABLES)
        daily = policy(site, database, "public.sessions", "public.not_there_yet")
        done = await operator.bring(database)
        assert done.ready.status == "True", done.ready
        assert {"retain", "partition"} <= {row["name"] for row in done.status["roles"]}
        with site.login(database, "retain") as retain:
            assert retain.execute(TAKE.format("sessions")).fetchall() == [(1,)]
            for statement in (
                "TABLE jobs",
                "INSERT INTO sessions VALUES (2)",
                "TRUNCATE sessions",
                "DROP TABLE jobs",
                "UPDATE sessions SET at = now()",
            ):
                with pytest.raises(InsufficientPrivilege):
                    retain.execute(statement)
        with site.login(database, "partition") as partition:
            assert partition.execute("SELECT current_user").fetchone() == (f"{database}__owner",)
        assert not (await operator.bring(database)).changes
        policy(site, database, "public.jobs")
        await operator.bring(database)
        with site.login(database, "retain") as retain:
            assert retain.execute(TAKE.format("jobs")).fetchall() == [(1,)]
            with pytest.raises(InsufficientPrivilege):
                retain.execute("TABLE sessions")
        site.objects.remove(daily.path)
        await operator.bring(database)
        operator.let_pass(timedelta(hours=1, seconds=1))
        gone = await operator.bring(database)
        assert gone.kinds() >= {"CloseLogin", "DeleteSecret", "DropRole"}
        assert resources.secret(NAMESPACE, f"{database}-retain") not in site.objects.read()
        operator.let_pass(timedelta(hours=1, seconds=1))
        await operator.bring(database)
        with site.as_superuser() as connection:
            left = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname ~ %s", (f"^{database}__(retain|partition)",)
            )
            assert left.fetchall() == []


async def test_nobody_but_the_owner_and_its_login_gets_into_the_ledger(site: Site, database: str) -> None:
    site.want(database)
    async with Operator(site.objects) as operator:
        policy(site, database, "public.sessions")
        await operator.bring(database)
        with site.login(database, "partition") as owner:
            # Born with what default privileges give, too.
            owner.execute(LEDGER.replace(b"{group}", f"{database}__retain_grp".encode()))
    async with Operator(site.objects) as operator:  # one that looks inside anew: counters follow some time later
        await operator.bring(database)
        for role in ("app", "readonly"):
            with site.login(database, role) as session, pytest.raises(InsufficientPrivilege):
                session.execute("TABLE servicedb_retention.entries")
        with site.login(database, "retain") as retain:
            retain.execute("INSERT INTO servicedb_retention.entries VALUES ('one')")
            assert retain.execute("TABLE servicedb_retention.entries").fetchall() == [("one",)]
            for statement in (
                "DELETE FROM servicedb_retention.entries",
                "INSERT INTO servicedb_retention.partitions VALUES ('one')",
            ):
                with pytest.raises(InsufficientPrivilege):
                    retain.execute(statement)


async def test_an_operator_that_was_just_started_asks_before_it_takes_anything_back(site: Site, database: str) -> None:
    site.want(database)
    daily = policy(site, database, "public.sessions")
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).ready.reason == "Ready"
    async with Operator(site.objects) as operator:
        assert not (await operator.bring(database, heard=False)).changes
        site.login(database, "retain").close()
        site.objects.remove(daily.path)
        assert (await operator.bring(database, heard=False)).due is not None
