"""A database as a whole: its privileges and settings brought back, and opened when all else is done."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.database import (
    EXTENSION_SCHEMA,
    current_marker,
    database_privileges,
    database_steps,
    role_setting_steps,
)
from servicedb.plan.narrow import Narrowed
from servicedb.plan.observed import Database, Privilege, ServerScan
from servicedb.plan.steps import (
    ChangeDatabaseOwner,
    ChangeSetting,
    CreateDatabase,
    DatabaseStep,
    GrantOnDatabase,
    OpenDatabase,
    ResetRoleSetting,
    RevokeOnDatabase,
)
from servicedb.plan.wanted import Wanted

from tests.unit.given import (
    ADMIN,
    APP,
    APP_A,
    APP_B,
    MARKER,
    MIGRATOR_A,
    MIGRATOR_B,
    ONLY_APP,
    ONLY_FIXED,
    OWNER,
    RO,
    RW,
    STRANGER,
    WANTED,
    database,
    note,
    roles_in_sync,
    scan,
)
from tests.unit.simulated import Simulated

PATH = f"public, {EXTENSION_SCHEMA}"


def in_sync(wanted: Wanted = ONLY_APP) -> ServerScan:
    server = Simulated(scan(roles_in_sync(wanted).values()))
    server.apply_all(database_steps(wanted, server.scan()))
    return server.scan()


def with_settings(settings: dict[str, str], role: str = "", *, of: str = "orders") -> ServerScan:
    seen = in_sync()
    return replace(seen, settings={**seen.settings, (of, role): {**seen.settings.get((of, role), {}), **settings}})


def with_database(**changes: object) -> ServerScan:
    seen = in_sync()
    return replace(seen, databases={"orders": replace(seen.databases["orders"], **changes)})  # type: ignore[arg-type]


def test_from_nothing_the_database_is_made_closed_to_the_public_granted_set_and_opened_last():
    assert list(database_steps(ONLY_APP, scan(roles_in_sync(ONLY_APP).values()))) == [
        CreateDatabase("missing", "orders", "UTF8", None, None),
        RevokeOnDatabase("not in the spec", "orders", Privilege("PUBLIC", "CONNECT")),
        RevokeOnDatabase("not in the spec", "orders", Privilege("PUBLIC", "TEMPORARY")),
        GrantOnDatabase("missing", "orders", Privilege(OWNER, "CONNECT")),
        GrantOnDatabase("missing", "orders", Privilege(OWNER, "CREATE")),
        GrantOnDatabase("missing", "orders", Privilege(OWNER, "TEMPORARY")),
        GrantOnDatabase("missing", "orders", Privilege(RO, "CONNECT")),
        GrantOnDatabase("missing", "orders", Privilege(RW, "CONNECT")),
        GrantOnDatabase("missing", "orders", Privilege(RW, "TEMPORARY")),
        ChangeSetting("differs from the spec", "orders", None, "search_path", PATH),
        ChangeSetting("differs from the spec", "orders", APP_A, "role", RW),
        ChangeSetting("differs from the spec", "orders", APP_B, "role", RW),
        OpenDatabase("not open yet", "orders", OWNER, MARKER.comment()),
    ]


def test_the_database_is_made_as_the_spec_says():
    wanted = replace(ONLY_APP, encoding="LATIN1", locale="C", locale_provider="Libc")
    assert next(database_steps(wanted, scan())) == CreateDatabase("missing", "orders", "LATIN1", "C", "Libc")


def test_a_database_of_another_owner_comes_back_first_and_what_the_admin_was_granted_meanwhile_is_its_own():
    seen = with_database(owner=STRANGER, owner_reached=False)
    there = seen.databases["orders"]
    seen = replace(
        seen, databases={"orders": replace(there, privileges=there.privileges | {Privilege(ADMIN, "CONNECT")})}
    )
    assert list(database_steps(ONLY_APP, seen)) == [
        ChangeDatabaseOwner("owned by another role", "orders", ADMIN, STRANGER, take_up=True)
    ]


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("search_path", [ResetRoleSetting("set in every database", APP_A, "search_path")]),
        ("role", [ResetRoleSetting("set in every database", APP_A, "role")]),
        ("work_mem", [ResetRoleSetting("set in every database", APP_A, "work_mem")]),
        ("log_statement", []),
    ],
)
def test_settings_of_a_role_in_every_database_are_undone_but_for_an_admins_own(parameter, expected):
    seen = with_settings({parameter: "x"}, APP_A, of="")
    assert list(role_setting_steps(ONLY_APP, seen)) == expected
    assert Narrowed(seen).of("orders").settings[("", APP_A)] == {parameter: "x"}


def test_a_database_that_was_closed_by_hand_keeps_its_oid_in_the_marker():
    seen = with_database(allow_connections=False)
    oid = seen.databases["orders"].oid
    assert current_marker(ONLY_APP, seen).oid == oid
    assert [step for step in database_steps(ONLY_APP, seen) if not isinstance(step, OpenDatabase)] == []


def test_nothing_is_done_to_a_database_that_is_as_it_should_be():
    assert list(database_steps(ONLY_APP, in_sync())) == []


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        pytest.param(
            with_database(privileges=database_privileges(ONLY_APP) | {Privilege("PUBLIC", "CONNECT")}),
            [RevokeOnDatabase("not in the spec", "orders", Privilege("PUBLIC", "CONNECT"))],
            id="public may connect",
        ),
        pytest.param(
            with_database(privileges=database_privileges(ONLY_APP) | {Privilege(STRANGER, "CREATE")}),
            [RevokeOnDatabase("not in the spec", "orders", Privilege(STRANGER, "CREATE"))],
            id="a stranger may create schemas",
        ),
        pytest.param(
            with_database(privileges=database_privileges(ONLY_APP) - {Privilege(RW, "CONNECT")}),
            [GrantOnDatabase("missing", "orders", Privilege(RW, "CONNECT"))],
            id="the app can't connect",
        ),
        pytest.param(
            with_database(
                privileges=database_privileges(ONLY_APP) - {Privilege(RO, "CONNECT")}
                | {Privilege(RO, "CONNECT", grantable=True)}
            ),
            [
                RevokeOnDatabase("not in the spec", "orders", Privilege(RO, "CONNECT", grantable=True)),
                GrantOnDatabase("missing", "orders", Privilege(RO, "CONNECT")),
            ],
            id="a reader may pass CONNECT on",
        ),
        pytest.param(
            with_database(allow_connections=False),
            [OpenDatabase("not open yet", "orders", OWNER, MARKER.comment())],
            id="closed",
        ),
    ],
)
def test_what_differs_is_repaired_alone(seen, steps):
    assert list(database_steps(ONLY_APP, seen)) == steps


def test_a_login_that_does_not_inherit_connects_in_its_own_name():
    direct = {p for p in database_privileges(WANTED) if p.grantee not in (OWNER, RW, RO)}
    assert direct == {Privilege(MIGRATOR_A, "CONNECT"), Privilege(MIGRATOR_B, "CONNECT")}


def test_a_login_on_its_way_out_keeps_its_privileges():
    gone = note(replace(APP, role="analytics"))
    role = replace(roles_in_sync()[MIGRATOR_A], name="orders__analytics_a", comment=gone)
    privileges = database_privileges(ONLY_APP) | {Privilege("orders__analytics_a", "CONNECT")}
    seen = with_database(privileges=privileges)
    assert list(database_steps(ONLY_APP, replace(seen, roles={**seen.roles, role.name: role}))) == []
    closed = replace(role, login=False)
    assert list(database_steps(ONLY_APP, replace(seen, roles={**seen.roles, role.name: closed}))) == [
        RevokeOnDatabase("not in the spec", "orders", Privilege("orders__analytics_a", "CONNECT"))
    ]


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        pytest.param(
            with_settings({"role": OWNER}, APP_A),
            [ChangeSetting("differs from the spec", "orders", APP_A, "role", RW)],
            id="the app works as the owner",
        ),
        pytest.param(
            with_settings({"statement_timeout": "5s"}),
            [ChangeSetting("not in the spec", "orders", None, "statement_timeout", None)],
            id="one that the spec could say",
        ),
        pytest.param(
            with_settings({"work_mem": "1GB"}, APP_B),
            [ChangeSetting("not in the spec", "orders", APP_B, "work_mem", None)],
            id="one of a login",
        ),
        pytest.param(with_settings({"log_statement": "all"}), [], id="an admin's own"),
        pytest.param(with_settings({"search_path": "evil"}, of="invoices"), [], id="another database's"),
        pytest.param(with_settings({"search_path": "evil"}, STRANGER), [], id="a stranger's"),
    ],
)
def test_settings_that_differ_are_put_back(seen, steps):
    assert list(database_steps(ONLY_APP, seen)) == steps


def test_parameters_of_the_spec_are_set():
    login = replace(APP, parameters={"work_mem": "8MB"})
    wanted = replace(ONLY_APP, logins=(login,), parameters={"statement_timeout": "30s"})
    assert list(database_steps(wanted, in_sync())) == [
        ChangeSetting("differs from the spec", "orders", None, "statement_timeout", "30s"),
        ChangeSetting("differs from the spec", "orders", APP_A, "work_mem", "8MB"),
        ChangeSetting("differs from the spec", "orders", APP_B, "work_mem", "8MB"),
    ]


@pytest.mark.parametrize(
    ("there", "same"),
    [
        pytest.param("app, public, extensions", True, id="as it is written"),
        pytest.param('app, "public", "extensions"', True, id="quoted without need"),
        pytest.param("public, app, extensions", False, id="other order"),
        pytest.param("app, public", False, id="shorter"),
        pytest.param("app, public, extensions, evil", False, id="longer"),
        pytest.param("evil, app, public, extensions", False, id="another in front"),
        pytest.param('"app, public", extensions', False, id="one name with a comma"),
        pytest.param('"app, public, extensions"', False, id="all in one name"),
        pytest.param('app, public, "Extensions"', False, id="capital"),
        pytest.param('app, public, "exten""sions"', False, id="doubled quote"),
        pytest.param('"ev""il", app, public, extensions', False, id="a name with a quote in front"),
        pytest.param('"$user", app, public, extensions', False, id="$user in front"),
        pytest.param("pg_temp, app, public, extensions", False, id="pg_temp in front"),
        pytest.param("app,public,extensions", False, id="without blanks"),
        pytest.param("app, public, extensions\n", False, id="newline"),
        pytest.param('app, public, ""', False, id="empty name"),
        pytest.param('"', False, id="one quote"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_search_path_is_compared_by_what_it_means(there, same):
    wanted = replace(ONLY_APP, schemas=("app", "public"))
    path = "app, public, extensions"
    repair = [ChangeSetting("differs from the spec", "orders", None, "search_path", path)]
    assert list(database_steps(wanted, with_settings({"search_path": there}))) == ([] if same else repair)


@pytest.mark.parametrize(
    ("bases", "oid"),
    [
        pytest.param([], None, id="not made yet"),
        pytest.param([database(is_open=False)], None, id="not opened yet"),
        pytest.param([database()], 16_400, id="open"),
        pytest.param([database("invoices")], None, id="another"),
    ],
)
def test_the_marker_names_the_oid_of_an_open_database_alone(bases, oid):
    assert current_marker(WANTED, scan(databases=bases)) == MARKER.with_oid(oid)


PRIVILEGES = st.builds(
    Privilege,
    st.sampled_from(["PUBLIC", OWNER, RW, RO, MIGRATOR_A, STRANGER]),
    st.sampled_from(["CONNECT", "CREATE", "TEMPORARY"]),
    st.booleans(),
)
ONE_EACH = st.frozensets(PRIVILEGES).map(
    lambda all_: frozenset({(p.grantee, p.privilege): p for p in sorted(all_)}.values())
)
VALUES = st.sampled_from(["30s", "", "evil", PATH, '"a, b"', OWNER, RW]) | st.text(max_size=10)
SETTINGS = st.dictionaries(
    st.sampled_from(["search_path", "role", "statement_timeout", "work_mem", "log_statement"]), VALUES
)
SETTINGS_OF = st.dictionaries(
    st.tuples(st.sampled_from(["orders", "invoices"]), st.sampled_from(["", APP_A, MIGRATOR_B, STRANGER])), SETTINGS
)


@st.composite
def servers(draw: st.DrawFn) -> ServerScan:
    there = st.builds(Database, st.just("orders"), st.just(16_400), st.just("opadmin"), st.booleans(), ONE_EACH)
    bases = draw(st.lists(there, max_size=1))
    return scan(roles_in_sync().values(), bases, settings=draw(SETTINGS_OF) if bases else {})


WANTEDS = st.builds(
    replace,
    st.sampled_from([WANTED, ONLY_APP, ONLY_FIXED]),
    parameters=st.dictionaries(st.sampled_from(["statement_timeout", "work_mem"]), st.sampled_from(["30s", "1", ""])),
    schemas=st.sampled_from([("public",), ("app", "public"), ("public", "app"), ("user", "1st", "public")]),
)


@given(WANTEDS, servers())
def test_applying_the_steps_ends_the_work(wanted, seen):
    server = Simulated(seen)
    server.apply_all(database_steps(wanted, seen))
    assert list(database_steps(wanted, server.scan())) == []
    assert server.databases["orders"].allow_connections
    assert current_marker(wanted, server.scan()).oid == server.databases["orders"].oid


@given(WANTEDS, servers())
def test_a_database_is_opened_only_when_it_is_closed_and_then_last(wanted, seen):
    steps = list(database_steps(wanted, seen))
    there = seen.databases.get("orders")
    opened = [isinstance(step, OpenDatabase) for step in steps]
    assert sum(opened) == (0 if there is not None and there.allow_connections else 1)
    assert not any(opened[:-1])


@given(WANTEDS, servers())
def test_a_database_that_is_there_is_never_made_again_nor_any_other_touched(wanted, seen):
    steps = list(database_steps(wanted, seen))
    made = [step for step in steps if isinstance(step, CreateDatabase)]
    assert bool(made) == ("orders" not in seen.databases)
    assert {step.database for step in steps if isinstance(step, DatabaseStep)} <= {"orders"}


@given(WANTEDS, servers())
def test_nobody_but_this_databases_roles_may_do_anything_afterwards(wanted, seen):
    server = Simulated(seen)
    server.apply_all(database_steps(wanted, seen))
    staying = {MIGRATOR_A} - set(wanted.role_names)  # it still logs in, and its overlap has yet to begin
    assert {p.grantee for p in server.databases["orders"].privileges} <= set(wanted.role_names) | staying
