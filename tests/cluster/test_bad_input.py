"""Bad input: each row ends in a sentence that says what is wrong and what to do, and makes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker

from tests.cluster.harness.pki import Authority
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.tenant import (
    OPERATOR_NAMESPACE,
    Tenant,
    everything_about_roles,
    logins_of,
    marker_of,
    roles_of,
)
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server

NAME: Final = "spec.databaseName"


@dataclass(frozen=True, slots=True)
class Row:
    """`changes` to a plain ServiceDatabase `name`, the reason that Ready gets and words of its sentence."""

    name: str
    changes: dict[str, Any]
    reason: str
    words: str
    waits_for_a_person: bool = True


ROWS: Final = [
    pytest.param(Row("upper", {NAME: "Orders"}, "InvalidName", "only a-z, 0-9 and _"), id="capitals"),
    pytest.param(Row("dashes", {NAME: "a-b"}, "InvalidName", "only a-z, 0-9 and _"), id="a dash"),
    pytest.param(Row("quote", {NAME: 'or"ders; --'}, "InvalidName", "only a-z, 0-9 and _"), id="a quote"),
    pytest.param(Row("cyrillic", {NAME: "\u043erders"}, "InvalidName", '"\\u043erders"'), id="a look-alike letter"),
    pytest.param(Row("digit", {NAME: "1orders"}, "InvalidName", "a letter first"), id="a digit first"),
    pytest.param(Row("twice", {NAME: "a__b"}, "InvalidName", 'holds "__"'), id="two underscores"),
    pytest.param(Row("ending", {NAME: "orders_"}, "InvalidName", 'ends in "_"'), id="an underscore at the end"),
    pytest.param(Row("long", {NAME: "a" * 52}, "InvalidName", "PostgreSQL allows 63"), id="too long for its roles"),
    pytest.param(Row("with.dots", {}, "InvalidName", "set spec.databaseName"), id="an object's name that is none"),
    *(
        pytest.param(Row(f"reserved{number}", {NAME: name}, "InvalidName", "reserved"), id=f"reserved: {name}")
        for number, name in enumerate(("postgres", "servicedb", "template1", "template0", "templates", "pg_orders"))
    ),
    pytest.param(
        Row("lost", {"spec.serverRef.name": "nowhere"}, "ServerNotFound", 'no DatabaseServer "nowhere"', False),
        id="a server that is not there",
    ),
    pytest.param(
        Row("setting", {"spec.parameters": {"shared_buffers": "1GB"}}, "InvalidParameter", '"shared_buffers"'),
        id="a parameter that is not allowed",
    ),
    pytest.param(
        Row("value", {"spec.parameters": {"work_mem": "lots"}}, "RefusedByServer", 'parameter "work_mem": "lots"'),
        id="a value that PostgreSQL refuses",
    ),
    pytest.param(
        Row("rolevalue", {"spec.roles.app.parameters": {"work_mem": "lots"}}, "RefusedByServer", '"work_mem": "lots"'),
        id="a value that PostgreSQL refuses, for one role",
    ),
    pytest.param(
        Row("noext", {"spec.extensions": [{"name": "nosuch"}]}, "ExtensionUnavailable", "is not installed"),
        id="an extension that is not there",
    ),
    pytest.param(
        Row("untrusted", {"spec.extensions": [{"name": "dblink"}]}, "ExtensionUnavailable", "spec.extensions.allowed"),
        id="an extension that is not trusted",
    ),
    pytest.param(
        Row(
            "oldext", {"spec.extensions": [{"name": "pg_trgm", "version": "0.1"}]}, "ExtensionUnavailable", "there are"
        ),
        id="a version that is not there",
    ),
    pytest.param(
        Row("login", {"spec.roles.app.loginName": "intern"}, "LoginNameNotAllowed", "spec.loginNames"),
        id="a login name that is not allowed",
    ),
    pytest.param(
        Row("loginname", {"spec.roles.app.loginName": "a__b"}, "InvalidName", 'holds "__"'),
        id="a login name that is none",
    ),
    pytest.param(
        Row(
            "limit",
            {"spec.connectionLimit": 1, "spec.roles.migrator": {"secretName": "limit-m"}},
            "InvalidConnectionLimit",
            "1 are left for 2 others",
        ),
        id="fewer connections than roles",
    ),
    pytest.param(
        Row("schema", {"spec.schemas": [{"name": "extensions"}]}, "InvalidName", "taken"), id="a schema that is taken"
    ),
    pytest.param(
        Row(
            "labels",
            {"spec.credentials": {"secretLabels": {"replicator.example.org/copy": "everywhere"}}},
            "SecretMetadataNotAllowed",
            "SERVICEDB_SECRET_METADATA_PREFIXES",
        ),
        id="a label that would copy the Secret",
    ),
    pytest.param(
        Row(
            "overridden",
            {"spec.roles.app.overrides": [{"table": "no_schema", "privileges": []}]},
            "InvalidOverride",
            "write it with its schema",
        ),
        id="an override without a schema",
    ),
]


@pytest.fixture(scope="module")
def server(postgres: Callable[[int], Server]) -> Server:
    return postgres(15)


@pytest.fixture(scope="module")
def tenant(tenant: Tenant) -> Tenant:
    """On PostgreSQL 15, with the login names intern2 and shared allowed."""
    names = [{"namespace": tenant.name, "names": ["intern2", "shared"]}]
    tenant.change_server({"spec": {"loginNames": names}})
    tenant.wait_server_ready()
    return tenant


def database_of(row: Row) -> str:
    return str(row.changes.get(NAME, row.name)).replace("-", "_")


@pytest.mark.parametrize("row", ROWS)
def test_bad_input_is_a_sentence_and_makes_nothing(row: Row, tenant: Tenant, server: Server) -> None:
    before = everything_about_roles(server)
    tenant.create(row.name, row.changes)
    ready = tenant.wait_reason(row.name, row.reason)
    assert row.words in ready["message"]
    found = tenant.get(row.name)
    assert (condition(found, "Stalled") is not None) is row.waits_for_a_person
    assert (condition(found, "Reconciling") is not None) is not row.waits_for_a_person
    assert everything_about_roles(server) == before
    assert not [name for name in tenant.secrets() if name.startswith(f"{row.name}-")]
    tenant.delete(row.name)


def test_bad_input_that_is_corrected_becomes_ready_by_itself(tenant: Tenant) -> None:
    tenant.create("corrected", {"spec.parameters": {"work_mem": "lots"}})
    tenant.wait_reason("corrected", "RefusedByServer")
    tenant.change("corrected", {"spec": {"parameters": {"work_mem": "5MB"}}})
    tenant.wait_ready("corrected")
    with tenant.log_in("corrected-app") as session:
        assert session.execute("SHOW work_mem").fetchone() == ("5MB",)


def test_a_server_that_comes_later_is_found(tenant: Tenant, server: Server) -> None:
    later = f"{tenant.name}-later"
    tenant.create("patient", {"spec.serverRef.name": later})
    tenant.wait_reason("patient", "ServerNotFound")
    tenant.add_server(later)
    tenant.wait_ready("patient")


# Two who want the same


def test_the_second_object_for_a_database_is_told_who_has_it(tenant: Tenant, server: Server) -> None:
    tenant.create("first", {NAME: "contested"})
    tenant.wait_ready("first")
    before = everything_about_roles(server)
    tenant.create("second", {NAME: "contested"})
    message = tenant.wait_reason("second", "Conflict")["message"]
    assert f"ServiceDatabase {tenant.name}/first" in message
    assert "choose another spec.databaseName" in message
    assert everything_about_roles(server) == before
    tenant.delete("first")
    wait_for("the release", lambda: getattr(marker_of(server, "contested"), "released", None) is not None)
    tenant.annotate("second", "reconcile-at", "after the release")
    wait_for(
        "the second to be told so",
        lambda: "was released by" in str((condition(tenant.get("second")) or {}).get("message")),
    )
    assert logins_of(server, "contested") == set()


def test_a_login_name_serves_one_database_only(tenant: Tenant) -> None:
    tenant.create("holder", {"spec.roles.app.loginName": "shared"})
    tenant.wait_ready("holder")
    tenant.create("claimant", {"spec.roles.app.loginName": "shared"})
    assert '"holder__owner"' in tenant.wait_reason("claimant", "Conflict")["message"]
    assert tenant.works_as("holder-app") == "holder__rw"


def test_a_role_of_somebody_else_is_never_touched(tenant: Tenant, server: Server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE ROLE intern2 LOGIN PASSWORD 'of somebody else'")
    before = everything_about_roles(server)
    tenant.create("squatted", {"spec.roles.app.loginName": "intern2"})
    assert 'role "intern2"' in tenant.wait_reason("squatted", "Conflict")["message"]
    assert everything_about_roles(server) == before


def test_a_database_of_somebody_else_is_never_touched(tenant: Tenant, server: Server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE DATABASE foreign_one")
    before = everything_about_roles(server)
    tenant.create("foreigner", {NAME: "foreign_one"})
    assert "was not made by servicedb" in tenant.wait_reason("foreigner", "Conflict")["message"]
    assert everything_about_roles(server) == before


# Secrets


def test_a_secret_of_somebody_else_is_never_overwritten(tenant: Tenant) -> None:
    tenant.add_secret("taken-app", {"password": "somebody else's"})
    tenant.create("taken")
    assert "was not made for this database" in tenant.wait_reason("taken", "SecretConflict")["message"]
    assert tenant.secret("taken-app") == {"password": "somebody else's"}
    tenant.objects.delete("Secret", "taken-app", tenant.name)
    tenant.wait_ready("taken")
    assert tenant.works_as("taken-app") == "taken__rw"


def test_a_secret_deleted_by_hand_comes_back_and_works(tenant: Tenant, server: Server) -> None:
    tenant.create("careless")
    tenant.wait_ready("careless")
    old = tenant.secret("careless-app")
    assert old is not None
    tenant.objects.delete("Secret", "careless-app", tenant.name)
    wait_for("the Secret again", lambda: "password" in (tenant.secret("careless-app") or {}))
    new = tenant.secret("careless-app")
    assert new is not None
    assert (old["username"], new["username"]) == ("careless__app_a", "careless__app_b")
    assert tenant.works_as("careless-app") == "careless__rw"
    with server.connect(old["username"], old["password"], dbname="careless") as pool:  # who still has it may stay
        assert pool.execute("SELECT current_user").fetchone() == ("careless__rw",)


@pytest.mark.parametrize("key", ["password", "host", "uri", "username"])
def test_a_secret_edited_by_hand_is_put_right(key: str, tenant: Tenant) -> None:
    name = f"edited-{key}"
    tenant.create(name)
    tenant.wait_ready(name)
    before = tenant.secret(f"{name}-app")
    assert before is not None
    change = {"stringData": {key: "postgres"}}
    tenant.objects.patch("Secret", f"{name}-app", change, tenant.name)
    wait_for(
        "the Secret put right",
        lambda: (tenant.secret(f"{name}-app") or {}).get(key) not in (None, "postgres"),
        told=lambda: str(condition(tenant.get(name))),
    )
    tenant.wait_ready(name)
    assert tenant.works_as(f"{name}-app") == f"{name.replace('-', '_')}__rw"
    after = tenant.secret(f"{name}-app")
    assert after is not None
    assert (after["password"] == before["password"]) is (key in ("host", "uri"))


# Markers, databases dropped and renamed by hand, hostile settings


FORGED: Final = [
    pytest.param("not JSON", "MarkerLost", "no marker", id="garbage"),
    pytest.param(None, "MarkerLost", "no marker", id="no comment"),
    pytest.param({"cluster": "another"}, "Conflict", "cluster another", id="another cluster"),
    pytest.param({"namespace": "theirs"}, "Conflict", "theirs/", id="another namespace"),
    pytest.param({"namespace_uid": "earlier"}, "ReleasedByOther", "earlier", id="an earlier namespace"),
    pytest.param({"oid": 1}, "DatabaseReplaced", "not 1", id="another database"),
]


@pytest.mark.parametrize(("forged", "reason", "words"), FORGED)
def test_a_forged_marker_stops_everything(
    forged: dict[str, Any] | str | None, reason: str, words: str, tenant: Tenant, server: Server
) -> None:
    name = f"forged-{reason.lower()}-{words.split(maxsplit=1)[0].strip('/')}" + ("-none" if forged is None else "")
    database = name.replace("-", "_")
    tenant.create(name)
    tenant.wait_ready(name)
    true = marker_of(server, database)
    assert true is not None
    _comment(server, database, _changed_marker(true, forged))
    before = everything_about_roles(server)
    tenant.annotate(name, "reconcile-at", "now")
    assert words in tenant.wait_reason(name, reason)["message"]
    assert condition(tenant.get(name), "Stalled") is not None
    assert everything_about_roles(server) == before
    assert tenant.works_as(f"{name}-app") == f"{database}__rw"
    _comment(server, database, true.comment())
    tenant.annotate(name, "reconcile-at", "later")
    tenant.wait_ready(name)


def _changed_marker(marker: Marker, forged: dict[str, Any] | str | None) -> str | None:
    if not isinstance(forged, dict):
        return forged
    values = {field: getattr(marker, field) for field in Marker.__slots__}
    return Marker(**{**values, **forged}).comment()


def _comment(server: Server, database: str, comment: str | None) -> None:
    text = "NULL" if comment is None else "'" + comment.replace("'", "''") + "'"
    with server.connect() as connection:
        connection.execute(f'COMMENT ON ROLE "{RoleNames(database).owner}" IS {text}'.encode())


def test_a_database_dropped_by_hand_is_not_replaced_in_silence(tenant: Tenant, server: Server) -> None:
    tenant.create("dropped")
    tenant.wait_ready("dropped")
    lost = marker_of(server, "dropped")
    assert lost is not None
    with server.connect() as connection:
        connection.execute("DROP DATABASE dropped WITH (FORCE)")
    tenant.annotate("dropped", "reconcile-at", "now")
    message = tenant.wait_reason("dropped", "DatabaseMissing")["message"]
    assert f'servicedb.io/recreate="{lost.oid}"' in message
    tenant.annotate("dropped", "recreate", str(lost.oid))
    tenant.wait_ready("dropped")
    assert tenant.works_as("dropped-app") == "dropped__rw"
    with server.connect() as connection:
        connection.execute("DROP DATABASE dropped WITH (FORCE)")
    tenant.annotate("dropped", "reconcile-at", "again")
    assert str(lost.oid) not in tenant.wait_reason("dropped", "DatabaseMissing")["message"]  # good once


def test_a_database_renamed_by_hand_is_named(tenant: Tenant, server: Server) -> None:
    tenant.create("renamed")
    tenant.wait_ready("renamed")
    with server.connect() as connection:
        connection.execute("ALTER DATABASE renamed RENAME TO elsewhere")
    tenant.annotate("renamed", "reconcile-at", "now")
    assert 'RENAME TO "renamed"' in tenant.wait_reason("renamed", "DatabaseRenamed")["message"]
    with server.connect() as connection:
        connection.execute("ALTER DATABASE elsewhere RENAME TO renamed")
    tenant.annotate("renamed", "reconcile-at", "later")
    tenant.wait_ready("renamed")


def test_a_hostile_search_path_is_taken_back(tenant: Tenant, server: Server) -> None:
    tenant.create("hostile", {"spec.roles.migrator": {"secretName": "hostile-migrator"}})
    tenant.wait_ready("hostile")
    with tenant.log_in("hostile-migrator") as migrator:
        migrator.execute("CREATE SCHEMA evil")
        migrator.execute("CREATE TABLE evil.ran (who text)")
        migrator.execute(
            "CREATE FUNCTION evil.aclexplode(aclitem[]) RETURNS SETOF text LANGUAGE plpgsql SECURITY INVOKER AS"
            " 'BEGIN INSERT INTO evil.ran VALUES (current_user); RETURN; END'"
        )
        migrator.execute("GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON evil.ran TO PUBLIC")
    with server.connect() as connection:
        connection.execute("ALTER DATABASE hostile SET search_path = evil, pg_catalog")
    tenant.annotate("hostile", "reconcile-at", "now")
    wait_for("the path taken back", lambda: _path(server, "hostile") == "public, extensions")
    tenant.wait_ready("hostile")
    with tenant.log_in("hostile-migrator") as migrator:
        assert migrator.execute("SELECT * FROM evil.ran").fetchall() == []


def _path(server: Server, database: str) -> str | None:
    query = (
        "SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,"
        " unnest(setconfig) setting WHERE setrole = 0 AND datname = %s AND setting LIKE 'search_path=%%'"
    )
    with server.connect() as connection:
        row = connection.execute(query, (database,)).fetchone()
    return str(row[0]) if row is not None else None


def test_suspended_changes_nothing(tenant: Tenant, server: Server) -> None:
    tenant.create("paused")
    tenant.wait_ready("paused")
    tenant.change("paused", {"spec": {"suspend": True, "connectionLimit": 5}})
    wait_for(
        "the condition",
        lambda: (condition(tenant.get("paused"), "Reconciling") or {}).get("reason") == "Suspended",
    )
    found = tenant.get("paused")
    assert found is not None
    ready = condition(found)
    assert ready is not None
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert (ready["status"], ready["observedGeneration"]) == ("True", found["metadata"]["generation"] - 1)
    with server.connect() as connection:
        row = connection.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'paused__app_a'").fetchone()
    assert row == (-1,)
    tenant.change("paused", {"spec": {"suspend": False}})
    tenant.wait_ready("paused")


# Servers


def test_a_namespace_has_to_be_allowed(tenant: Tenant, server: Server) -> None:
    closed = tenant.add_server(
        f"{tenant.name}-closed", changes={"spec.allowedNamespaces": {"from": "Names", "names": ["other"]}}
    )
    tenant.wait_server_ready(closed)
    tenant.create("stranger", {"spec.serverRef.name": closed})
    assert "spec.allowedNamespaces" in tenant.wait_reason("stranger", "NamespaceNotAllowed")["message"]
    assert roles_of(server, "stranger") == set()
    tenant.change_server({"spec": {"allowedNamespaces": {"names": [tenant.name]}}}, closed)
    tenant.annotate("stranger", "reconcile-at", "now")
    tenant.wait_ready("stranger")


@pytest.mark.parametrize("limit", ["maxDatabases", "maxDatabasesPerNamespace"])
def test_a_full_server_says_so(
    limit: str, objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    with Tenant.on(objects, private_server(18), {f"spec.limits.{limit}": 2}) as small:
        small.create("one")
        small.create("two")
        small.wait_ready("one", "two")
        small.create("three")
        assert f"spec.limits.{limit} is 2" in small.wait_reason("three", "LimitReached")["message"]
        assert roles_of(small.server, "three") == set()
        small.change_server({"spec": {"limits": {limit: 3}}})
        small.annotate("three", "reconcile-at", "now")
        small.wait_ready("three")


def test_a_server_that_nobody_listens_at(tenant: Tenant) -> None:
    name = tenant.add_server(f"{tenant.name}-away", changes={"spec.port": 1})
    ready = tenant.wait_server_reason("ServerUnreachable", status="Unknown", name=name)
    assert "127.0.0.1:1" in ready["message"]
    assert condition(tenant.get_server(name), "Reconciling") is not None
    tenant.create("waiting", {"spec.serverRef.name": name})
    tenant.wait_reason("waiting", "ServerUnreachable", status="Unknown")


def test_a_wrong_admin_password_and_the_right_one(tenant: Tenant, server: Server) -> None:
    name = tenant.add_server(f"{tenant.name}-password")
    tenant.wait_server_ready(name)
    secret = {"stringData": {"password": "wrong"}}
    tenant.objects.patch("Secret", name, secret, OPERATOR_NAMESPACE)
    ready = tenant.wait_server_reason("LoginRefused", name=name)
    assert "adminSecretRef" in ready["message"]
    assert "wrong" not in ready["message"]
    tenant.objects.patch("Secret", name, {"stringData": {"password": server.admin.password}}, OPERATOR_NAMESPACE)
    tenant.wait_server_ready(name)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"spec.adminSecretRef.name": "nowhere"}, "SecretMissing", "create it"),
        ({"spec.adminSecretRef.namespace": "default"}, "SecretNotAllowed", "SERVICEDB_ADMIN_NAMESPACES"),
        ({"spec.adminSecretRef.passwordKey": "pass"}, "SecretIncomplete", 'no key "pass"'),
    ],
)
def test_an_admin_secret_that_will_not_do(change: dict[str, Any], reason: str, words: str, tenant: Tenant) -> None:
    name = tenant.add_server(f"{tenant.name}-{reason.lower()}", changes=change)
    assert words in tenant.wait_server_reason(reason, name=name)["message"]


def test_an_admin_secret_without_the_label(tenant: Tenant, server: Server) -> None:
    name = tenant.add_server(f"{tenant.name}-label")
    tenant.wait_server_ready(name)
    unlabelled = {"metadata": {"labels": {"servicedb.io/admin-credentials": None}}}
    tenant.objects.patch("Secret", name, unlabelled, OPERATOR_NAMESPACE)
    assert "admin-credentials" in tenant.wait_server_reason("SecretNotLabelled", name=name)["message"]


def test_tls_that_is_not_what_the_spec_says(tenant: Tenant, tls_server: Server, server: Server) -> None:
    assert tls_server.ca_certificate is not None
    tenant.add_secret(
        f"{tenant.name}-ca",
        {"right": tls_server.ca_certificate.read_text(), "wrong": _another_ca()},
        namespace=OPERATOR_NAMESPACE,
        labels={"servicedb.io/admin-credentials": "true"},
    )
    reference = {"namespace": OPERATOR_NAMESPACE, "name": f"{tenant.name}-ca"}

    def tls(mode: str, key: str) -> dict[str, Any]:
        return {"spec.tls": {"mode": mode, "caSecretRef": {**reference, "key": key}}}

    wrong = tenant.add_server(f"{tenant.name}-wrong-ca", server=tls_server, changes=tls("VerifyFull", "wrong"))
    assert "spec.tls" in tenant.wait_server_reason("CertificateRejected", name=wrong)["message"]
    plain = tenant.add_server(f"{tenant.name}-plain", server=server, changes={"spec.tls": {"mode": "Require"}})
    assert "does not offer TLS" in tenant.wait_server_reason("TLSNotSupported", name=plain)["message"]
    right = tenant.add_server(f"{tenant.name}-right-ca", server=tls_server, changes=tls("VerifyFull", "right"))
    tenant.wait_server_ready(right)
    enforced = condition(tenant.get_server(right), "TLSEnforced")
    assert enforced is not None
    assert (enforced["status"], enforced["reason"]) == ("True", "PlaintextRefused")


def _another_ca() -> str:
    return Authority.create("nobody's").pair.certificate.decode()


def test_an_admin_that_may_make_no_roles(tenant: Tenant, private_server: StartServer) -> None:
    weak = private_server(18)
    with weak.connect() as connection:
        connection.execute(f'ALTER ROLE "{weak.admin.name}" NOCREATEROLE'.encode())
    name = tenant.add_server(f"{tenant.name}-weak", server=weak)
    message = tenant.wait_server_reason("AdminLacksPrivilege", name=name)["message"]
    assert "CREATEROLE" in message
    assert "CREATEDB" not in message
    with weak.connect() as connection:
        connection.execute(f'ALTER ROLE "{weak.admin.name}" CREATEROLE'.encode())
    tenant.change_server({"metadata": {"annotations": {"servicedb.io/reconcile-at": "now"}}}, name)
    tenant.wait_server_ready(name)


def test_a_server_swapped_for_another_stalls_all_until_acknowledged(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    old, new = private_server(18), private_server(18)
    with Tenant.on(objects, old) as moved:
        moved.create("orders")
        moved.wait_ready("orders")
        before = everything_about_roles(new)
        moved.objects.patch("Secret", moved.name, {"stringData": {"password": new.admin.password}}, OPERATOR_NAMESPACE)
        moved.change_server({"spec": {"port": new.port}})
        message = moved.wait_server_reason("ServerChanged")["message"]
        assert str(old.system_identifier) in message
        assert f'servicedb.io/acknowledge="{new.system_identifier}"' in message
        moved.wait_reason("orders", "ServerChanged", status="Unknown")
        assert condition(moved.get("orders"), "Stalled") is not None
        assert everything_about_roles(new) == before
        moved.annotate_server("acknowledge", str(new.system_identifier))
        moved.wait_server_ready()
        moved.wait_reason("orders", "DatabaseMissing")  # acknowledged is not the same as: make an empty one
        assert roles_of(new, "orders") == set()
