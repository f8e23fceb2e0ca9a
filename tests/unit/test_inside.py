"""The inside of a database: schemas, extensions, and what new objects are born with."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Terminal
from servicedb.plan.database import EXTENSION_SCHEMA
from servicedb.plan.inside import default_privileges, inside_steps
from servicedb.plan.observed import PUBLIC, AvailableExtension, Extension, InsideScan, Privilege, Schema
from servicedb.plan.steps import (
    ChangeSchemaOwner,
    CreateExtension,
    CreateSchema,
    GrantByDefault,
    GrantOnSchema,
    InsideStep,
    RevokeByDefault,
    RevokeOnSchema,
    UpdateExtension,
)
from servicedb.plan.wanted import Wanted, WantedExtension

from tests.unit.given import ADMIN, INSIDE_AT_BIRTH, OWNER, RO, RW, STRANGER, WANTED, scan
from tests.unit.simulated import Simulated

AVAILABLE = {
    "pg_trgm": AvailableExtension("1.6", {"1.5": True, "1.6": True}),
    "vector": AvailableExtension("0.8.0", {"0.8.0": False}),
}
GROUPS_USE = frozenset({Privilege(RW, "USAGE"), Privilege(RO, "USAGE")})


def steps(wanted: Wanted, seen: InsideScan, *, superuser: bool = False) -> list[InsideStep]:
    return list(inside_steps(wanted, seen, admin=ADMIN, admin_superuser=superuser))


def asking_for(*extensions: WantedExtension, allowed: frozenset[str] = frozenset()) -> Wanted:
    return replace(WANTED, extensions=extensions, untrusted_allowed=allowed)


def trigrams(*, schema: str = "extensions", version: str | None = None) -> WantedExtension:
    return WantedExtension("pg_trgm", schema, version)


def after_all(wanted: Wanted, seen: InsideScan) -> InsideScan:
    server = Simulated(scan(), seen)
    server.apply_all(steps(wanted, seen))
    return server.inside()


IN_SYNC = replace(after_all(WANTED, INSIDE_AT_BIRTH), available=AVAILABLE)


def installed(version: str) -> InsideScan:
    return replace(IN_SYNC, extensions={"pg_trgm": Extension("pg_trgm", version, "extensions")})


def with_schema(name: str, owner: str, *privileges: Privilege) -> InsideScan:
    return replace(IN_SYNC, schemas={**IN_SYNC.schemas, name: Schema(name, owner, frozenset(privileges))})


def without_schema(name: str) -> InsideScan:
    return replace(IN_SYNC, schemas={key: value for key, value in IN_SYNC.schemas.items() if key != name})


def test_from_its_birth_a_database_is_handed_over_default_privileges_first():
    found = steps(replace(WANTED, schemas=("app", "public")), INSIDE_AT_BIRTH)
    defaults = [step for step in found if isinstance(step, GrantByDefault | RevokeByDefault)]
    assert found[: len(defaults)] == defaults
    assert found[len(defaults) :] == [
        CreateSchema("the administrator's own, for extensions", EXTENSION_SCHEMA, None),
        GrantOnSchema("missing", EXTENSION_SCHEMA, Privilege(OWNER, "USAGE")),
        GrantOnSchema("missing", EXTENSION_SCHEMA, Privilege(RO, "USAGE")),
        GrantOnSchema("missing", EXTENSION_SCHEMA, Privilege(RW, "USAGE")),
        ChangeSchemaOwner("owned by another role", "public", OWNER, "pg_database_owner"),
        RevokeOnSchema("not in the spec", "public", Privilege(PUBLIC, "USAGE")),
        GrantOnSchema("missing", "public", Privilege(RO, "USAGE")),
        GrantOnSchema("missing", "public", Privilege(RW, "USAGE")),
        CreateSchema("missing", "app", OWNER),
    ]


def test_execute_is_taken_from_the_public():
    taken = [step for step in steps(WANTED, INSIDE_AT_BIRTH) if isinstance(step, RevokeByDefault)]
    assert taken == [RevokeByDefault("not in the spec", OWNER, "ROUTINES", Privilege(PUBLIC, "EXECUTE"))]


def test_what_the_owner_makes_is_readable_and_writable_from_birth():
    def held(role: str) -> dict[str, set[str]]:
        goal = default_privileges(WANTED)
        return {kind: {p.privilege for p in goal[kind] if p.grantee == role} for kind in goal}

    assert held(RW) == {
        "SCHEMAS": {"USAGE"},
        "TABLES": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        "SEQUENCES": {"SELECT", "USAGE", "UPDATE"},
        "ROUTINES": {"EXECUTE"},
        "TYPES": set(),
    }
    assert held(RO) == {
        "SCHEMAS": {"USAGE"}, "TABLES": {"SELECT"}, "SEQUENCES": {"SELECT"}, "ROUTINES": set(), "TYPES": set(),
    }  # fmt: skip
    assert held(PUBLIC) == {
        "SCHEMAS": set(), "TABLES": set(), "SEQUENCES": set(), "ROUTINES": set(), "TYPES": {"USAGE"},
    }  # fmt: skip


def test_nothing_is_done_to_an_inside_that_is_as_it_should_be():
    assert steps(WANTED, IN_SYNC) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(without_schema("public"), [CreateSchema("missing", "public", OWNER)], id="public dropped"),
        pytest.param(
            with_schema("public", OWNER, *GROUPS_USE, Privilege(PUBLIC, "CREATE")),
            [RevokeOnSchema("not in the spec", "public", Privilege(PUBLIC, "CREATE"))],
            id="everybody may create in public",
        ),
        pytest.param(
            with_schema("public", OWNER, Privilege(RO, "USAGE")),
            [GrantOnSchema("missing", "public", Privilege(RW, "USAGE"))],
            id="the app can't use public",
        ),
        pytest.param(
            with_schema("public", STRANGER, *GROUPS_USE, Privilege(OWNER, "CREATE")),
            [ChangeSchemaOwner("owned by another role", "public", OWNER, STRANGER)],
            id="public handed to a stranger",
        ),
        pytest.param(with_schema("private", STRANGER, Privilege(PUBLIC, "CREATE")), [], id="a schema not in the spec"),
        pytest.param(
            with_schema(EXTENSION_SCHEMA, ADMIN, *GROUPS_USE, Privilege(OWNER, "USAGE"), Privilege(OWNER, "CREATE")),
            [RevokeOnSchema("not in the spec", EXTENSION_SCHEMA, Privilege(OWNER, "CREATE"))],
            id="the owner may create among the extensions",
        ),
        pytest.param(
            replace(
                IN_SYNC,
                default_privileges={
                    **IN_SYNC.default_privileges,
                    "ROUTINES": frozenset({Privilege(RW, "EXECUTE"), Privilege(PUBLIC, "EXECUTE")}),
                },
            ),
            [RevokeByDefault("not in the spec", OWNER, "ROUTINES", Privilege(PUBLIC, "EXECUTE"))],
            id="the public may execute what comes",
        ),
        pytest.param(
            replace(IN_SYNC, default_privileges={**IN_SYNC.default_privileges, "TYPES": frozenset()}),
            [GrantByDefault("missing", OWNER, "TYPES", Privilege(PUBLIC, "USAGE"))],
            id="types can't be used",
        ),
    ],
)
def test_what_differs_is_repaired_alone(seen, expected):
    assert steps(WANTED, seen) == expected


@pytest.mark.parametrize(
    ("wanted", "seen", "expected"),
    [
        pytest.param(
            asking_for(trigrams()), IN_SYNC, [CreateExtension("missing", "pg_trgm", "extensions", None)], id="missing"
        ),
        pytest.param(
            asking_for(trigrams(version="1.5")),
            IN_SYNC,
            [CreateExtension("missing", "pg_trgm", "extensions", "1.5")],
            id="missing, a version",
        ),
        pytest.param(asking_for(trigrams()), installed("1.5"), [], id="any version is there"),
        pytest.param(asking_for(trigrams(version="1.5")), installed("1.5"), [], id="that version is there"),
        pytest.param(
            asking_for(trigrams(version="1.6")),
            installed("1.5"),
            [UpdateExtension("version 1.5 is installed", "pg_trgm", "1.6")],
            id="another version is there",
        ),
        pytest.param(WANTED, installed("1.5"), [], id="installed by hand"),
    ],
)
def test_extensions_are_installed_and_updated_never_dropped(wanted, seen, expected):
    assert steps(wanted, seen) == expected


def test_an_untrusted_extension_is_installed_where_it_is_allowed_and_the_admin_a_superuser():
    wanted = asking_for(WantedExtension("vector", "extensions"), allowed=frozenset({"vector"}))
    assert steps(wanted, IN_SYNC, superuser=True) == [CreateExtension("missing", "vector", "extensions", None)]


def test_an_extension_goes_into_public_before_that_is_handed_over():
    found = steps(asking_for(trigrams(schema="public")), replace(INSIDE_AT_BIRTH, available=AVAILABLE))
    made = found.index(CreateExtension("missing", "pg_trgm", "public", None))
    assert made < found.index(ChangeSchemaOwner("owned by another role", "public", OWNER, "pg_database_owner"))


@pytest.mark.parametrize(
    ("wanted", "seen", "superuser", "sentence"),
    [
        pytest.param(
            asking_for(WantedExtension("postgis", "extensions")), IN_SYNC, True, "is not installed", id="no package"
        ),
        pytest.param(
            asking_for(trigrams(version="9.9")), IN_SYNC, True, 'no version "9.9" on the server; there are: 1.5, 1.6',
            id="no such version",
        ),
        pytest.param(
            asking_for(trigrams(version="9.9")), installed("1.5"), True, 'no version "9.9"', id="no such update"
        ),
        pytest.param(
            asking_for(WantedExtension("vector", "extensions")), IN_SYNC, True, "list it under spec.extensions.allowed",
            id="untrusted, not allowed",
        ),
        pytest.param(
            asking_for(WantedExtension("vector", "extensions"), allowed=frozenset({"vector"})), IN_SYNC, False,
            "only a superuser can install it", id="untrusted, no superuser",
        ),
        pytest.param(
            asking_for(trigrams(schema="public")), IN_SYNC, True, "only when the database is made", id="public too late"
        ),
        pytest.param(
            asking_for(trigrams(schema="public")), without_schema("public"), True, "only when the database is made",
            id="public dropped",
        ),
        pytest.param(
            asking_for(trigrams(schema="public")), with_schema("public", STRANGER), True,
            "only when the database is made", id="public is a stranger's",
        ),
    ],
)  # fmt: skip
def test_an_extension_that_can_not_be_had_is_refused(wanted, seen, superuser, sentence):
    with pytest.raises(Terminal, match=sentence) as raised:
        steps(wanted, seen, superuser=superuser)
    assert raised.value.reason == "ExtensionUnavailable"
    assert raised.value.condition == "DatabaseReady"


def test_a_hostile_extension_name_is_shown_harmless():
    with pytest.raises(Terminal) as raised:
        steps(asking_for(WantedExtension("e\u0301\n\0", "extensions")), IN_SYNC)
    assert raised.value.message.isprintable()


@pytest.mark.parametrize("superuser", [False, True])
def test_an_extension_schema_of_somebody_else_is_refused_most_of_all_to_a_superuser(superuser):
    seen = with_schema(EXTENSION_SCHEMA, OWNER, *GROUPS_USE, Privilege(OWNER, "USAGE"))
    with pytest.raises(Terminal, match="could be captured") as raised:
        steps(WANTED, seen, superuser=superuser)
    assert raised.value.reason == "ExtensionSchemaTaken"


def test_the_extension_schema_of_an_earlier_admin_is_taken_over_but_never_that_of_a_tenant():
    seen = with_schema(EXTENSION_SCHEMA, "earlier_admin", *GROUPS_USE, Privilege(OWNER, "USAGE"))
    admins = replace(seen.schemas[EXTENSION_SCHEMA], reached=True, of_role_maker=True)
    seen = replace(seen, schemas={**seen.schemas, EXTENSION_SCHEMA: admins})
    assert ChangeSchemaOwner("of an earlier admin", EXTENSION_SCHEMA, ADMIN) in steps(WANTED, seen)
    for other in (replace(admins, of_role_maker=False), replace(admins, reached=False)):
        with pytest.raises(Terminal, match="could be captured"):
            steps(WANTED, replace(seen, schemas={**seen.schemas, EXTENSION_SCHEMA: other}))
    with pytest.raises(Terminal, match="could be captured"):
        steps(WANTED, seen, superuser=True)


def test_what_an_extension_that_can_not_be_had_does_not_concern_comes_before_it():
    seen = without_schema("public")
    found = inside_steps(asking_for(trigrams(version="9.9")), seen, admin=ADMIN, admin_superuser=False)
    assert next(found) == CreateSchema("missing", "public", OWNER)
    with pytest.raises(Terminal):
        list(found)


def test_an_extension_among_a_tenants_objects_is_not_updated():
    seen = replace(installed("1.5"), extensions={"pg_trgm": Extension("pg_trgm", "1.5", "public")})
    with pytest.raises(Terminal, match="captured"):
        steps(asking_for(trigrams(version="1.6")), seen)


PRIVILEGES = st.builds(
    Privilege,
    st.sampled_from([PUBLIC, OWNER, RW, RO, STRANGER]),
    st.sampled_from(["USAGE", "CREATE", "SELECT", "EXECUTE"]),
    st.booleans(),
)


def one_each(privileges: frozenset[Privilege]) -> frozenset[Privilege]:
    return frozenset({(p.grantee, p.privilege): p for p in sorted(privileges)}.values())


ACLS = st.frozensets(PRIVILEGES).map(one_each)
KINDS = ("TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS")


def others(privileges: frozenset[Privilege], owner: str) -> frozenset[Privilege]:
    """The catalogue shows no privileges of an owner's own."""
    return frozenset(p for p in privileges if p.grantee != owner)


@st.composite
def insides(draw: st.DrawFn) -> InsideScan:
    schemas: dict[str, Schema] = {}
    for name, owners in (
        ("public", ["pg_database_owner", OWNER, STRANGER]),
        ("app", [OWNER, STRANGER]),
        (EXTENSION_SCHEMA, [ADMIN]),
    ):
        if draw(st.booleans()):
            owner = draw(st.sampled_from(owners))
            schemas[name] = Schema(name, owner, others(draw(ACLS), owner))
    defaults: Mapping[str, frozenset[Privilege]] = {kind: others(draw(ACLS), OWNER) for kind in KINDS}
    there = draw(st.sampled_from([None, "1.5", "1.6"]))
    extensions = {"pg_trgm": Extension("pg_trgm", there, "extensions")} if there else {}
    return InsideScan(schemas, defaults, extensions, AVAILABLE)


WANTEDS = st.builds(
    replace,
    st.just(WANTED),
    schemas=st.sampled_from([("public",), ("app", "public")]),
    extensions=st.sampled_from([(), (trigrams(),), (trigrams(version="1.6"),)]),
)


@given(WANTEDS, insides())
def test_applying_the_steps_ends_the_work(wanted, seen):
    after = after_all(wanted, seen)
    assert steps(wanted, after) == []
    assert Privilege(PUBLIC, "EXECUTE") not in after.default_privileges["ROUTINES"]
    for name in ("public", *wanted.schemas):
        assert after.schemas[name].owner == OWNER


@given(WANTEDS, insides())
def test_nobody_creates_among_the_extensions_but_the_admin(wanted, seen):
    schema = after_all(wanted, seen).schemas[EXTENSION_SCHEMA]
    assert schema.owner == ADMIN
    assert {p.privilege for p in schema.privileges} == {"USAGE"}
