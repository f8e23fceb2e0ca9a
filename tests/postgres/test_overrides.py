"""A role with overrides: on each table exactly what its access or its override says, from the table's first moment."""

from datetime import timedelta
from typing import Any

import pytest
from psycopg.errors import InsufficientPrivilege
from servicedb.postgres.inside import scan_objects

from tests.postgres.conftest import as_admin
from tests.postgres.provision import Operator, Site, full_spec

TABLES = "CREATE TABLE public.goods (id int); CREATE TABLE public.audit (id int); CREATE SEQUENCE public.numbers"
OVERRIDES = [
    {"table": "public.audit", "privileges": ["SELECT", "INSERT"]},
    {"table": 'app."Secret Things"', "privileges": []},
]


def spec(name: str, overrides: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    roles: dict[str, Any] = full_spec(name)["roles"]
    app = {**roles["app"], "overrides": OVERRIDES if overrides is None else overrides}
    return full_spec(name, schemas=[{"name": "app"}], roles={**roles, "app": app})


def migrate(site: Site, name: str, statements: str) -> None:
    """As a migration would, waiting until the server's counters tell of it."""
    with site.login(name, "migrator") as connection:
        pid = connection.info.backend_pid
        connection.execute(statements.encode())
    with site.as_superuser() as connection:
        while connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is not None:
            pass


def may(site: Site, name: str, statement: str, *, role: str = "app") -> bool:
    with site.login(name, role) as connection, connection.transaction(force_rollback=True):
        try:
            connection.execute(statement.encode())
        except InsufficientPrivilege:
            return False
    return True


def app_may(site: Site, name: str) -> dict[str, bool]:
    statements = {
        "read audit": "SELECT FROM public.audit",
        "add to audit": "INSERT INTO public.audit VALUES (1)",
        "change audit": "UPDATE public.audit SET id = 1",
        "write goods": "UPDATE public.goods SET id = 1",
        "use numbers": "SELECT nextval('public.numbers')",
    }
    return {what: may(site, name, statement) for what, statement in statements.items()}


EXACT = {"read audit": True, "add to audit": True, "change audit": False, "write goods": True, "use numbers": True}


async def test_overrides_hold_and_tables_to_come_are_waited_for(site: Site, database: str) -> None:
    site.provision(database, spec(database))
    migrate(site, database, TABLES)
    assert not may(site, database, "SELECT FROM public.goods")
    async with Operator(site.objects) as operator:
        applied = await operator.bring(database)
        assert applied.reason == "Ready", applied.message
        assert app_may(site, database) == EXACT
        waiting = applied.conditions["InSync"]
        assert (waiting.status, waiting.message) == (
            "True",
            "waiting for tables that overrides name: app.Secret Things",
        )
        again = await operator.bring(database)
        assert (again.steps, again.conditions["InSync"].message) == ((), waiting.message)
        migrate(site, database, 'CREATE TABLE app."Secret Things" (id int)')
        assert (await operator.bring(database)).conditions["InSync"].message == ""
    assert not may(site, database, 'SELECT FROM app."Secret Things"')
    assert may(site, database, 'SELECT FROM app."Secret Things"', role="readOnly")


async def test_the_group_of_a_role_without_overrides_goes_after_the_overlap(site: Site, database: str) -> None:
    """A session from before works as the group until then."""
    group, overlap = f"{database}__app_grp", timedelta(hours=1)
    site.provision(database, spec(database))
    migrate(site, database, TABLES + "; INSERT INTO public.audit VALUES (1)")
    migrate(site, database, f"CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO {group}")
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        with site.login(database, "app") as pooled:
            assert pooled.execute("SELECT current_user").fetchone() == (group,)
            site.want(database, spec(database, []))
            changed = await operator.bring(database)
            assert (changed.reason, changed.in_sync) == ("Ready", True)
            assert changed.due is not None
            assert timedelta() < changed.due <= overlap
            assert pooled.execute("SELECT id FROM public.audit").fetchone() == (1,)
            assert (await operator.bring(database)).changes == ()
        operator.let_pass(overlap)
        last = await operator.bring(database)
        assert (last.reason, last.due) == ("Ready", None)
        assert not _is_there(site, group)
        assert (await operator.bring(database)).changes == ()
    assert may(site, database, "SELECT FROM public.goods")


async def test_a_group_that_is_needed_again_before_it_went_has_what_was_made_meanwhile(
    site: Site, database: str
) -> None:
    site.provision(database, spec(database))
    async with Operator(site.objects) as operator:
        site.want(database, spec(database, []))
        await operator.bring(database)
        migrate(site, database, TABLES)
        site.want(database, spec(database))
        again = await operator.bring(database)
        assert (again.reason, again.due) == ("Ready", None)
        assert app_may(site, database) == EXACT
        assert (await operator.bring(database)).changes == ()
        operator.let_pass(timedelta(hours=1))
        assert (await operator.bring(database)).changes == ()
    assert _is_there(site, f"{database}__app_grp")


async def test_a_role_with_overrides_leaves_with_its_group(site: Site, database: str) -> None:
    audit = {"name": "auditor", "access": "ReadOnly", "secretName": "auditor", "overrides": OVERRIDES[:1]}
    roles: dict[str, Any] = full_spec(database)["roles"]
    site.provision(database, full_spec(database, roles={**roles, "extra": [audit]}))
    async with Operator(site.objects) as operator:
        site.want(database, full_spec(database, roles={**roles, "extra": []}))
        await operator.bring(database)
        operator.let_pass(timedelta(hours=1))
        assert (await operator.bring(database)).reason == "Ready"
        assert not any(_is_there(site, f"{database}__auditor_{end}") for end in ("a", "b", "grp"))
        assert (await operator.bring(database)).changes == ()


def _is_there(site: Site, role: str) -> bool:
    with site.as_superuser() as connection:
        return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None


async def test_what_goes_around_an_override_is_taken_back(site: Site, database: str) -> None:
    site.provision(database, spec(database))
    migrate(site, database, TABLES)
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        group = f"{database}__app_grp"
        migrate(site, database, f"GRANT ALL ON public.audit TO {group}; GRANT UPDATE (id) ON public.audit TO {group}")
        assert app_may(site, database)["change audit"]
        assert (await operator.bring(database)).kinds() == {"RevokeOnObjects"}
        assert app_may(site, database) == EXACT
        assert (await operator.bring(database)).steps == ()


async def test_overrides_given_and_taken_from_a_database_in_use(site: Site, database: str) -> None:
    site.provision(database, full_spec(database, schemas=[{"name": "app"}]))
    migrate(site, database, TABLES)
    everything = dict.fromkeys(EXACT, True)
    assert app_may(site, database) == everything
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        for overrides, expected in ((OVERRIDES, EXACT), ([], everything), (OVERRIDES[:1], EXACT)):
            site.want(database, spec(database, overrides))
            done = await operator.bring(database)
            assert (done.reason, done.drift) == ("Ready", []), done.message
            assert app_may(site, database) == expected
            assert (await operator.bring(database)).changes == ()


async def test_a_migrations_own_revoke_is_respected_and_a_lost_group_gets_its_grants_again(
    site: Site, orders: str, admin: str
) -> None:
    migrate(site, orders, TABLES + f"; REVOKE INSERT ON public.goods FROM {orders}__rw")
    migrate(site, orders, f"GRANT DELETE ON public.goods TO {orders}__ro; REVOKE ALL ON public.audit FROM {orders}__ro")
    async with Operator(site.objects) as operator:
        respected = await operator.bring(orders)
        assert (respected.changes, respected.in_sync) == ((), True)
        assert not may(site, orders, "INSERT INTO public.goods VALUES (1)")
        assert may(site, orders, "DELETE FROM public.goods", role="readOnly")
        with site.as_superuser(orders) as connection:
            connection.execute(f"DROP OWNED BY {orders}__ro; DROP ROLE {orders}__ro".encode())
        restored = await operator.bring(orders)
        assert (restored.reason, restored.in_sync) == ("Ready", True), restored.message
        assert {"CreateRole", "GrantOnObjects", "NoteGranted"} <= restored.kinds()
        assert may(site, orders, "SELECT FROM public.audit", role="readOnly")
        assert not may(site, orders, "INSERT INTO public.goods VALUES (1)")
        assert (await operator.bring(orders)).changes == ()


async def test_a_password_changed_by_hand_is_listed_under_report_and_replaced_under_repair(
    site: Site, orders: str
) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    site.want(orders, {**spec, "driftPolicy": "Report"})
    async with Operator(site.objects) as operator:
        assert (await operator.bring(orders)).in_sync
    with site.as_superuser() as connection:
        connection.execute(f"ALTER ROLE {orders}__app_a PASSWORD 'changed by hand'".encode())
    kept = site.secret(orders, "app")
    async with Operator(site.objects) as operator:  # one that was just started tries every login
        listed = await operator.bring(orders)
        assert listed.drift == [f"password: {orders}__app_a has another one than its Secret"]
        assert (listed.ready.status, listed.ready.reason, listed.changes) == ("False", "LoginRefused", ())
        assert site.secret(orders, "app") == kept
        site.want(orders, spec)
        repaired = await operator.bring(orders)
        assert (repaired.reason, repaired.drift, repaired.in_sync) == ("Ready", [], True), repaired.message
    site.login(orders, "app").close()


async def test_a_role_renamed_by_hand_is_made_anew_and_the_renamed_one_loses_what_it_held(
    site: Site, orders: str
) -> None:
    with site.as_superuser() as connection:
        connection.execute(f"ALTER ROLE {orders}__app_a RENAME TO {orders}__gone".encode())
        async with Operator(site.objects) as operator:
            repaired = await operator.bring(orders)
            assert (repaired.reason, repaired.in_sync) == ("Ready", True), repaired.message
        assert connection.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole AND roleid = %s::regrole",
            (f"{orders}__app_a", f"{orders}__rw"),
        ).fetchone() == (1,)
    site.login(orders, "app").close()


@pytest.mark.parametrize("statement", ["COMMENT ON ROLE {}__owner IS NULL", "COMMENT ON ROLE {}__owner IS 'mine'"])
async def test_a_lost_marker_stalls_under_report_too(site: Site, orders: str, statement: str) -> None:
    site.want(orders, {**full_spec(orders, schemas=[{"name": "app"}]), "driftPolicy": "Report"})
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        with site.as_superuser() as connection:
            connection.execute(statement.format(orders).encode())
        lost = await operator.bring(orders)
    assert (lost.reason, lost.stalled, lost.changes) == ("MarkerLost", True, ())


@as_admin("createrole")
async def test_ten_thousand_tables_are_one_row(site: Site, orders: str) -> None:
    made = "FOR i IN 1..10000 LOOP EXECUTE format('CREATE TABLE public.t%s (id int)', i); COMMIT; END LOOP"
    migrate(site, orders, f"DO $make$ BEGIN {made}; END $make$")
    async with Operator(site.objects) as operator:
        await operator.look()
        admin = operator.world.servers["main"].admin
        assert admin is not None
        async with admin.inside(orders) as connection:
            seen = await scan_objects(connection, owners=[f"{orders}__owner"], schemas=["public"])
    assert [(group.kind, group.count, group.names) for group in seen.groups] == [("TABLE", 10_000, ())]
