"""Whether tenants that share a database are kept apart."""

from dataclasses import replace

import pytest
from servicedb.errors import Terminal
from servicedb.plan.observed import PUBLIC
from servicedb.plan.tenancy import Kind, Policy, TenantTables, isolation_faults, isolation_finding
from servicedb.plan.wanted import Access, Login, Tenancy

from tests.unit.given import APP, NAMES, OWNER, READER, RW, WANTED
from tests.unit.test_resolve import wanted

TENANCY = Tenancy("tenant_id", "app.current_tenant_id")
EVERYBODY = frozenset({PUBLIC})
BOUND = "(tenant_id = (NULLIF(current_setting('app.current_tenant_id'::text, true), ''::text))::uuid)"
POLICY = Policy("by_tenant", "ALL", True, EVERYBODY, BOUND)
OPEN = Policy("open", "ALL", True, EVERYBODY, "true")
TABLES = TenantTables(Kind.TABLE, True, True, False, (POLICY,), (("public", "orders"),))

NO_POLICY = ['no policy compares "tenant_id" with app.current_tenant_id: public.orders']
LEFT_OPEN = ['policy "open" does not compare "tenant_id" with app.current_tenant_id: public.orders']


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        pytest.param({}, [], id="kept apart"),
        pytest.param({"has_column": False}, ['no column "tenant_id": public.orders'], id="no column"),
        pytest.param({"enabled": False}, ["row-level security is not enabled: public.orders"], id="not enabled"),
        pytest.param(
            {"kind": Kind.MATERIALIZED_VIEW},
            ["a materialized view has no row-level security: public.orders"],
            id="a materialized view",
        ),
        pytest.param(
            {"kind": Kind.FOREIGN_TABLE},
            ["a foreign table has no row-level security: public.orders"],
            id="a foreign table",
        ),
        pytest.param({"kind": Kind.VIEW, "policies": ()}, [], id="a view that asks for its reader's rights"),
        pytest.param(
            {"kind": Kind.VIEW, "passed_over": True},
            ["read as its owner, whom row-level security passes over (set security_invoker): public.orders"],
            id="a view that is read as its owner",
        ),
        pytest.param({"forced": True}, [], id="forced, which only the owner would feel"),
    ],
)
def test_each_kind_of_table(change, faults):
    assert isolation_faults(WANTED, TENANCY, [replace(TABLES, **change)]) == faults


@pytest.mark.parametrize(
    ("policies", "faults"),
    [
        pytest.param([], NO_POLICY, id="none"),
        pytest.param([OPEN], NO_POLICY, id="one for every row"),
        pytest.param([POLICY, OPEN], LEFT_OPEN, id="one more for every row"),
        pytest.param([POLICY, replace(OPEN, command="SELECT")], LEFT_OPEN, id="one more to read every row"),
        pytest.param(
            [POLICY, replace(OPEN, command="INSERT", using=None, check="true")],
            LEFT_OPEN,
            id="one more to put rows anywhere",
        ),
        pytest.param(
            [replace(POLICY, name="open", check="true")],
            LEFT_OPEN,
            id="what it lets be read is bound, what it lets be written is not",
        ),
        pytest.param([replace(POLICY, using="(tenant_id IS NOT NULL)")], NO_POLICY, id="without the setting"),
        pytest.param(
            [replace(POLICY, using=BOUND.replace("tenant_id =", "reseller_tenant_id ="))],
            NO_POLICY,
            id="another column that ends alike",
        ),
        pytest.param(
            [replace(POLICY, using="(kind = 'tenant_id') AND (owner = current_setting('app.current_tenant_id'))")],
            NO_POLICY,
            id="the column's name in a literal alone",
        ),
        pytest.param(
            [
                replace(
                    POLICY,
                    using="(tenant_id = public.tenant())",
                    called="current_setting('App.Current_Tenant_ID')",
                )
            ],
            [],
            id="the setting in a function",
        ),
        pytest.param([replace(POLICY, permissive=False), OPEN], [], id="a restrictive one holds for all"),
        pytest.param(
            [replace(POLICY, permissive=False, command="SELECT"), OPEN],
            LEFT_OPEN,
            id="a restrictive one for reading alone",
        ),
        pytest.param([POLICY, replace(OPEN, roles=frozenset({"auditor"}))], [], id="another role is meant by its name"),
        pytest.param(
            [POLICY, replace(OPEN, roles=frozenset({"auditor", RW}))], LEFT_OPEN, id="the application's group"
        ),
        pytest.param(
            [POLICY, replace(OPEN, roles=frozenset({APP.halves[1]}))], LEFT_OPEN, id="one of the application's logins"
        ),
        pytest.param([replace(POLICY, roles=frozenset({"auditor"}))], NO_POLICY, id="bound, but for somebody else"),
        pytest.param(
            [
                replace(POLICY, command="SELECT"),
                replace(POLICY, name="add", command="INSERT", using=None, check=BOUND),
                replace(POLICY, name="change", command="UPDATE"),
            ],
            [],
            id="one for each command",
        ),
    ],
)
def test_policies(policies, faults):
    assert isolation_faults(WANTED, TENANCY, [replace(TABLES, policies=tuple(policies))]) == faults


def test_a_column_with_capitals_is_quoted_as_postgresql_does():
    tenancy = Tenancy("TenantId", "app.tenant")
    policy = replace(POLICY, using="(\"TenantId\" = current_setting('app.tenant'::text))")
    assert isolation_faults(WANTED, tenancy, [replace(TABLES, policies=(policy,))]) == []


@pytest.mark.parametrize(
    ("logins", "forced", "faults"),
    [
        pytest.param(WANTED.logins, False, [], id="only the migrator works as the owner"),
        pytest.param(
            (replace(APP, access=Access.OWNER, works_as=OWNER), READER),
            False,
            ["row-level security is not forced, and app works as the owner: public.orders"],
            id="the application does",
        ),
        pytest.param((replace(APP, access=Access.OWNER, works_as=OWNER),), True, [], id="it is forced"),
        pytest.param(
            (APP, Login("batch", NAMES.pair("batch"), Access.OWNER, OWNER, "orders-batch")),
            False,
            ["row-level security is not forced, and batch works as the owner: public.orders"],
            id="another login does",
        ),
    ],
)
def test_row_level_security_is_to_be_forced_where_a_login_works_as_the_owner(logins, forced, faults):
    asked = replace(WANTED, logins=logins)
    assert isolation_faults(asked, TENANCY, [replace(TABLES, forced=forced)]) == faults


def test_tables_with_the_same_fault_are_named_together_and_not_without_end():
    many = tuple(("a", f"t{number:02}") for number in range(20))
    seen = [
        replace(TABLES, enabled=False),
        replace(TABLES, enabled=False, policies=(), names=many, count=300),
        replace(TABLES, has_column=False, names=(("b", "x"),)),
    ]
    not_enabled, no_column = isolation_faults(WANTED, TENANCY, seen)
    assert not_enabled.startswith("row-level security is not enabled: a.t00, a.t01,")
    assert not_enabled.endswith("a.t19 and 281 more")
    assert no_column == 'no column "tenant_id": b.x'


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        pytest.param((), ("True", "Isolated", ""), id="none"),
        pytest.param(("one: a.b", "two: c.d"), ("False", "NotIsolated", "one: a.b; two: c.d"), id="some"),
    ],
)
def test_the_condition(faults, expected):
    finding = isolation_finding(faults)
    assert (finding.status, finding.reason, finding.message) == expected


def test_what_could_not_be_seen_is_unknown():
    assert isolation_finding(None).status == "Unknown"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, TENANCY, id="nothing said"),
        pytest.param(
            {"column": "TenantId", "setting": "acme.tenant", "schemaPattern": r"tenant\_%"},
            Tenancy("TenantId", "acme.tenant", r"tenant\_%"),
            id="everything said",
        ),
        pytest.param(
            {"exempt": ["public.Plans", 'app."Price List"', "history"]},
            replace(TENANCY, exempt=frozenset({("public", "plans"), ("app", "Price List"), (None, "history")})),
            id="exempt tables",
        ),
    ],
)
def test_what_the_spec_says(asked, expected):
    assert wanted({"spec.tenancy": asked}).tenancy == expected


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"schemaPattern": "tenant\\"}, "ends with a backslash", id="a pattern that LIKE refuses"),
        pytest.param({"exempt": ["a.b.c"]}, '"a.b.c", which is no name of a table', id="three parts"),
        pytest.param({"exempt": ["a b"]}, '"a b"', id="a space without quotes"),
        pytest.param({"exempt": ["x" * 64]}, "which is no name of a table", id="too long for PostgreSQL"),
    ],
)
def test_what_is_refused(asked, words):
    with pytest.raises(Terminal) as refused:
        wanted({"spec.tenancy": asked})
    assert refused.value.reason == "InvalidTenancy"
    assert words in refused.value.message


def test_two_backslashes_at_the_end_are_one_that_is_meant():
    assert wanted({"spec.tenancy": {"schemaPattern": "a\\\\"}}).tenancy is not None
