"""mode Plan: the steps that Apply would take, and not one of them taken."""

import re
from collections.abc import Iterator

import pytest
from psycopg import sql
from servicedb.naming import RoleNames
from servicedb.plan.inside import AT_BIRTH
from servicedb.postgres.catalog import scan_inside

from tests.postgres.conftest import as_admin
from tests.postgres.provision import Operator, Site, full_spec, run, unused_name
from tests.postgres.server import Server
from tests.postgres.snapshot import Snapshot, snapshot


def everything(site: Site) -> list[object]:
    """All that a change to any role, database, setting, comment or membership would show in."""
    with site.as_superuser() as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                b"SELECT to_jsonb(a) FROM pg_authid a ORDER BY oid",
                b"SELECT roleid, member, grantor, admin_option FROM pg_auth_members ORDER BY 1, 2, 3",
                b"SELECT oid, datname, datdba, datacl::text, datallowconn FROM pg_database ORDER BY oid",
                b"SELECT to_jsonb(s) FROM pg_shdescription s ORDER BY objoid, classoid",
                b"SELECT to_jsonb(s) FROM pg_db_role_setting s ORDER BY setdatabase, setrole",
            )
        ]


def full_plan(name: str, mode: str) -> dict[str, object]:
    return full_spec(name, schemas=[{"name": "app"}], parameters={"work_mem": "8MB"}, mode=mode)


async def test_a_database_that_is_not_there_is_planned_whole_and_nothing_is_made(site: Site, database: str) -> None:
    site.want(database, full_plan(database, "Plan"))
    async with Operator(site.objects) as operator:
        await operator.look()
        before = everything(site)
        planned = await operator.bring(database)
        again = await operator.bring(database)
    assert everything(site) == before
    assert site.passwords() == set()
    assert (planned.changes, again.plan) == ((), planned.plan)
    conditions = planned.conditions
    assert (conditions["Reconciling"].status, conditions["Reconciling"].reason) == ("False", "Planned")
    assert (planned.ready.status, planned.ready.reason) == ("Unknown", "Planned")
    assert (planned.status["observedGeneration"], planned.status["truncated"]) == (1, True)
    assert "databaseName" not in planned.status
    assert planned.plan[0].startswith(f'CREATE ROLE "{database}__owner"')


KINDS = {
    "CREATE ROLE": "CreateRole",
    "GRANT [^ ]+ TO": "Grant",
    "CREATE DATABASE": "CreateDatabase",
    "REVOKE [A-Z]+ ON DATABASE": "RevokeOnDatabase",
    "-- Secret .*: a new password, pending": "PrepareSecret",
    "ALTER ROLE [^ ]+ LOGIN": "OpenLogin",
    "ALTER ROLE [^ ]+ PASSWORD '<SCRAM verifier>'": "SetPassword",
    "CREATE SCHEMA": "CreateSchema",
}


def test_the_plan_of_a_new_database_is_what_is_then_done(site: Site, database: str) -> None:
    """Step by step and in its order."""
    app = {"app": {"secretName": f"{database}-app".replace("_", "-")}}
    site.want(database, {**full_plan(database, "Plan"), "roles": app})

    async def both() -> tuple[list[str], list[str]]:
        async with Operator(site.objects) as operator:
            shown = (await operator.bring(database)).plan
            site.want(database, {**full_plan(database, "Apply"), "roles": app})
            done = await operator.bring(database)
            assert done.reason == "Ready", done.message
            assert done.status["plan"] == []
            return shown, [type(step).__name__ for step in done.steps]

    shown, done = run(both())
    planned = [kind for line in shown for sign, kind in KINDS.items() if re.match(sign, line)]
    assert planned == [kind for kind in done if kind in KINDS.values()]
    assert set(planned) == set(KINDS.values())


async def test_what_differs_is_planned_and_ready_keeps_its_last_truth(site: Site, database: str) -> None:
    site.provision(database, full_plan(database, "Apply"))
    with site.as_superuser() as connection:
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(database)))
    with site.login(database, "migrator") as connection:
        connection.execute("CREATE TABLE public.goods (id int)")
        connection.execute("GRANT SELECT ON public.goods TO PUBLIC")
    site.want(database, {**full_plan(database, "Plan"), "parameters": {"work_mem": "16MB"}})
    async with Operator(site.objects) as operator:
        before = everything(site)
        planned = await operator.bring(database)
        assert everything(site) == before
        assert planned.plan == [
            f'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC CASCADE',
            f'ALTER DATABASE "{database}" SET "work_mem" TO \'16MB\'',
            'REVOKE SELECT ON TABLE "public"."goods" FROM PUBLIC CASCADE',
        ]
        assert (planned.ready.status, planned.ready.observed_generation) == ("True", 1)
        assert planned.status["observedGeneration"] == 2
        site.want(database, {**full_plan(database, "Plan"), "extensions": [{"name": "no_such_thing"}]})
        refused = await operator.bring(database)
        assert "no_such_thing" in refused.plan[-1]
        assert refused.ready.observed_generation == 1


async def test_the_marker_is_kept_current(site: Site, database: str) -> None:
    site.provision(database, full_plan(database, "Apply"))
    site.want(database, {**full_plan(database, "Plan"), "deletion": {"policy": "Retain", "gracePeriod": "3d"}})
    async with Operator(site.objects) as operator:
        kept = await operator.bring(database)
    assert kept.kinds() == {"CommentOnRole"}
    assert kept.plan == []


@pytest.fixture
def fresh(site: Site) -> Iterator[str]:
    """A database that was just made from template0."""
    name = unused_name("fresh")
    with site.as_superuser() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(RoleNames(name).owner)))
    yield name
    site.drop(name)


@as_admin("superuser")
async def test_what_a_plan_takes_for_a_new_database_is_what_template0_holds(site: Site, fresh: str) -> None:
    async with Operator(site.objects) as operator:
        await operator.look()
        admin = operator.world.servers["main"].admin
        assert admin is not None
        async with admin.inside(fresh) as connection:
            seen = await scan_inside(connection, owner=RoleNames(fresh).owner, extensions=[])
    assert seen == AT_BIRTH


async def test_a_server_without_the_database_and_one_after_its_plan_look_the_same(
    site: Site, orders: str, server: Server
) -> None:
    def seen() -> Snapshot:
        with site.as_superuser(orders) as connection:
            return snapshot(connection, admin=site.admin.name)

    before = seen()
    site.want(orders, full_spec(orders, schemas=[{"name": "app"}, {"name": "more"}], mode="Plan"))
    async with Operator(site.objects) as operator:
        planned = await operator.bring(orders)
    assert planned.plan[-1] == f'CREATE SCHEMA "more" AUTHORIZATION "{orders}__owner"'
    assert seen() == before
