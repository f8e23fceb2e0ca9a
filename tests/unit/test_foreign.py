"""A database that servicedb never made: whether it may be adopted, who shares it, and that nothing is taken away."""

from dataclasses import replace

import pytest
from servicedb.errors import Terminal
from servicedb.plan.database import database_steps, wanted_settings
from servicedb.plan.foreign import apart, check_adoptable, shared, shared_memberships, strangers_objects
from servicedb.plan.inside import following_schemas, inside_steps
from servicedb.plan.marker import Marker
from servicedb.plan.objects import object_steps
from servicedb.plan.observed import (
    PUBLIC,
    ColumnPrivileges,
    Membership,
    ObjectGroup,
    ObjectName,
    ObjectScan,
    OwnerInside,
    Privilege,
    Role,
    Schema,
    ServerScan,
)
from servicedb.plan.steps import (
    ChangeDatabaseOwner,
    ChangeObjectOwner,
    ChangeSchemaOwner,
    GrantByDefault,
    GrantOnObjects,
    NoteGranted,
    RevokeOnDatabase,
    RevokeOnObjects,
    RevokeOnSchema,
)

from tests.unit.given import (
    ADMIN,
    INSIDE_AT_BIRTH,
    MARKER,
    MIGRATOR_A,
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

LEGACY = Role("legacy", login=True)
REPORTS = Role("reports", login=True)
SUPERUSER = Role("postgres", login=True, superuser=True)
ADOPTABLE = replace(WANTED, adoptable=True)
ADOPTED = replace(ADOPTABLE, marker=replace(MARKER, oid=16_400, shared_with=("legacy", "reports")))


def foreign(*owners: OwnerInside, version: int = 16_00_04, superuser: bool = False) -> ServerScan:
    seen = scan([owner.role for owner in owners], [replace(database(owner="legacy"), owners=owners)])
    return replace(seen, version=version, admin_superuser=superuser)


def owns(role: Role, *, reached: bool = True) -> OwnerInside:
    return OwnerInside(role, "table public.goods", reached)


def adopted(
    *others: Role, marker: Marker = ADOPTED.marker, memberships: frozenset[Membership] = frozenset()
) -> ServerScan:
    roles = {**roles_in_sync(marker=marker), **{role.name: role for role in others}}
    return scan(roles.values(), [database()], memberships=memberships)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        pytest.param(
            foreign(owns(SUPERUSER)),
            'table public.goods belongs to the superuser "postgres", and the admin "opadmin" is none',
            id="a superuser's",
        ),
        pytest.param(
            foreign(owns(LEGACY, reached=False)),
            'GRANT "legacy" TO "opadmin" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
            id="of a role that the admin can't act for",
        ),
        pytest.param(
            foreign(owns(replace(LEGACY, comment=note(WANTED.logins[0], owner="invoices__owner")))),
            'belongs to role "legacy" of another database of servicedb',
            id="another database's",
        ),
        pytest.param(
            foreign(owns(replace(LEGACY, inherit=False)), version=15_00_01),
            'ALTER ROLE "legacy" INHERIT',
            id="of a role that does not inherit, before 16",
        ),
    ],
)
def test_what_keeps_it_from_being_adopted_is_said_with_what_to_do(seen, sentence):
    with pytest.raises(Terminal) as raised:
        check_adoptable(ADOPTABLE, seen, server="main")
    assert raised.value.reason == "NotAdoptable"
    assert sentence in raised.value.message


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(foreign(owns(LEGACY), owns(REPORTS)), id="several owners"),
        pytest.param(foreign(owns(SUPERUSER), superuser=True), id="a superuser's, for a superuser"),
        pytest.param(foreign(owns(replace(LEGACY, inherit=False))), id="of a role that does not inherit, from 16 on"),
        pytest.param(foreign(), id="the admin's alone"),
    ],
)
def test_what_can_be_adopted_whole_may_be(seen):
    check_adoptable(ADOPTABLE, seen, server="main")


LOST = frozenset(
    {
        Membership(OWNER, "legacy", inherit=True, set_role=True),
        Membership(OWNER, MIGRATOR_A, inherit=False, set_role=True),
        Membership(RW, "reports", inherit=True, set_role=True),
    }
)


@pytest.mark.parametrize(
    ("wanted", "seen", "expected"),
    [
        pytest.param(
            ADOPTABLE, foreign(owns(REPORTS), owns(SUPERUSER), owns(LEGACY)), ("legacy", "reports"), id="its owners"
        ),
        pytest.param(ADOPTABLE, foreign(owns(SUPERUSER), superuser=True), (), id="a superuser needs nothing"),
        pytest.param(replace(ADOPTABLE, known_oid="7"), foreign(owns(LEGACY)), None, id="not to be adopted"),
        pytest.param(ADOPTABLE, adopted(), ("legacy", "reports"), id="those in the marker"),
        pytest.param(WANTED, adopted(), None, id="the entry is gone"),
        pytest.param(ADOPTABLE, adopted(marker=MARKER), None, id="once it was gone"),
        pytest.param(
            ADOPTABLE,
            scan([*roles_in_sync().values(), Role(OWNER, login=False), LEGACY], [database()], memberships=LOST),
            ("legacy",),
            id="without a marker: members that are not of the database",
        ),
    ],
)
def test_who_owned_something_shares_it_as_long_as_it_is_listed(wanted, seen, expected):
    assert shared(wanted, seen).shared_with == expected


def test_those_who_share_it_and_are_there_are_members_of_the_owner_role():
    gone = adopted(LEGACY)
    assert shared_memberships(ADOPTED, gone) == {Membership(OWNER, "legacy", inherit=True, set_role=True)}
    assert shared_memberships(ADOPTED, adopted(replace(LEGACY, superuser=True))) == frozenset()
    before_16 = replace(adopted(replace(LEGACY, inherit=False)), version=15_00_01)
    assert shared_memberships(ADOPTED, before_16) == {Membership(OWNER, "legacy", inherit=False, set_role=True)}


def test_as_long_as_it_is_shared_no_privilege_and_no_setting_of_others_is_touched():
    held = frozenset({Privilege(PUBLIC, "CONNECT"), Privilege("reader", "CREATE")})
    seen = replace(
        adopted(LEGACY, REPORTS),
        databases={"orders": replace(database(owner="legacy"), privileges=held)},
        settings={("orders", ""): {"search_path": "app", "work_mem": "1GB"}},
    )
    found = list(database_steps(ADOPTED, seen))
    assert found[0] == ChangeDatabaseOwner("owned by another role", "orders", ADMIN, "legacy", False)
    assert not any(isinstance(step, RevokeOnDatabase) for step in found)
    assert not any(getattr(step, "parameter", None) and step.role is None for step in found)  # type: ignore[attr-defined]
    alone = list(database_steps(WANTED, seen))
    assert {step.privilege for step in alone if isinstance(step, RevokeOnDatabase)} == held


def test_what_the_spec_wants_set_stands_on_each_login_as_long_as_it_is_shared():
    wanted = replace(ADOPTED, parameters={"work_mem": "8MB"})
    settings = wanted_settings(wanted)
    assert "" not in settings
    assert settings[MIGRATOR_A] == {"work_mem": "8MB", "search_path": "public, extensions", "role": OWNER}
    assert wanted_settings(replace(wanted, marker=MARKER))[MIGRATOR_A] == {"role": OWNER}


def schema(name: str, owner: str, *, reached: bool = True, of_extension: bool = False) -> Schema:
    return Schema(name, owner, frozenset({Privilege(PUBLIC, "CREATE")}), reached, of_extension)


def test_the_schemas_of_those_who_share_it_change_hands_and_nothing_is_revoked_there():
    schemas = [
        schema("public", OWNER),
        schema("app", "reports", reached=False),
        schema("made_by_it", "legacy", of_extension=True),
        schema("monitoring", "postgres"),
        schema("of_the_owner", OWNER),
    ]
    seen = replace(INSIDE_AT_BIRTH, schemas={one.name: one for one in schemas})
    found = list(inside_steps(ADOPTED, seen, admin=ADMIN, admin_superuser=False))
    assert [step for step in found if isinstance(step, ChangeSchemaOwner)] == [
        ChangeSchemaOwner("owned by another role", "app", OWNER, "reports", True)
    ]
    assert not any(isinstance(step, RevokeOnSchema) for step in found)
    alone = list(inside_steps(WANTED, seen, admin=ADMIN, admin_superuser=False))
    assert {step.schema for step in alone if isinstance(step, RevokeOnSchema)} == {"public", "of_the_owner"}


def test_schemas_that_follow_their_database_are_given_to_the_owner_role_with_it():
    seen = replace(INSIDE_AT_BIRTH, schemas={**INSIDE_AT_BIRTH.schemas, "app": schema("app", "legacy")})
    assert [step.name for step in following_schemas(ADOPTED, seen)] == ["public"]


def group(kind: str, owner: str, *names: str, **changes: object) -> ObjectGroup:
    objects = tuple(ObjectName(kind, "public", name) for name in names)
    return replace(
        ObjectGroup(kind, "public", owner, frozenset({Privilege(PUBLIC, "SELECT")}), len(names), 1, names=objects),
        **changes,  # type: ignore[arg-type]
    )


OBJECTS = ObjectScan(
    (
        group("ROUTINE", "legacy", "f"),
        group("SEQUENCE", "legacy", "goods_id", linked=True),
        group("TABLE", "legacy", "goods", "orders", reached=False),
        group("TABLE", "reports", "months", view=True),
        group("TABLE", STRANGER, "scratch", "scratch_2"),
        group("TABLE", "postgres", "by_dba", by_superuser=True),
        group("COLLATION", "legacy", "mine"),
    ),
    (ColumnPrivileges(ObjectName("TABLE", "public", "goods"), "id", frozenset({Privilege(STRANGER, "SELECT")})),),
)


def test_objects_change_hands_one_by_one_tables_first_and_nothing_is_revoked():
    found = list(object_steps(ADOPTED, OBJECTS, roles_in_sync()))
    handed = [step.objects for step in found if isinstance(step, ChangeObjectOwner)]
    assert [[one.name for one in objects] for objects in handed] == [
        ["goods"], ["orders"], ["by_dba"], ["mine"], ["f"], ["months"],
    ]  # fmt: skip
    assert not any(isinstance(step, RevokeOnObjects) for step in found)


def test_before_anything_changes_hands_the_owner_role_may_use_it():
    found = list(object_steps(ADOPTED, OBJECTS, roles_in_sync()))
    before = found[: found.index(next(step for step in found if isinstance(step, ChangeObjectOwner)))]
    assert {name.name for step in before if isinstance(step, GrantOnObjects) for name in step.objects} == {
        "f", "goods_id", "goods", "orders", "months", "by_dba",
    }  # fmt: skip
    acting = [step.acting_for for step in before if isinstance(step, GrantOnObjects) and step.acting_for]
    assert acting == ["legacy"]


def test_objects_of_who_owned_nothing_are_left_to_him_and_listed():
    found = list(object_steps(ADOPTED, OBJECTS, roles_in_sync()))
    assert not any(
        "scratch" in name.name for step in found if isinstance(step, GrantOnObjects) for name in step.objects
    )
    assert list(strangers_objects(ADOPTED, OBJECTS)) == [
        f"table: 2 in schema public owned by {STRANGER}, not by {OWNER}; left alone as long as spec.adoptable lists "
        "the database"
    ]
    assert list(strangers_objects(WANTED, OBJECTS)) == []


def test_each_object_goes_out_alone_with_its_grants_and_the_note_comes_last():
    goods, orders = ((ObjectName("TABLE", "public", name),) for name in ("goods", "orders"))
    first = GrantByDefault("missing", OWNER, "TABLES", Privilege(RO, "SELECT"))
    note = NoteGranted("has its grants on what is there", RW, "{}")
    steps = [
        first,
        ChangeObjectOwner("owned by another role", goods, OWNER, "legacy", False),
        GrantOnObjects("missing", goods, RO, ("SELECT",)),
        ChangeObjectOwner("owned by another role", orders, OWNER, "legacy", False),
        note,
    ]
    assert apart(steps) == [[first], steps[1:3], steps[3:4], [note]]
