"""From a ServiceDatabase and its server to what is wanted, or to a sentence that says why not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.database_server import DatabaseServer
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Terminal
from servicedb.plan.resolve import app_secret, database_name, namespace_allowed, resolve
from servicedb.plan.wanted import Access, Wanted, WantedExtension

from tests.api.examples import FULL_DATABASE, FULL_SERVER, GONE, MINIMAL_DATABASE, MINIMAL_SERVER, changed
from tests.unit.given import MARKER

NOT_YET: dict[str, Any] = {
    "spec.roles.app.overrides": GONE,
    "spec.roles.readOnly.overrides": GONE,
    "spec.roles.extra.0.overrides": GONE,
    "spec.roles.readOnly.parameters": GONE,
}
LOGIN_NAMES = ["onboarding_user", "onboarding_migrator", "onboarding_reader", "analytics"]
SERVER = DatabaseServer.parse(changed(FULL_SERVER, {"spec.loginNames": [{"namespace": "kyc", "names": LOGIN_NAMES}]}))
FULL = changed(FULL_DATABASE, NOT_YET)


def wanted(changes: dict[str, Any] | None = None, *, of: dict[str, Any] = MINIMAL_DATABASE) -> Wanted:
    return resolve(ServiceDatabase.parse(changed(of, changes or {})), SERVER, MARKER)


def test_a_minimal_object_gets_the_defaults():
    minimal = wanted()
    assert (minimal.database, minimal.schemas, minimal.encoding) == ("onboarding", ("public",), "UTF8")
    (app,) = minimal.logins
    assert app.halves == ("onboarding__app_a", "onboarding__app_b")
    assert (app.access, app.works_as, app.connection_limit) == (Access.READ_WRITE, "onboarding__rw", -1)
    assert minimal.marker == MARKER
    assert (minimal.known_oid, minimal.recreate) == (None, None)


def test_a_full_object_is_resolved():
    full = wanted(of=FULL)
    rows = [
        (login.role, login.halves, login.works_as, login.secret_name, login.connection_limit) for login in full.logins
    ]
    assert rows == [
        ("app", ("onboarding_user",), "onboarding__rw", "onboarding-app", 20),
        ("migrator", ("onboarding_migrator",), "onboarding__owner", "onboarding-migrator", 2),
        ("readonly", ("onboarding_reader",), "onboarding__ro", "onboarding-readonly", 5),
        ("analytics", ("analytics",), "onboarding__ro", "onboarding-analytics", 3),
    ]
    assert full.schemas == ("app", "public")
    assert full.extensions == (WantedExtension("pg_trgm", "extensions", "1.6"),)
    assert full.untrusted_allowed == {"pg_trgm"}
    assert full.parameters == {"statement_timeout": "30s", "work_mem": "4MB"}
    assert full.logins[0].parameters == {"TimeZone": "UTC"}
    assert (full.encoding, full.locale, full.locale_provider) == ("UTF8", "C.UTF-8", "Builtin")


def test_what_is_known_of_it_comes_along():
    changes = {"status.databaseOid": "16400", "metadata.annotations": {"servicedb.io/recreate": "16400"}}
    assert (wanted(changes).known_oid, wanted(changes).recreate) == ("16400", "16400")


def test_an_extension_goes_into_public_where_it_is_asked_for():
    assert wanted({"spec.extensions": [{"name": "pg_trgm", "schema": "public"}]}).extensions == (
        WantedExtension("pg_trgm", "public", None),
    )


@pytest.mark.parametrize(
    ("changes", "naming", "name"),
    [
        pytest.param({}, "Name", "onboarding", id="its name"),
        pytest.param({"metadata.name": "on-boarding"}, "Name", "on_boarding", id="hyphens"),
        pytest.param({}, "NamespaceName", "kyc_onboarding", id="its namespace and name"),
        pytest.param({"spec.databaseName": "clients"}, "NamespaceName", "clients", id="spec"),
        pytest.param({"spec.databaseName": "b", "status.databaseName": "a"}, "Name", "a", id="status first"),
    ],
)
def test_the_database_that_an_object_stands_for(changes, naming, name):
    server = DatabaseServer.parse(changed(MINIMAL_SERVER, {"spec.naming": naming}))
    assert database_name(ServiceDatabase.parse(changed(MINIMAL_DATABASE, changes)), server) == name


EXTRA = {"name": "jobs", "secretName": "onboarding-jobs"}


@pytest.mark.parametrize(
    ("role", "asked", "access", "works_as"),
    [
        pytest.param("app", "ReadWrite", Access.READ_WRITE, "onboarding__rw", id="app writes"),
        pytest.param("app", "ReadOnly", Access.READ_ONLY, "onboarding__ro", id="app reads"),
        pytest.param("app", "Owner", Access.OWNER, "onboarding__owner", id="app owns"),
        pytest.param("jobs", "ReadWrite", Access.READ_WRITE, "onboarding__rw", id="extra writes"),
        pytest.param("jobs", "ReadOnly", Access.READ_ONLY, "onboarding__ro", id="extra reads"),
        pytest.param("jobs", "Owner", Access.OWNER, "onboarding__owner", id="extra owns"),
        pytest.param("migrator", None, Access.OWNER, "onboarding__owner", id="migrator"),
        pytest.param("readonly", None, Access.READ_ONLY, "onboarding__ro", id="readOnly"),
    ],
)
def test_what_a_login_works_as(role, asked, access, works_as):
    changes: dict[str, Any] = {
        "spec.roles.migrator": {"secretName": "m"},
        "spec.roles.readOnly": {"secretName": "r"},
        "spec.roles.extra": [{**EXTRA, "access": asked or "ReadOnly"}],
    }
    if role == "app":
        changes["spec.roles.app.access"] = asked
    login = next(login for login in wanted(changes).logins if login.role == role)
    assert (login.access, login.works_as) == (access, works_as)
    assert login.inherits is (access is not Access.OWNER)


@pytest.mark.parametrize(
    ("total", "own", "limits"),
    [
        pytest.param(None, {}, [-1, -1, -1], id="no limit"),
        pytest.param(None, {"app": 5}, [5, -1, -1], id="one of its own alone"),
        pytest.param(30, {}, [10, 10, 10], id="shared equally"),
        pytest.param(50, {"app": 20}, [20, 15, 15], id="what one has is taken off"),
        pytest.param(11, {}, [3, 3, 3], id="rounded down"),
        pytest.param(3, {}, [1, 1, 1], id="one each"),
        pytest.param(6, {"app": 1, "migrator": 2, "readOnly": 3}, [1, 2, 3], id="all of their own"),
    ],
)
def test_connections_are_shared_out(total, own, limits):
    changes: dict[str, Any] = {
        "spec.roles.migrator": {"secretName": "m"},
        "spec.roles.readOnly": {"secretName": "r"},
        "spec.connectionLimit": total if total is not None else GONE,
        **{f"spec.roles.{role}.connectionLimit": limit for role, limit in own.items()},
    }
    assert [login.connection_limit for login in wanted(changes).logins] == limits


@given(st.integers(1, 200), st.lists(st.none() | st.integers(1, 60), min_size=1, max_size=6))
def test_no_login_is_shut_out_and_together_they_keep_to_the_limit(total, own):
    extra = [
        {"name": f"x{number}", "secretName": f"s{number}", "access": "ReadOnly", "connectionLimit": limit}
        for number, limit in enumerate(own)
    ]
    try:
        found = wanted({"spec.connectionLimit": total, "spec.roles.extra": extra})
    except Terminal:
        return
    limits = [login.connection_limit for login in found.logins]
    assert min(limits) >= 1
    assert sum(limits) <= total


@pytest.mark.parametrize(
    ("changes", "reason", "sentence"),
    [
        pytest.param(
            {"spec.connectionLimit": 5, "spec.roles.app.connectionLimit": 6}, "InvalidConnectionLimit",
            "0 are left for 0 others (none)", id="more than the whole",
        ),
        pytest.param(
            {
                "spec.connectionLimit": 5, "spec.roles.app.connectionLimit": 5,
                "spec.roles.readOnly": {"secretName": "r"},
            },
            "InvalidConnectionLimit", "0 are left for 1 others (readonly)", id="nothing left",
        ),
        pytest.param({"spec.databaseName": "Clients"}, "InvalidName", "not usable", id="database name"),
        pytest.param({"spec.databaseName": "pg_clients"}, "InvalidName", "reserved", id="reserved name"),
        pytest.param(
            {"spec.databaseName": "c" * 50, "spec.roles.extra": [{**EXTRA, "name": "verylongname", "access": "Owner"}]},
            "InvalidName", "too long", id="an extra role's name makes it too long",
        ),
        pytest.param(
            {"metadata.name": "on.boarding"}, "InvalidName", "set spec.databaseName", id="name with a dot"
        ),
        pytest.param(
            {"spec.roles.app.loginName": "stranger"}, "LoginNameNotAllowed", "spec.loginNames of DatabaseServer main",
            id="login name not listed",
        ),
        pytest.param(
            {"spec.roles.app.loginName": "onboarding_user", "metadata.namespace": "shop"}, "LoginNameNotAllowed",
            'namespace "shop"', id="login name of another namespace",
        ),
        pytest.param({"spec.roles.app.loginName": "a__owner"}, "InvalidName", '"__"', id="login name as servicedb's"),
        pytest.param({"spec.roles.app.loginName": "postgres"}, "InvalidName", "reserved", id="login name reserved"),
        pytest.param(
            {"spec.parameters": {"search_path": "evil"}}, "InvalidParameter", 'spec.parameters names "search_path"',
            id="search_path",
        ),
        pytest.param(
            {"spec.roles.app.parameters": {"session_preload_libraries": "evil"}}, "InvalidParameter",
            "parameters of spec.roles app", id="a login's parameter",
        ),
        pytest.param(
            {"spec.roles.app.overrides": [{"table": "just_a_table", "privileges": []}]}, "InvalidOverride",
            "write it with its schema", id="override without a schema",
        ),
        pytest.param(
            {"spec.roles.app.overrides": [{"table": "a.b", "privileges": []}, {"table": 'A."b"', "privileges": []}]},
            "InvalidOverride", "twice", id="one table by two names",
        ),
        pytest.param(
            {"spec.roles.app.access": "Owner", "spec.roles.app.overrides": [{"table": "a.b", "privileges": []}]},
            "InvalidOverride", "owns every table", id="overrides of an owner",
        ),
        pytest.param(
            {"spec.databaseName": "a" * 50, "spec.roles.readOnly": {
                "secretName": "s", "overrides": [{"table": "a.b", "privileges": []}]}},
            "InvalidName", "__readonly_grp", id="group's name too long",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_had_is_said(changes, reason, sentence):
    with pytest.raises(Terminal) as raised:
        wanted(changes)
    assert raised.value.reason == reason
    assert sentence in raised.value.message
    assert raised.value.condition in ("DatabaseReady", "RolesReady")


@pytest.mark.parametrize(
    ("path", "condition"), [("spec.parameters", "DatabaseReady"), ("spec.roles.app.parameters", "RolesReady")]
)
def test_a_parameter_that_can_not_be_had_turns_what_it_is_a_parameter_of(path, condition):
    with pytest.raises(Terminal) as raised:
        wanted({path: {"search_path": "evil"}})
    assert raised.value.condition == condition


def test_a_role_with_overrides_works_as_a_group_of_its_own():
    overrides = [{"table": "public.Audit_Log", "privileges": ["SELECT"]}, {"table": 'app."Sums"', "privileges": []}]
    found = wanted({"spec.roles.app.overrides": overrides})
    group = found.all_groups[-1]
    assert (group.name, group.note, group.access) == (f"{found.database}__app_grp", "app_grp", Access.READ_WRITE)
    assert group.overrides == {("public", "audit_log"): {"SELECT"}, ("app", "Sums"): frozenset()}
    assert next(login for login in found.logins if login.role == "app").works_as == group.name
    assert group.name in found.role_names


@pytest.mark.parametrize(
    ("schemas", "path"),
    [
        pytest.param([], ("public",), id="none"),
        pytest.param(["app"], ("app", "public"), id="public comes last"),
        pytest.param(["public", "app"], ("public", "app"), id="unless it is named"),
        pytest.param(["a_1", "user"], ("a_1", "user", "public"), id="reserved words"),
    ],
)
def test_schemas_stand_on_the_search_path(schemas, path):
    assert wanted({"spec.schemas": [{"name": name} for name in schemas]}).schemas == path


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param("pg_catalog", id="PostgreSQL's"),
        pytest.param("pg_temp", id="temporary"),
        pytest.param("information_schema", id="standard's"),
        pytest.param("extensions", id="the admin's"),
        pytest.param("App", id="capital"),
        pytest.param("a, b", id="comma"),
        pytest.param('a"', id="quote"),
        pytest.param("$user", id="$user"),
        pytest.param("a-b", id="hyphen"),
        pytest.param("\u0430pp", id="Cyrillic a"),
        pytest.param("a\u00b2", id="superscript"),
    ],
)
def test_a_schema_name_that_can_not_be_had_is_said(schema):
    with pytest.raises(Terminal) as raised:
        wanted({"spec.schemas": [{"name": schema}]})
    assert (raised.value.reason, raised.value.condition) == ("InvalidName", "DatabaseReady")
    assert raised.value.message.isascii()


@given(st.text(min_size=1, max_size=10).filter(lambda text: text.isprintable()))
def test_whatever_schema_is_accepted_is_its_own_name_on_a_search_path(name):
    try:
        path = wanted({"spec.schemas": [{"name": name}]}).schemas
    except Terminal:
        return
    assert name in path
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def allowing(spec: object) -> DatabaseServer:
    return DatabaseServer.parse(changed(MINIMAL_SERVER, {"spec.allowedNamespaces": spec}))


def selecting(**selector: object) -> DatabaseServer:
    return allowing({"from": "Selector", "selector": selector})


def requiring(operator: str, *values: str) -> DatabaseServer:
    return selecting(matchExpressions=[{"key": "tier", "operator": operator, "values": list(values)}])


@pytest.mark.parametrize(
    ("server", "labels", "allowed"),
    [
        pytest.param(allowing(GONE), {}, False, id="left out: none"),
        pytest.param(allowing({"from": "All"}), {}, True, id="all"),
        pytest.param(allowing({"from": "Names", "names": ["kyc"]}), {}, True, id="named"),
        pytest.param(allowing({"from": "Names", "names": ["shop"]}), {}, False, id="not named"),
        pytest.param(allowing({"from": "Names"}), {}, False, id="no names"),
        pytest.param(allowing({"from": "Selector"}), {}, False, id="no selector"),
        pytest.param(selecting(matchLabels={"team": "kyc"}), {"team": "kyc"}, True, id="label"),
        pytest.param(selecting(matchLabels={"team": "kyc"}), {"team": "shop"}, False, id="other value"),
        pytest.param(selecting(matchLabels={"team": "kyc"}), {}, False, id="no label"),
        pytest.param(selecting(matchLabels={"team": ""}), {}, False, id="empty value is not no label"),
        pytest.param(selecting(matchLabels={"team": "kyc", "a": "b"}), {"team": "kyc"}, False, id="all labels"),
        pytest.param(requiring("In", "gold", "silver"), {"tier": "gold"}, True, id="In"),
        pytest.param(requiring("In", "gold"), {"tier": "lead"}, False, id="not In"),
        pytest.param(requiring("In", "gold"), {}, False, id="In without the label"),
        pytest.param(requiring("NotIn", "gold"), {"tier": "lead"}, True, id="NotIn"),
        pytest.param(requiring("NotIn", "gold"), {"tier": "gold"}, False, id="in NotIn"),
        pytest.param(requiring("NotIn", "gold"), {}, True, id="NotIn without the label"),
        pytest.param(requiring("Exists"), {"tier": ""}, True, id="Exists"),
        pytest.param(requiring("Exists"), {}, False, id="Exists without the label"),
        pytest.param(requiring("DoesNotExist"), {}, True, id="DoesNotExist"),
        pytest.param(requiring("DoesNotExist"), {"tier": ""}, False, id="DoesNotExist with the label"),
        pytest.param(
            selecting(matchLabels={"team": "kyc"}, matchExpressions=[{"key": "tier", "operator": "Exists"}]),
            {"team": "kyc"},
            False,
            id="labels and expressions",
        ),
    ],
)
def test_which_namespaces_may_have_databases(server, labels, allowed):
    assert namespace_allowed(server, "kyc", labels) is allowed


def test_the_applications_secret_is_the_binding():
    assert app_secret(ServiceDatabase.parse(FULL_DATABASE)) == "onboarding-app"


def test_the_marker_is_taken_as_it_is_given():
    marker = replace(MARKER, uid="object-2")
    assert resolve(ServiceDatabase.parse(MINIMAL_DATABASE), SERVER, marker).marker is marker


ENTRY = {"databaseName": "onboarding", "namespace": "kyc", "name": "onboarding"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(ENTRY, True, id="listed"),
        pytest.param({**ENTRY, "databaseName": "clients"}, False, id="another database"),
        pytest.param({**ENTRY, "namespace": "shop"}, False, id="another namespace"),
        pytest.param({**ENTRY, "name": "clients"}, False, id="another object"),
    ],
)
def test_a_database_may_be_taken_over_by_the_object_that_is_listed(entry, expected):
    server = DatabaseServer.parse(changed(MINIMAL_SERVER, {"spec.adoptable": [entry]}))
    assert resolve(ServiceDatabase.parse(MINIMAL_DATABASE), server, MARKER).adoptable is expected
