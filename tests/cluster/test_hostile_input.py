"""Input that means harm, and changes by hand to what is ours: said, taken back, or left until a person decides.

PostgreSQL 14 is not to be had here: its sentence is tested on what a look would show. An expired certificate is shown
to the operator by tests/postgres/test_login.py.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from servicedb.plan.marker import Marker

from tests.cluster.objects import Objects, Refused, condition, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.tenant import (
    OPERATOR_NAMESPACE,
    Tenant,
    everything_about_roles,
    expected_roles,
    marker_of,
    roles_of,
    shown,
)
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Login, Server


@pytest.fixture(scope="module", autouse=True)
def running(operator: OperatorProcess) -> OperatorProcess:
    """One operator for all: nothing that is wrong with one object may keep it from the others."""
    return operator


@pytest.fixture(scope="module")
def server(postgres: Callable[[int], Server]) -> Server:
    return postgres(15)


@pytest.fixture(scope="module")
def tenant(tenant: Tenant) -> Tenant:
    """For all tests that change nothing about the server, which allows file_fdw: each uses names of its own."""
    tenant.change_server({"spec": {"extensions": {"allowed": ["file_fdw"]}}})
    tenant.wait_server_ready()
    return tenant


@pytest.fixture
def own(objects: Objects, private_server: StartServer, running: OperatorProcess) -> Iterator[Tenant]:
    """A tenant for one test, whose server it may stop and change."""
    with Tenant.on(objects, private_server()) as made:
        yield made


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"n{secrets.token_hex(4)}"


# What the API server refuses

REFUSED: Final = {
    "a newline in a name": ({"spec.databaseName": "or\nders"}, "spec.databaseName"),
    "NUL in a name": ({"spec.databaseName": "or\0ders"}, "spec.databaseName"),
    "a name of 64 bytes": ({"spec.databaseName": "o" * 64}, "spec.databaseName"),
    "a name of 64 bytes in fewer characters": ({"spec.databaseName": "ö" * 32}, "PostgreSQL cuts names after 63 bytes"),
    "one secretName twice": (
        {"spec.roles": {"app": {"secretName": "one"}, "readOnly": {"secretName": "one"}}},
        "two of spec.roles have the same secretName",
    ),
    "one loginName twice": (
        {"spec.roles": {role: {"secretName": role.lower(), "loginName": "one"} for role in ("app", "readOnly")}},
        "two of spec.roles have the same loginName",
    ),
    "the name of a setting with a quote": ({"spec.parameters": {"work'mem": "4MB"}}, "is not the name of a PostgreSQL"),
}


@pytest.mark.parametrize(("changes", "says"), REFUSED.values(), ids=REFUSED)
def test_the_api_server_refuses(changes: dict[str, Any], says: str, tenant: Tenant, name: str) -> None:
    with pytest.raises(Refused) as refused:
        tenant.create(name, changes)
    assert says in str(refused.value)


# What the operator refuses before it touches the server

NAMES: Final = {
    "an apostrophe": ("or'ders", "only a-z, 0-9 and _ are"),
    "a semicolon": ("orders; drop", "only a-z, 0-9 and _ are"),
    "a full-width look-alike": ("\uff4frders", r'database name "\uff4frders" is not usable'),
    "an invisible character": ("or\u200bders", r'database name "or\u200bders" is not usable'),
}
UNTOUCHED: Final = {
    **{what: ({"spec.databaseName": name}, "InvalidName", says) for what, (name, says) in NAMES.items()},
    "too long with an extra role": (
        {
            "spec.databaseName": "o" * 40,
            "spec.roles.extra": [{"name": "x" * 32, "access": "ReadOnly", "secretName": "x"}],
        },
        "InvalidName",
        "choose a spec.databaseName shorter by 13",
    ),
    "a schema with a quote": ({"spec.schemas": [{"name": 'a"b'}]}, "InvalidName", "use letters, digits and _ only"),
    "a schema in upper case": ({"spec.schemas": [{"name": "App"}]}, "InvalidName", "not in lower case"),
    "a schema with pg_": ({"spec.schemas": [{"name": "pg_app"}]}, "InvalidName", "no pg_ in front"),
    "a login name with a quote": ({"spec.roles.app.loginName": 'or"ders'}, "InvalidName", "is not usable"),
    "the login name of a superuser": ({"spec.roles.app.loginName": "postgres"}, "InvalidName", "is reserved"),
    "a parameter kept for admins": (
        {"spec.parameters": {"log_statement": "none"}},
        "InvalidParameter",
        'names "log_statement"',
    ),
    "the search_path": ({"spec.parameters": {"search_path": "evil"}}, "InvalidParameter", 'names "search_path"'),
    "the role that a login works as": (
        {"spec.roles.app.parameters": {"role": "postgres"}},
        "InvalidParameter",
        'parameters of spec.roles app names "role"',
    ),
    "an annotation that no admin allowed": (
        {"spec.credentials.secretAnnotations": {"replicator.example.org/to": "all"}},
        "SecretMetadataNotAllowed",
        "spec.credentials.secretAnnotations names",
    ),
}


@pytest.mark.parametrize(("changes", "reason", "says"), UNTOUCHED.values(), ids=UNTOUCHED)
def test_refused_before_anything_is_made(
    changes: dict[str, Any], reason: str, says: str, tenant: Tenant, name: str
) -> None:
    before = everything_about_roles(tenant.server)
    tenant.create(name, changes)
    tenant.wait_reason(name, reason, beside="Stalled", says=says)
    assert everything_about_roles(tenant.server) == before
    assert tenant.secret(f"{name}-app") is None
    tenant.delete(name)


# What the server refuses

REFUSED_THERE: Final = {
    "a value out of bounds": ({"spec.parameters": {"work_mem": "1kB"}}, "RefusedByServer", "work_mem"),
    "a role's value that is none": (
        {"spec.roles.app.parameters": {"TimeZone": "Nowhere/Land"}},
        "RefusedByServer",
        "TimeZone",
    ),
    "a locale that is not there": ({"spec.locale": "xx_XX"}, "RefusedByServer", "locale"),
    "an encoding that its locale can't have": (
        {"spec.locale": "C.UTF-8", "spec.encoding": "LATIN1"},
        "RefusedByServer",
        "encoding",
    ),
    "an extension for superusers alone": (
        {"spec.extensions": [{"name": "file_fdw"}]},
        "ExtensionUnavailable",
        'have a DBA run CREATE EXTENSION "file_fdw" SCHEMA "extensions" in that database',
    ),
}


@pytest.mark.parametrize(("changes", "reason", "says"), REFUSED_THERE.values(), ids=REFUSED_THERE)
def test_refused_by_the_server(changes: dict[str, Any], reason: str, says: str, tenant: Tenant, name: str) -> None:
    tenant.create(name, changes)
    tenant.wait_reason(name, reason, beside="Stalled", says=says)


# Servers


def test_a_namespace_that_is_allowed_later(tenant: Tenant, name: str) -> None:
    selector = {"from": "Selector", "selector": {"matchLabels": {"example.org/of": name}}}
    tenant.add_server(name, changes={"spec.allowedNamespaces": selector})
    tenant.create(name, {"spec.serverRef.name": name})
    tenant.wait_reason(name, "NamespaceNotAllowed", says=f'namespace "{tenant.name}" may not have databases on server')
    tenant.objects.patch("Namespace", tenant.name, {"metadata": {"labels": {"example.org/of": name}}})
    tenant.wait_ready(name)


def replace_admin(tenant: Tenant, secret: str, admin: Login) -> None:
    values = {"username": admin.name, "password": admin.password}
    tenant.objects.patch("Secret", secret, {"stringData": values}, OPERATOR_NAMESPACE)


def test_an_admin_that_may_not_make_roles(tenant: Tenant, name: str) -> None:
    weak = Login(name, secrets.token_hex(16))
    with tenant.server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(weak.name)))
        verifier = connection.pgconn.encrypt_password(weak.password.encode(), weak.name.encode(), b"scram-sha-256")
        alter = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(alter.format(sql.Identifier(weak.name), sql.Literal(verifier.decode())))
    tenant.add_server(name)
    replace_admin(tenant, name, weak)
    says = f'have a DBA run: ALTER ROLE "{name}" CREATEROLE CREATEDB;'
    tenant.wait_server_reason("AdminLacksPrivilege", says=says, name=name)
    assert (condition(tenant.get_server(name), "Authorized") or {})["status"] == "False"
    with tenant.server.connect() as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE CREATEDB").format(sql.Identifier(name)))
    says = f'the admin "{name}" is no member of it; have a DBA run: GRANT "{tenant.server.admin.name}" TO "{name}"'
    tenant.wait_server_reason("LockDatabaseTaken", says=says, name=name)
    with tenant.server.connect() as connection:
        membership = sql.SQL("GRANT {} TO {}")
        connection.execute(membership.format(sql.Identifier(tenant.server.admin.name), sql.Identifier(name)))
    tenant.wait_server_ready(name)


def test_another_server_at_the_same_address(own: Tenant, private_server: StartServer) -> None:
    own.create("orders")
    own.wait_ready("orders")
    before = own.secret("orders-app")
    oid = (own.get("orders") or {})["status"]["databaseOid"]
    other = private_server()
    other.stop()
    untouched = swap(own, other)
    says = f"its system identifier was {own.server.system_identifier} and is now {other.system_identifier}"
    own.wait_server_reason("ServerChanged", says=says)
    own.wait_reason("orders", "ServerChanged", status="Unknown", says=says)
    assert everything_about_roles(other) == untouched
    other.stop()
    replace_admin(own, own.name, own.server.admin)
    own.server.start()
    own.wait_ready("orders")
    assert own.secret("orders-app") == before
    own.server.stop()
    swap(own, other)
    own.wait_server_reason("ServerChanged")
    own.annotate_server("acknowledge", str(other.system_identifier))
    own.wait_server_ready()
    own.wait_reason("orders", "DatabaseMissing", says=f'annotate this object servicedb.io/recreate="{oid}"')
    own.annotate("orders", "recreate", oid)
    own.wait_ready("orders")
    assert roles_of(other, "orders") == expected_roles("orders", "app")
    assert own.works_as("orders-app") == "orders__rw"


def swap(tenant: Tenant, other: Server) -> list[Any]:
    """Let `other`, which does not run, answer where the tenant's server did; gives all about its roles."""
    if tenant.server.is_running:
        tenant.server.stop()
    other.port = tenant.server.port
    other.settings["port"] = str(other.port)
    other.start()
    found = everything_about_roles(other)
    replace_admin(tenant, tenant.name, other.admin)
    return found


# Whose a database, a login and a Secret are


def test_a_secret_of_another_object(tenant: Tenant, name: str) -> None:
    tenant.create(name)
    tenant.wait_ready(name)
    before = tenant.secret(f"{name}-app")
    tenant.create(f"{name}b", {"spec.roles.app.secretName": f"{name}-app"})
    tenant.wait_reason(f"{name}b", "SecretConflict", says="was not made for this database")
    assert tenant.secret(f"{name}-app") == before
    assert tenant.works_as(f"{name}-app") == f"{name}__rw"


EDITS: Final = {
    "another host": {"host": "evil.example.org", "uri": "postgresql://evil.example.org/"},
    "another password": {"password": "mistyped"},
    "another user": {"username": "postgres"},
    "a key too many": {"note": "mine"},
    "a pending password of a stranger": {"pending-username": "postgres", "pending-password": "stolen"},
    "a pending password": {"pending-username": "{}__app_b", "pending-password": "chosen by a tenant"},
    "a key less": {"password": None, "uri": None},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_secret_edited_by_hand_is_repaired(edit: dict[str, str | None], tenant: Tenant, name: str) -> None:
    tenant.create(name)
    tenant.wait_ready(name)
    before = tenant.secret(f"{name}-app") or {}
    change = {key: value.format(name) if value is not None else None for key, value in edit.items()}
    gone = {key: None for key, value in change.items() if value is None}
    put = {key: value for key, value in change.items() if value is not None}
    tenant.objects.patch("Secret", f"{name}-app", {"stringData": put, "data": gone}, tenant.name)

    def repaired() -> bool:
        found = tenant.secret(f"{name}-app") or {}
        expected = {"username", "user", "password", "uri", "jdbc-uri", "pgpass"}  # may name the other half by now
        return (
            found.keys() == before.keys()
            and {key: found[key] for key in found.keys() - expected}
            == {key: before[key] for key in before.keys() - expected}
            and logs_in(found)
        )

    wait_for("a repaired Secret", repaired, told=lambda: f"{shown(tenant.get(name))}")
    assert tenant.works_as(f"{name}-app") == f"{name}__rw"
    tenant.wait_ready(name)


def logs_in(values: dict[str, str]) -> bool:
    try:
        with psycopg.connect(values["uri"]):
            return True
    except psycopg.OperationalError:
        return False


# Changes by hand on the server


def forged(marker: Marker, forgery: str | dict[str, Any] | None) -> str | None:
    if not isinstance(forgery, dict):
        return forgery
    values = {field: getattr(marker, field) for field in Marker.__dataclass_fields__} | forgery
    return Marker(**values).comment()


def comment_on_owner(tenant: Tenant, database: str, comment: str | None) -> None:
    with tenant.server.connect() as connection:
        text = sql.SQL("COMMENT ON ROLE {} IS {}")
        connection.execute(text.format(sql.Identifier(f"{database}__owner"), sql.Literal(comment)))


def test_an_uid_of_earlier_in_the_marker_is_brought_up_to_date(tenant: Tenant, name: str) -> None:
    tenant.create(name)
    tenant.wait_ready(name)
    marker = marker_of(tenant.server, name)
    assert marker is not None
    comment_on_owner(tenant, name, forged(marker, {"uid": "earlier"}))
    wait_for("the uid", lambda: marker_of(tenant.server, name) == marker, told=lambda: shown(tenant.get(name)))


def test_a_hostile_search_path_is_repaired_and_reaches_no_admin(tenant: Tenant, name: str) -> None:
    """A tenant's functions must not stand where the administrator's statements look."""
    tenant.create(name, {"spec.roles.migrator": {"secretName": f"{name}-migrator"}})
    tenant.wait_ready(name)
    with tenant.log_in(f"{name}-migrator") as owner:
        owner.execute("CREATE SCHEMA evil")
        owner.execute("CREATE TABLE evil.caught (who text)")
        owner.execute("GRANT USAGE ON SCHEMA evil TO PUBLIC")
        owner.execute("GRANT INSERT ON evil.caught TO PUBLIC")
        owner.execute(
            "CREATE FUNCTION evil.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS "
            "$$ INSERT INTO evil.caught VALUES (session_user); SELECT session_user $$"
        )
        owner.execute("GRANT EXECUTE ON FUNCTION evil.pg_get_userbyid TO PUBLIC")
    with tenant.server.connect() as connection:
        set_it = sql.SQL("ALTER DATABASE {} SET ").format(sql.Identifier(name))
        connection.execute(set_it + sql.SQL("search_path = evil, pg_catalog"))
        with tenant.server.connect(dbname=name) as caught:
            caught.execute("SELECT pg_get_userbyid(10)")  # the trap works
            assert ("postgres",) in caught.execute("DELETE FROM evil.caught RETURNING who").fetchall()
        for setting in ("statement_timeout = 1", "role = none", "default_transaction_read_only = on"):
            connection.execute(set_it + sql.SQL(setting))
        # The operator repairs a database before it goes inside: only on its own role the path is there when it does.
        admin, path = sql.Identifier(tenant.server.admin.name), sql.SQL("search_path = evil, pg_catalog")
        its_own = sql.SQL("ALTER ROLE {} IN DATABASE {} SET ").format(admin, sql.Identifier(name))
        connection.execute(its_own + path)
    tenant.change(name, {"spec": {"schemas": [{"name": "app"}]}})  # has it look inside
    tenant.wait_ready(name)
    wait_for(
        "the search_path repaired",
        lambda: (
            setting_of(tenant, name, "search_path") == "app, public, extensions"
            and setting_of(tenant, name, "statement_timeout") == "0"
        ),
        told=lambda: shown(tenant.get(name)),
    )
    with tenant.server.connect(dbname=name) as connection:
        assert connection.execute("SELECT who FROM evil.caught").fetchall() == []


def setting_of(tenant: Tenant, name: str, setting: str) -> str:
    with tenant.log_in(f"{name}-app") as session:
        row = session.execute("SELECT current_setting(%s)", (setting,)).fetchone()
    assert row is not None
    return str(row[0])


def test_a_database_dropped_by_hand(tenant: Tenant, name: str) -> None:
    """No empty one takes its place, but for the one that a person asks for, and for that loss alone."""
    tenant.create(name)
    tenant.wait_ready(name)
    password = (tenant.secret(f"{name}-app") or {})["password"]
    for _ in range(2):
        oid = (tenant.get(name) or {})["status"]["databaseOid"]
        with tenant.server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        says = (
            f'database "{name}" (OID {oid}) is gone from server "{tenant.name}"; restore it, or, to start with an empty'
        )
        tenant.wait_reason(name, "DatabaseMissing", says=says)
        tenant.annotate(name, "recreate", oid)
        tenant.wait_ready(name)
        assert (tenant.get(name) or {})["status"]["databaseOid"] != oid
        assert tenant.works_as(f"{name}-app") == f"{name}__rw"
    assert (tenant.secret(f"{name}-app") or {})["password"] == password


def test_a_database_replaced_by_hand(tenant: Tenant, name: str) -> None:
    tenant.create(name)
    tenant.wait_ready(name)
    rename(tenant, name, f"{name}x")
    with tenant.server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    oid = (tenant.get(name) or {})["status"]["databaseOid"]
    says = f"not {oid}: somebody dropped or renamed this object's database and made another under its name"
    tenant.wait_reason(name, "DatabaseReplaced", says=says)
    assert roles_of(tenant.server, name) == expected_roles(name, "app")
    rename(tenant, name, f"{name}y")
    rename(tenant, f"{name}x", name)
    tenant.wait_ready(name)


def rename(tenant: Tenant, old: str, new: str) -> None:
    """Sessions that are just being tried stand in the way for a moment."""

    def renamed() -> bool:
        with tenant.server.connect() as connection, contextlib.suppress(psycopg.errors.ObjectInUse):
            text = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(text.format(sql.Identifier(old), sql.Identifier(new)))
            return True
        return False

    wait_for(f"{old} renamed", renamed)


def test_a_role_renamed_by_hand_is_made_again(tenant: Tenant, name: str) -> None:
    tenant.create(name)
    tenant.wait_ready(name)
    login = (tenant.secret(f"{name}-app") or {})["username"]
    with tenant.server.connect() as connection:
        text = sql.SQL("ALTER ROLE {} RENAME TO {}")
        connection.execute(text.format(sql.Identifier(login), sql.Identifier(f"{name}_stray")))
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS NULL").format(sql.Identifier(f"{name}_stray")))
    wait_for("the roles", lambda: expected_roles(name, "app") <= roles_of(tenant.server, name))
    wait_for("a login", lambda: logs_in(tenant.secret(f"{name}-app") or {"uri": ""}))
    tenant.wait_ready(name)


# Suspended
