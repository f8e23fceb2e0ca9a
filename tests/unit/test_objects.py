"""Objects in a tenant's schemas: what is taken back, what is given, and what is a migration's decision."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.naming import HISTORY_SCHEMA
from servicedb.plan.inside import privileges_by_access
from servicedb.plan.marker import RoleNote
from servicedb.plan.objects import awaited, object_steps, to_be_named
from servicedb.plan.observed import PUBLIC, ColumnPrivileges, ObjectGroup, ObjectName, ObjectScan, Privilege, Role
from servicedb.plan.steps import ChangeObjectOwner, GrantOnObjects, InsideStep, NoteGranted, ObjectStep, RevokeOnObjects
from servicedb.plan.wanted import Access, Wanted

from tests.unit.given import APP, NAMES, OWNER, RO, RW, STRANGER, WANTED, roles_in_sync

ROLES = roles_in_sync()
DML = ("DELETE", "INSERT", "SELECT", "UPDATE")
AUDIT = ("public", "audit")
APP_GROUP = NAMES.own_group("app")
OVERRIDDEN = replace(
    WANTED,
    logins=(replace(APP, works_as=APP_GROUP, overrides={AUDIT: frozenset({"SELECT"})}), *WANTED.logins[1:]),
)
ROLES_OVERRIDDEN = {
    **ROLES,
    APP_GROUP: Role(APP_GROUP, login=False, comment=RoleNote(OWNER, "app_grp", granted=True).comment()),
}


def names(kind: str, *these: str) -> tuple[ObjectName, ...]:
    return tuple(ObjectName(kind, "public", name) for name in these)


def held(role: str, *privileges: str, grantable: bool = False) -> frozenset[Privilege]:
    return frozenset(Privilege(role, privilege, grantable) for privilege in privileges)


IN_ORDER = held(RW, *DML) | held(RO, "SELECT")


def group(
    privileges: frozenset[Privilege] | None = IN_ORDER, *, kind: str = "TABLE", owner: str = OWNER, name: str = "goods"
) -> ObjectGroup:
    return ObjectGroup(kind, "public", owner, privileges, 1, 1, names=names(kind, name))


def steps(wanted: Wanted, *groups: ObjectGroup, roles: Mapping[str, Role] = ROLES) -> list[InsideStep]:
    return list(object_steps(wanted, ObjectScan(groups), roles))


GOODS = names("TABLE", "goods")
FOREIGN = "held by a role that is not of this database"


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(group(), [], id="in order"),
        pytest.param(group(held(RW, "SELECT")), [], id="a migration has revoked"),
        pytest.param(group(frozenset()), [], id="a migration has revoked all"),
        pytest.param(group(IN_ORDER | held(RO, "DELETE") | held(RW, "TRUNCATE")), [], id="a migration has granted"),
        pytest.param(
            group(IN_ORDER | held(PUBLIC, "SELECT")),
            [RevokeOnObjects(FOREIGN, GOODS, PUBLIC, ("SELECT",))],
            id="for everybody",
        ),
        pytest.param(
            group(IN_ORDER | held(STRANGER, "SELECT", "UPDATE")),
            [RevokeOnObjects(FOREIGN, GOODS, STRANGER, ("SELECT", "UPDATE"))],
            id="for a stranger",
        ),
        pytest.param(
            group(held(RW, *DML) | held(RO, "SELECT", grantable=True)),
            [RevokeOnObjects("could be passed on", GOODS, RO, ("SELECT",), only_grant_option=True)],
            id="may be passed on",
        ),
        pytest.param(
            group(None),
            [GrantOnObjects("missing", GOODS, RW, DML), GrantOnObjects("missing", GOODS, RO, ("SELECT",))],
            id="nobody has decided anything",
        ),
        pytest.param(
            group(None, kind="ROUTINE"),
            [
                RevokeOnObjects(FOREIGN, names("ROUTINE", "goods"), PUBLIC, ("EXECUTE",)),
                GrantOnObjects("missing", names("ROUTINE", "goods"), RW, ("EXECUTE",)),
            ],
            id="a routine for everybody, as PostgreSQL makes it",
        ),
        pytest.param(
            group(held(RO, "SELECT") | held(OWNER, "SELECT"), owner=STRANGER),
            [
                ChangeObjectOwner("owned by another role", GOODS, OWNER, STRANGER, False),
                GrantOnObjects("missing", GOODS, RW, DML),
            ],
            id="of another owner",
        ),
        pytest.param(
            replace(group(held(RW, *DML) | held(RO, "SELECT"), owner=STRANGER), reached=False),
            [ChangeObjectOwner("owned by another role", GOODS, OWNER, STRANGER, True)],
            id="of an owner whose role has to be taken up",
        ),
        pytest.param(
            replace(group(None, kind="TYPE", owner=STRANGER), names=names("TYPE", "state")),
            [ChangeObjectOwner("owned by another role", names("TYPE", "state"), OWNER, STRANGER, False)],
            id="a type of another owner",
        ),
        pytest.param(group(None, kind="TYPE"), [], id="a type"),
        pytest.param(
            replace(group(held(RW, "SELECT")), schema=HISTORY_SCHEMA),
            [RevokeOnObjects("beyond its access or override", GOODS, RW, ("SELECT",))],
            id="the history of migrations, which is the owner's alone",
        ),
        pytest.param(
            replace(group(None, owner=STRANGER), schema=HISTORY_SCHEMA),
            [ChangeObjectOwner("owned by another role", GOODS, OWNER, STRANGER, False)],
            id="the history of migrations of somebody else",
        ),
    ],
)
def test_objects_are_brought_in_order_so(seen, expected):
    assert steps(WANTED, seen) == expected


def test_a_sequence_of_a_column_follows_its_table():
    linked = replace(group(None, kind="SEQUENCE", owner=STRANGER), linked=True)
    assert not any(isinstance(step, ChangeObjectOwner) for step in steps(WANTED, linked))


def test_a_group_without_the_note_gets_its_first_grants_with_it():
    roles = {**ROLES, RO: replace(ROLES[RO], comment=RoleNote(OWNER, "ro").comment())}
    assert steps(WANTED, group(frozenset()), roles=roles) == [
        GrantOnObjects("missing", GOODS, RO, ("SELECT",)),
        NoteGranted("has its grants on what is there", RO, RoleNote(OWNER, "ro", granted=True).comment()),
    ]


def test_columns_of_strangers_are_taken_back_and_those_of_the_databases_own_roles_stay():
    privileges = held(PUBLIC, "UPDATE") | held(RO, "UPDATE")
    seen = ObjectScan((group(),), (ColumnPrivileges(GOODS[0], "name", privileges),))
    assert list(object_steps(WANTED, seen, ROLES)) == [
        RevokeOnObjects(FOREIGN, GOODS, PUBLIC, ("UPDATE",), columns=("name",))
    ]


def test_many_objects_go_into_several_statements():
    many = replace(group(None), names=names("TABLE", *map(str, range(450))))
    found = [step for step in steps(WANTED, many) if isinstance(step, GrantOnObjects) and step.grantee == RW]
    assert [len(step.objects) for step in found] == [200, 200, 50]


def test_names_are_asked_for_only_where_something_has_to_be_done():
    fine, wrong = replace(group(), names=(), sample=1), replace(group(held(PUBLIC, "SELECT")), names=(), sample=2)
    assert to_be_named(WANTED, ObjectScan((fine, wrong)), ROLES) == {2}


@pytest.mark.parametrize(
    ("name", "privileges", "expected"),
    [
        pytest.param("goods", held(APP_GROUP, *DML), [], id="by its access"),
        pytest.param("audit", held(APP_GROUP, "SELECT"), [], id="by its override"),
        pytest.param("goods", frozenset(), [("grant", DML)], id="nothing yet"),
        pytest.param("audit", held(APP_GROUP, *DML), [("revoke", ("DELETE", "INSERT", "UPDATE"))], id="too much"),
        pytest.param("audit", frozenset(), [("grant", ("SELECT",))], id="too little"),
        pytest.param("goods", held(APP_GROUP, *DML, "TRUNCATE"), [("revoke", ("TRUNCATE",))], id="a migration's grant"),
    ],
)
def test_a_group_with_overrides_holds_exactly_what_is_meant(name, privileges, expected):
    found = steps(OVERRIDDEN, group(IN_ORDER | privileges, name=name), roles=ROLES_OVERRIDDEN)
    assert [
        ("grant" if isinstance(step, GrantOnObjects) else "revoke", step.privileges)
        for step in found
        if isinstance(step, GrantOnObjects | RevokeOnObjects) and step.grantee == APP_GROUP
    ] == expected
    assert len(found) == len(expected)


def test_tables_that_are_not_there_yet_are_waited_for():
    assert awaited(OVERRIDDEN, ObjectScan((group(name="goods"),))) == ["public.audit"]
    assert awaited(OVERRIDDEN, ObjectScan((group(name="audit"),))) == []


PRIVILEGES = st.builds(
    Privilege,
    st.sampled_from([PUBLIC, STRANGER, RW, RO, APP_GROUP, "orders__app_a"]),
    st.sampled_from([*DML, "TRUNCATE", "MAINTAIN"]),
    st.booleans(),
)
TABLES = st.builds(
    lambda privileges, owner, name: group(privileges, owner=owner, name=name),
    st.none()
    | st.frozensets(PRIVILEGES).map(lambda all_: frozenset({(p.grantee, p.privilege): p for p in all_}.values())),
    st.sampled_from([OWNER, STRANGER]),
    st.sampled_from(["goods", "audit"]),
)


@given(TABLES, st.booleans())
def test_applying_the_steps_ends_the_work(seen, noted):
    roles = dict(ROLES_OVERRIDDEN)
    if not noted:
        roles[RO] = replace(roles[RO], comment=RoleNote(OWNER, "ro").comment())
    decided = seen.privileges
    for step in steps(OVERRIDDEN, seen, roles=roles):
        if isinstance(step, NoteGranted):
            roles[step.name] = replace(roles[step.name], comment=step.comment)
        else:
            assert isinstance(step, ObjectStep)
            seen = applied(seen, step)
    assert steps(OVERRIDDEN, seen, roles=roles) == []
    check_order(seen)
    if noted and decided is not None and seen.owner == OWNER:
        assert of(seen, "orders__app_a") == {p.privilege for p in decided if p.grantee == "orders__app_a"}


def applied(seen: ObjectGroup, step: ObjectStep) -> ObjectGroup:
    """A table after `step`; one that changes nothing is a fault of the plan."""
    before = seen.privileges or frozenset()
    match step:
        case ChangeObjectOwner():
            kept = frozenset(p for p in before if p.grantee not in (step.owner, step.present_owner))
            return replace(seen, owner=step.owner, privileges=None if seen.privileges is None else kept)
        case GrantOnObjects():
            after = before | held(step.grantee, *step.privileges)
        case RevokeOnObjects(only_grant_option=True):
            after = frozenset(
                replace(p, grantable=False) if p.grantee == step.grantee and p.privilege in step.privileges else p
                for p in before
            )
        case RevokeOnObjects():
            after = frozenset(p for p in before if p.grantee != step.grantee or p.privilege not in step.privileges)
        case _:
            raise AssertionError(step)
    assert after != before, f"{step} has no effect"
    return replace(seen, privileges=after)


def of(seen: ObjectGroup, role: str) -> set[str]:
    return {p.privilege for p in seen.privileges or () if p.grantee == role}


def check_order(seen: ObjectGroup) -> None:
    assert seen.owner == OWNER
    assert not any(p.grantable for p in seen.privileges or ())
    assert of(seen, PUBLIC) == of(seen, STRANGER) == set()
    by_access = set(privileges_by_access(Access.READ_WRITE, "TABLES"))
    assert of(seen, APP_GROUP) == ({"SELECT"} if seen.names[0].name == "audit" else by_access)


RETAIN_GROUP = NAMES.own_group("retain")
RETAINS = replace(
    WANTED,
    logins=(
        *WANTED.logins,
        replace(
            APP,
            role="retain",
            access=Access.NAMED_TABLES,
            works_as=RETAIN_GROUP,
            overrides={("public", "goods"): frozenset({"SELECT", "DELETE"})},
        ),
    ),
)


@pytest.mark.parametrize(
    ("column", "privileges", "expected"),
    [
        pytest.param("id", None, ["grant id"], id="missing"),
        pytest.param("id", held(RETAIN_GROUP, "UPDATE"), [], id="in sync"),
        pytest.param("id", held(RETAIN_GROUP, "UPDATE", "INSERT"), ["revoke INSERT id"], id="more than that"),
        pytest.param("name", held(RETAIN_GROUP, "UPDATE"), ["revoke UPDATE name", "grant id"], id="another column"),
    ],
)
def test_who_deletes_rows_may_lock_them_by_one_column_of_the_key(column, privileges, expected):
    columns = (ColumnPrivileges(GOODS[0], column, privileges),) if privileges is not None else ()
    seen = ObjectScan((), columns, {("public", "goods"): "id", ("public", "others"): "id"})
    roles = {
        **ROLES,
        RETAIN_GROUP: Role(RETAIN_GROUP, login=False, comment=RoleNote(OWNER, "retain_grp", granted=True).comment()),
    }
    found = []
    for step in object_steps(RETAINS, seen, roles):
        match step:
            case GrantOnObjects(privileges=("UPDATE",), columns=(name,), grantee=grantee) if grantee == RETAIN_GROUP:
                found.append(f"grant {name}")
            case RevokeOnObjects(privileges=(privilege,), columns=(name,)):
                found.append(f"revoke {privilege} {name}")
    assert found == expected
