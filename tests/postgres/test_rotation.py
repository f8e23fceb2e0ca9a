"""Rotations, and logins that leave the spec, on real servers: who holds the old password is never cut off before its
time, and afterwards nothing of it is left."""

import base64
import contextlib
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg import sql
from psycopg.rows import TupleRow
from servicedb.kube import resources
from servicedb.kube.client import Json
from servicedb.plan.steps import DEPARTURE, ROTATION, CloseLogin, NoteOnLogin, Step

from tests.postgres.conftest import as_admin
from tests.postgres.killed import Moment, killed_at
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Round, Site, full_spec, key_of
from tests.postgres.server import Server

OVERLAP = timedelta(hours=1)
Held = dict[str, str]


def connect(server: Server, held: Held) -> psycopg.Connection[TupleRow]:
    """As an application does that has read the Secret once."""
    return server.connect(held["user"], held["password"], held["dbname"])


def works(server: Server, held: Held) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        connect(server, held).close()
        return True
    return False


def secret_body(site: Site, name: str) -> Json | None:
    return site.objects.read().get(resources.secret(NAMESPACE, name))


def roles_of(site: Site, name: str) -> set[str]:
    with site.as_superuser() as connection:
        rows = connection.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (f"{name}__",))
        return {row[0] for row in rows}


def spec_of(name: str, **roles: Any) -> Json:
    """With the app alone, and `roles` besides or in its place."""
    stem = name.replace("_", "-")
    return {
        "serverRef": {"name": "main"},
        "databaseName": name,
        "roles": {"app": {"secretName": f"{stem}-app"}, **roles},
    }


async def test_asked_for_it_the_other_half_takes_over_and_the_old_one_leaves_after_the_overlap(
    site: Site, orders: str
) -> None:
    roles = ("app", "migrator", "readOnly", "keeper")
    spec = full_spec(orders, schemas=[{"name": "app"}])
    before = {role: site.secret(orders, role) for role in roles}
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        with connect(site.server, before["app"]) as pooled:
            site.want(orders, spec, {"rotate-at": "today"})
            first = await operator.bring(orders)
            assert (first.reason, handled(site, orders)) == ("Ready", "today")
            assert first.due is not None
            assert timedelta() < first.due <= OVERLAP
            after = {role: site.secret(orders, role) for role in roles}
            for role in roles:
                assert before[role]["user"] != after[role]["user"]
                assert works(site.server, before[role])
                assert works(site.server, after[role])
            assert (await operator.bring(orders)).changes == ()
            operator.let_pass(OVERLAP)
            assert (await operator.bring(orders)).kinds() == {"CloseLogin", "NoteOnLogin"}
            assert not any(works(site.server, before[role]) for role in roles)
            assert all(works(site.server, after[role]) for role in roles)
            pooled.execute("SELECT 1")
        last = await operator.bring(orders)
        assert (last.changes, last.due) == ((), None)
    assert "DriftRepaired" not in events(site)


async def test_a_lost_status_rotates_nothing(site: Site, orders: str) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    async with Operator(site.objects) as operator:
        site.want(orders, spec, {"rotate-at": "today"})
        await operator.bring(orders)
        held = site.secret(orders, "app")
        await site.objects.request("PATCH", key_of(orders).path, body={"status": None})
        operator.let_pass(2 * OVERLAP)
        await operator.bring(orders)
        assert (await operator.bring(orders)).reason == "Ready"
        assert site.secret(orders, "app") == held
        assert handled(site, orders) == "today"


async def test_a_secret_made_afresh_is_not_rotated_for_what_was_asked_before(site: Site, database: str) -> None:
    site.want(database, spec_of(database), {"rotate-at": "long ago"})
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).reason == "Ready"
        assert site.secret(database, "app")["user"] == f"{database}__app_a"
        assert handled(site, database) == "long ago"
        assert (await operator.bring(database)).steps == ()


async def test_a_rotation_waits_for_the_overlap_of_the_last_one(site: Site, database: str) -> None:
    site.want(database, spec_of(database))
    async with Operator(site.objects) as operator:
        await operator.bring(database)
        for asked in ("one", "two"):
            held = site.secret(database, "app")
            site.want(database, spec_of(database), {"rotate-at": asked})
            last = await operator.bring(database)
        assert site.secret(database, "app") == held
        assert handled(site, database) == "one"
        assert "app is rotated when the last rotation's overlap is over" in last.conditions["CredentialsReady"].message
        assert last.due is not None
        operator.let_pass(last.due)
        assert (await operator.bring(database)).reason == "Ready"
        assert handled(site, database) == "two"
        assert site.secret(database, "app")["user"] == f"{database}__app_a"
        assert works(site.server, held)


async def test_passwords_are_renewed_every_so_often_without_being_asked(site: Site, database: str) -> None:
    spec = {**spec_of(database), "credentials": {"rotateEvery": "1d"}}
    site.want(database, spec)
    async with Operator(site.objects) as operator:
        first = await operator.bring(database)
        rotated_from = datetime.now(UTC) - timedelta(minutes=1)
        for half in ("b", "a"):
            assert first.due is not None
            assert timedelta(hours=22) < first.due <= timedelta(days=1)
            held = site.secret(database, "app")
            operator.let_pass(first.due)
            assert "ActivateSecret" in (await operator.bring(database)).kinds()
            assert site.secret(database, "app")["user"] == f"{database}__app_{half}"
            assert works(site.server, held)
            (shown,) = site.objects.read()[key_of(database).path]["status"]["roles"]
            assert (shown["loginName"], shown["secretName"]) == (
                f"{database}__app_{half}",
                spec["roles"]["app"]["secretName"],
            )
            assert datetime.fromisoformat(shown["rotatedAt"]) >= rotated_from + first.due
            rotated_from = datetime.fromisoformat(shown["rotatedAt"])
            operator.let_pass(OVERLAP)
            first = await operator.bring(database)
            assert not works(site.server, held)


async def test_an_access_changes_with_the_half_and_who_holds_the_old_one_keeps_it(site: Site, database: str) -> None:
    stem = database.replace("_", "-")

    def with_access(access: str) -> Json:
        extra = [{"name": "etl", "access": access, "secretName": f"{stem}-etl"}]
        return spec_of(database, extra=extra, migrator={"secretName": f"{stem}-migrator"})

    site.provision(database, with_access("ReadWrite"))
    with site.login(database, "migrator") as migrator:
        migrator.execute("CREATE TABLE note (text text)")
    async with Operator(site.objects) as operator:
        for access, writes_before, writes_after in (("ReadOnly", True, False), ("Owner", False, True)):
            await operator.bring(database)
            old = site.secret(database, "etl")
            site.want(database, with_access(access))
            changed = await operator.bring(database)
            assert changed.reason == "Ready", changed.message
            new = site.secret(database, "etl")
            assert new["user"] != old["user"]
            assert (writes(site.server, old), writes(site.server, new)) == (writes_before, writes_after)
            assert (await operator.bring(database)).changes == ()
            operator.let_pass(OVERLAP)
            await operator.bring(database)
            assert not works(site.server, old)
            assert writes(site.server, new) == writes_after
            assert (await operator.bring(database)).changes == ()
    with site.login(database, "etl") as session:
        session.execute("CREATE TABLE made_as_owner (id int)")
    assert "DriftRepaired" not in events(site)


async def test_an_access_that_has_to_wait_is_not_called_ready(site: Site, database: str) -> None:
    stem = database.replace("_", "-")
    spec = spec_of(database)
    async with Operator(site.objects) as operator:
        for asked in (None, "now"):
            site.want(database, spec, {"rotate-at": asked} if asked else {})
            await operator.bring(database)
        held = site.secret(database, "app")
        site.want(database, spec_of(database, app={"secretName": f"{stem}-app", "access": "ReadOnly"}))
        waits = await operator.bring(database)
        assert (waits.ready.status, waits.ready.reason, waits.stalled) == ("False", "OverlapNotOver", False)
        assert works(site.server, held)
        assert (await operator.bring(database)).changes == ()
        operator.let_pass(OVERLAP)
        await operator.bring(database)
        assert (await operator.bring(database)).reason == "Ready"
        assert site.secret(database, "app")["user"] == f"{database}__app_a"


def writes(server: Server, held: Held) -> bool:
    with connect(server, held) as session:
        try:
            session.execute("INSERT INTO note VALUES ('x')")
        except psycopg.errors.InsufficientPrivilege:
            return False
    return True


async def test_a_role_taken_out_of_the_spec_goes_with_its_secret_after_the_overlap(site: Site, orders: str) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    spec["roles"]["extra"] = []
    held, stem = site.secret(orders, "keeper"), orders.replace("_", "-")
    site.want(orders, spec)
    async with Operator(site.objects) as operator:
        noted = await operator.bring(orders)
        assert noted.due is not None
        with connect(site.server, held) as connection:
            connection.execute("CREATE TABLE still_there (id int)")
        operator.let_pass(OVERLAP)
        assert (await operator.bring(orders)).reason == "Ready"
        assert not works(site.server, held)
        assert secret_body(site, f"{stem}-keeper") is None
        assert not [role for role in roles_of(site, orders) if "keeper" in role]
        last = await operator.bring(orders)
        assert (last.steps, last.due) == ((), None)
    assert "DriftRepaired" not in events(site)
    with site.login(orders, "migrator") as connection:
        connection.execute("SELECT FROM still_there")


async def test_under_report_a_departure_comes_to_its_end_as_well(site: Site, orders: str) -> None:
    """Also of a login that holds something: a migration's grant, say. The end of an overlap is no drift."""
    spec = full_spec(orders, schemas=[{"name": "app"}], driftPolicy="Report")
    spec["roles"]["extra"] = []
    held, stem, half = site.secret(orders, "keeper"), orders.replace("_", "-"), f"{orders}__keeper_a"
    with site.login(orders, "migrator") as migrator:
        migrator.execute(sql.SQL("CREATE TABLE goods (); GRANT SELECT ON goods TO {}").format(name(half)))
    with site.login(orders, "keeper", "postgres") as session:
        session.execute("SELECT lo_from_bytea(0, 'a large object')")
    site.want(orders, spec)
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        assert works(site.server, held)
        assert (await operator.bring(orders)).changes == ()
        operator.let_pass(OVERLAP)
        ended = await operator.bring(orders)
        assert (ended.reason, ended.drift, ended.in_sync) == ("Ready", [], True)
        assert not works(site.server, held)
        assert secret_body(site, f"{stem}-keeper") is None
        assert not [role for role in roles_of(site, orders) if "keeper" in role]
        assert (await operator.bring(orders)).changes == ()
    assert not {"Drifted", "DriftRepaired"} & events(site)


async def test_a_login_that_owns_large_objects_in_its_database_is_not_dropped_with_them(
    site: Site, orders: str
) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    spec["roles"]["extra"] = []
    half = f"{orders}__keeper_a"
    with site.login(orders, "keeper") as session:
        session.execute("RESET ROLE; SET ROLE NONE; SELECT lo_from_bytea(0, 'kept')")
    site.want(orders, spec)
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        operator.let_pass(OVERLAP)
        kept = await operator.bring(orders)
        assert kept.reason == "Ready"
        assert f'role "{half}" owns 1 large objects in database "{orders}"' in kept.conditions["RolesReady"].message
    with site.as_superuser(orders) as superuser:
        assert superuser.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (1,)
        superuser.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
    assert half not in roles_of(site, orders)


@as_admin("createrole")
async def test_a_login_that_can_not_be_dropped_stays_closed_and_is_said(site: Site, orders: str) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    spec["roles"]["extra"] = []
    half = f"{orders}__keeper_a"
    site.want(orders, spec)
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        # In its own database it would be handed to the owner role.
        with site.login(orders, "keeper") as pooled, site.as_superuser("postgres") as superuser:
            table = name(f"of_{half}")
            superuser.execute(sql.SQL("CREATE TABLE {0} (); ALTER TABLE {0} OWNER TO {1}").format(table, name(half)))
            operator.let_pass(OVERLAP)
            kept = await operator.bring(orders)
            assert "it still has sessions" in kept.conditions["RolesReady"].message
            assert kept.reason == "Ready"
            pooled.execute("SELECT 1")
        for _ in range(2):
            kept = await operator.bring(orders)
            assert kept.reason == "Ready", kept.message
            assert f'login "{half}" is in the spec no longer' in kept.conditions["RolesReady"].message
            assert "owns 1 tables, views or sequences in database" in kept.conditions["RolesReady"].message
        with site.as_superuser("postgres") as superuser:
            superuser.execute(sql.SQL("DROP TABLE {}").format(table))
        gone = await operator.bring(orders)
        assert (gone.reason, gone.conditions["RolesReady"].message) == ("Ready", "")
    assert half not in roles_of(site, orders)


def name(role: str) -> sql.Identifier:
    return sql.Identifier(role)


@pytest.fixture
def fixed(site: Site, database: str) -> Iterator[str]:
    """A login name that the namespace may claim."""
    login = f"{database}_user"
    site.serve(loginNames=[{"namespace": NAMESPACE, "names": [login, f"{login}_2"]}])
    yield login
    site.drop(database)
    with site.as_superuser() as connection:
        for role in (login, f"{login}_2"):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name(role)))


async def test_another_login_name_takes_over_and_the_login_of_before_is_dropped(
    site: Site, database: str, fixed: str
) -> None:
    stem = database.replace("_", "-")

    def named(login: str | None) -> Json:
        return spec_of(database, app={"secretName": f"{stem}-app", **({"loginName": login} if login else {})})

    pair = {f"{database}__app_a", f"{database}__app_b"}
    site.provision(database, named(None))
    async with Operator(site.objects) as operator:
        for login in (fixed, f"{fixed}_2", None):
            held = site.secret(database, "app")
            site.want(database, named(login))
            assert (await operator.bring(database)).reason == "Ready"
            assert works(site.server, held)
            assert works(site.server, site.secret(database, "app"))
            operator.let_pass(OVERLAP)
            last = await operator.bring(database)
            assert (last.reason, last.due) == ("Ready", None)
            assert not works(site.server, held)
            assert works(site.server, site.secret(database, "app"))
            with site.as_superuser() as connection:
                rows = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (held["user"],)).fetchall()
                assert rows == [], held["user"]
            assert bool(pair & roles_of(site, database)) == (login is None)
            assert (await operator.bring(database)).changes == ()


async def test_a_fixed_login_gets_its_password_in_place_and_that_is_said(site: Site, database: str, fixed: str) -> None:
    spec = spec_of(database, app={"secretName": f"{database.replace('_', '-')}-app", "loginName": fixed})
    site.provision(database, spec)
    held = site.secret(database, "app")
    async with Operator(site.objects) as operator:
        for asked in ("one", "two"):
            site.want(database, spec, {"rotate-at": asked})
            done = await operator.bring(database)
            assert (done.reason, handled(site, database), done.due) == ("Ready", asked, None)
            assert f"{fixed}: a login with a fixed name" in done.conditions["CredentialsReady"].message
            assert not works(site.server, held)
            held = site.secret(database, "app")
            assert works(site.server, held)
            assert held["user"] == fixed


@pytest.mark.parametrize("is_fixed", [False, True], ids=["pair", "fixed"])
async def test_another_secret_takes_over_and_the_one_of_before_is_deleted_after_the_overlap(
    site: Site, database: str, fixed: str, is_fixed: bool
) -> None:
    login = {"loginName": fixed} if is_fixed else {}
    site.provision(database, spec_of(database, app={"secretName": "first", **login}))
    held = site.objects.secret("first")
    async with Operator(site.objects) as operator:
        site.want(database, spec_of(database, app={"secretName": "second", **login}))
        moved = await operator.bring(database)
        assert moved.reason == "Ready"
        assert moved.due is not None
        assert site.objects.secret("first") == held
        assert works(site.server, held)
        now = site.objects.secret("second")
        assert works(site.server, now)
        assert (now["password"] == held["password"]) == is_fixed
        assert (await operator.bring(database)).changes == ()
        operator.let_pass(OVERLAP)
        last = await operator.bring(database)
        assert (last.reason, last.due, secret_body(site, "first")) == ("Ready", None, None)
        assert works(site.server, now)
        assert works(site.server, held) == is_fixed
        assert (await operator.bring(database)).changes == ()


async def test_a_secret_that_moves_in_an_overlap_cuts_nobody_off(site: Site, database: str) -> None:
    """No half is free: the new Secret takes the password over, and is rotated as soon as one is."""

    def in_secret(name: str) -> Json:
        return spec_of(database, app={"secretName": name})

    async with Operator(site.objects) as operator:
        site.want(database, in_secret("first"))
        await operator.bring(database)
        oldest = site.objects.secret("first")
        site.want(database, in_secret("first"), {"rotate-at": "now"})
        await operator.bring(database)
        operator.let_pass(OVERLAP / 2)
        old = site.objects.secret("first")
        site.want(database, in_secret("second"), {"rotate-at": "now"})
        moved = await operator.bring(database)
        assert moved.reason == "Ready"
        assert site.objects.secret("second")["password"] == old["password"]
        assert all(works(site.server, held) for held in (oldest, old))
        for _ in range(6):
            assert moved.due is not None
            operator.let_pass(moved.due)
            moved = await operator.bring(database)
            assert works(site.server, site.objects.secret("second"))
            if moved.due is None:
                break
        assert secret_body(site, "first") is None
        assert not any(works(site.server, held) for held in (oldest, old))
        assert moved.changes != ()
        assert (await operator.bring(database)).changes == ()


async def test_two_roles_that_swap_their_secrets_keep_working(site: Site, database: str) -> None:
    def named(app: str, reader: str) -> Json:
        return spec_of(database, app={"secretName": app}, readOnly={"secretName": reader})

    site.provision(database, named("first", "second"))
    held = [site.objects.secret(secret) for secret in ("first", "second")]
    async with Operator(site.objects) as operator:
        site.want(database, named("second", "first"))
        assert (await operator.bring(database)).reason == "Ready"
        assert all(works(site.server, one) for one in held)
        operator.let_pass(OVERLAP)
        assert (await operator.bring(database)).reason == "Ready"
        assert not any(works(site.server, one) for one in held)
        assert site.objects.secret("first")["user"].startswith(f"{database}__readonly_")
        assert works(site.server, site.objects.secret("first"))
        assert works(site.server, site.objects.secret("second"))


async def test_a_secret_of_somebody_elses_is_not_deleted(site: Site, database: str) -> None:
    async with Operator(site.objects) as operator:
        for secret in ("first", "second"):
            site.want(database, spec_of(database, app={"secretName": secret}))
            await operator.bring(database)
        site.objects.remove_secret("first")
        site.objects.put_secret(NAMESPACE, "first", {"note": "mine"}, {})
        operator.let_pass(OVERLAP)
        assert (await operator.bring(database)).reason == "Ready"
        assert site.objects.secret("first") == {"note": "mine"}


@pytest.mark.parametrize("password", ["", "by hand", "a\0b", "\x01", "é" * 5000], ids=repr)
async def test_a_pending_password_edited_by_hand_does_not_stick(site: Site, orders: str, password: str) -> None:
    """Whatever it is, the round ends with passwords that work."""
    spec = full_spec(orders, schemas=[{"name": "app"}])
    path = resources.secret(NAMESPACE, f"{orders.replace('_', '-')}-app")
    held = site.secret(orders, "app")
    edited = encoded({"pending-username": f"{orders}__app_b", "pending-password": password})
    await site.objects.request("PATCH", path, body={"data": edited})
    async with Operator(site.objects) as operator:
        found = await operator.bring(orders)
        assert found.reason == "Ready", found.message
        assert works(site.server, held)
        assert works(site.server, site.secret(orders, "app"))
        assert not [key for key in site.secret(orders, "app") if key.startswith("pending")]
        site.want(orders, spec)


@as_admin("createrole")
async def test_while_suspended_the_overlap_ends_and_the_marker_is_current_but_nothing_else_changes(
    site: Site, orders: str
) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    held = site.secret(orders, "app")
    async with Operator(site.objects) as operator:
        site.want(orders, spec, {"rotate-at": "one"})
        await operator.bring(orders)
        ready = site.objects.read()[key_of(orders).path]["status"]["conditions"][0]
        roles = {**spec["roles"], "extra": []}
        suspended = {**spec, "roles": roles, "suspend": True, "deletion": {"policy": "Retain", "gracePeriod": "3d"}}
        site.want(orders, suspended, {"rotate-at": "two"})
        first = await operator.bring(orders)
        assert first.kinds() == {"CommentOnRole"}
        assert first.due is not None
        assert works(site.server, held)
        with site.as_superuser() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 3").format(name(f"{orders}__app_b")))
        assert (await operator.bring(orders)).steps == ()
        operator.let_pass(OVERLAP)
        assert (await operator.bring(orders)).kinds() == {"CloseLogin"}
        assert not works(site.server, held)
        last = await operator.bring(orders)
        assert (last.steps, last.due) == ((), None)
        assert site.objects.read()[key_of(orders).path]["status"]["conditions"][0] == ready
        assert handled(site, orders) == "one"
        with site.as_superuser() as connection:
            row = connection.execute(
                "SELECT shobj_description(%s::regrole, 'pg_authid')", (f"{orders}__owner",)
            ).fetchone()
        assert row is not None
        assert '"grace":"3d"' in row[0]
        assert f"{orders}__keeper_a" in roles_of(site, orders)
        site.want(orders, {**suspended, "suspend": False}, {"rotate-at": "two"})
        assert (await operator.bring(orders)).reason == "Ready"
        assert handled(site, orders) == "two"


@as_admin("createrole")
async def test_while_stalled_by_a_bad_spec_the_overlap_ends_and_nothing_else_changes(site: Site, orders: str) -> None:
    spec = full_spec(orders, schemas=[{"name": "app"}])
    held, leaver = site.secret(orders, "app"), site.secret(orders, "keeper")
    without = {**spec, "roles": {**spec["roles"], "extra": []}}
    async with Operator(site.objects) as operator:
        site.want(orders, without, {"rotate-at": "one"})
        await operator.bring(orders)
        bad = {**without, "parameters": {"no_such": "1"}, "deletion": {"policy": "Retain", "gracePeriod": "3d"}}
        site.want(orders, bad, {"rotate-at": "two"})
        stalled = await operator.bring(orders)
        assert (stalled.stalled, stalled.kinds()) == (True, {"CommentOnRole"})
        assert stalled.due is not None
        assert timedelta() < stalled.due <= OVERLAP
        assert all(works(site.server, one) for one in (held, leaver))
        operator.let_pass(OVERLAP)
        ended = await operator.bring(orders)
        assert (ended.reason, ended.message) == (stalled.reason, stalled.message)
        assert ended.kinds() == {"CloseLogin"}
        assert not any(works(site.server, one) for one in (held, leaver))
        assert works(site.server, site.secret(orders, "app"))
        last = await operator.bring(orders)
        assert (last.stalled, last.steps, last.due) == (True, (), None)
        site.want(orders, without, {"rotate-at": "two"})
        assert (await operator.bring(orders)).reason == "Ready"
        assert works(site.server, site.secret(orders, "app"))


@as_admin("createrole")
async def test_a_change_by_hand_is_told_of_also_when_a_rotation_comes_with_its_repair(site: Site, orders: str) -> None:
    def counted() -> float:
        labels = {"server": "main", "step": "RevokeOnDatabase"}
        return REGISTRY.get_sample_value("servicedb_drift_repaired_total", labels) or 0.0

    spec, before = full_spec(orders, schemas=[{"name": "app"}]), counted()
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        with site.as_superuser() as connection:
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(name(orders)))
        site.want(orders, spec, {"rotate-at": "now"})
        rotated = await operator.bring(orders)
    assert {"ActivateSecret", "RevokeOnDatabase"} <= rotated.kinds()
    told = [body for body in site.objects.read().values() if body.get("reason") == "DriftRepaired"]
    assert len(told) == 1
    assert "1 changes by hand" in str(told)
    assert counted() == before + 1


def handled(site: Site, name: str) -> str | None:
    status = site.objects.read()[key_of(name).path]["status"]
    value: str | None = status.get("handled", {}).get("rotateAt")
    return value


def events(site: Site) -> set[str]:
    return {body["reason"] for body in site.objects.read().values() if "involvedObject" in body or "regarding" in body}


def encoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


# Killed


IN_THE_OVERLAP: tuple[type[Step], ...] = (CloseLogin,)
"""Steps that come when the overlap is over, not when the rotation begins."""


def moments(kinds: tuple[type[Step], ...]) -> list[object]:
    return [
        pytest.param(kind, moment, id=f"{moment}-{kind.__name__}")
        for kind in kinds
        for moment in (Moment.BEFORE, Moment.AFTER)
    ]


@as_admin("createrole")
@pytest.mark.parametrize(("kind", "moment"), moments(ROTATION))
async def test_killed_anywhere_in_a_rotation_the_old_and_the_new_password_work(
    site: Site, database: str, kind: type[Step], moment: Moment
) -> None:
    site.provision(database, spec_of(database))
    old = site.secret(database, "app")
    late = kind in IN_THE_OVERLAP
    site.want(database, spec_of(database), {"rotate-at": "now"})
    if late:
        await brought(site, database)
    ahead = OVERLAP if late else timedelta()
    assert killed_at(site.objects.file, database, kind, moment, ahead).exitcode == -signal.SIGKILL
    assert works(site.server, site.secret(database, "app"))
    assert works(site.server, old) == (not late or moment is Moment.BEFORE)
    ended = await brought(site, database, ahead=ahead)
    assert (ended.reason, handled(site, database)) == ("Ready", "now")
    new = site.secret(database, "app")
    assert new["user"] == f"{database}__app_b"
    assert works(site.server, new)
    assert works(site.server, old) == (not late)
    await brought(site, database, ahead=2 * OVERLAP)
    assert (works(site.server, old), works(site.server, new)) == (False, True)


@as_admin("createrole")
@pytest.mark.parametrize(("kind", "moment"), moments(DEPARTURE))
async def test_killed_anywhere_when_a_login_leaves_it_is_gone_in_the_end(
    site: Site, database: str, kind: type[Step], moment: Moment
) -> None:
    stem = database.replace("_", "-")
    site.provision(database, spec_of(database, migrator={"secretName": f"{stem}-migrator"}))
    with site.login(database, "migrator") as migrator:
        held = name(f"{database}__migrator_a")
        migrator.execute(sql.SQL("CREATE TABLE goods (); GRANT SELECT ON goods TO {}").format(held))
    site.want(database, spec_of(database))
    if kind is not NoteOnLogin:
        await brought(site, database)
    ahead = OVERLAP if kind is not NoteOnLogin else timedelta()
    assert killed_at(site.objects.file, database, kind, moment, ahead).exitcode == -signal.SIGKILL
    assert works(site.server, site.secret(database, "app"))
    for time in (OVERLAP, 2 * OVERLAP, 2 * OVERLAP):
        ended = await brought(site, database, ahead=time)
        assert ended.reason == "Ready", ended.message
    assert ended.changes == ()
    assert not [role for role in roles_of(site, database) if "migrator" in role]
    assert secret_body(site, f"{stem}-migrator") is None
    assert works(site.server, site.secret(database, "app"))


async def brought(site: Site, name: str, *, ahead: timedelta = timedelta()) -> Round:
    """By an operator that was just started, with its clock `ahead`."""
    async with Operator(site.objects) as operator:
        operator.let_pass(ahead)
        return await operator.bring(name)
