"""Steps as SQL: the text of each, with every name quoted and nothing let through that is not on a list."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.observed import PUBLIC, Membership, ObjectName, Privilege
from servicedb.plan.steps import (
    ADOPTION,
    BACKUP,
    CREATION,
    DELETION,
    DEPARTURE,
    MIGRATION,
    REOPENING,
    REPAIR,
    RESTORING,
    RETENTION,
    ROTATION,
    SETTING_ASIDE,
    UNDO,
    AlterRole,
    BackupStep,
    ChangeDatabaseOwner,
    ChangeObjectOwner,
    ChangeSchemaOwner,
    ChangeSetting,
    CloseDatabase,
    CloseLogin,
    CommentOnRole,
    CreateDatabase,
    CreateExtension,
    CreateRole,
    CreateSchema,
    DeleteSecret,
    DropDatabase,
    DropOwned,
    DropRole,
    EndSessions,
    Grant,
    GrantByDefault,
    GrantOnDatabase,
    GrantOnObjects,
    GrantOnSchema,
    MigrationStep,
    NoteGranted,
    NoteOnLogin,
    OpenDatabase,
    OpenLogin,
    PrepareSecret,
    RenameDatabase,
    RenameRole,
    ResetRoleSetting,
    Revoke,
    RevokeByDefault,
    RevokeOnDatabase,
    RevokeOnObjects,
    RevokeOnSchema,
    SecretStep,
    SetPassword,
    Step,
    UpdateExtension,
)
from servicedb.postgres.execute import set_verifier, statements

EVIL = 'o"; DROP TABLE x; --'
QUOTED = '"o""; DROP TABLE x; --"'
APP = Membership("orders__rw", "orders__app_a", inherit=True, set_role=True)
MIGRATOR = Membership("orders__owner", "orders__migrator_a", inherit=False, set_role=True)
WHY = "why"

TABLES = (ObjectName("TABLE", "s", "t"), ObjectName("TABLE", "s", "U"))
OPERATOR = (ObjectName("OPERATOR", "s", "@@", (("", ""), ("s", "state"))),)
ROUTINE = (ObjectName("ROUTINE", "s", "f", (("pg_catalog", "int4"), ("s", "_state"))),)

TABLE: list[tuple[Step, list[str]]] = [
    (
        CreateRole(WHY, "r", True, False, 20, "it's"),
        [
            'CREATE ROLE "r" WITH LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS'
            " CONNECTION LIMIT 20",
            "COMMENT ON ROLE \"r\" IS 'it''s'",
        ],
    ),
    (
        CreateRole(WHY, "r", False, True, -1, ""),
        [
            'CREATE ROLE "r" WITH NOLOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS'
            " CONNECTION LIMIT -1",
            "COMMENT ON ROLE \"r\" IS ''",
        ],
    ),
    (AlterRole(WHY, "r", ("NOLOGIN",)), ['ALTER ROLE "r" NOLOGIN']),
    (AlterRole(WHY, "r", ("LOGIN", "CONNECTION LIMIT 5")), ['ALTER ROLE "r" LOGIN CONNECTION LIMIT 5']),
    (CommentOnRole(WHY, "r", '{"a":"\\u0041"}'), ['COMMENT ON ROLE "r" IS E\'{"a":"\\\\u0041"}\'']),
    (DropRole(WHY, "r"), ['DROP ROLE "r"']),
    (RenameRole(WHY, "r", "s"), ['ALTER ROLE "r" RENAME TO "s"']),
    (RenameDatabase(WHY, "d", "e"), ['ALTER DATABASE "d" RENAME TO "e"']),
    (AlterRole(WHY, "r", ("VALID UNTIL infinity",)), ["ALTER ROLE \"r\" VALID UNTIL 'infinity'"]),
    (ResetRoleSetting(WHY, "r", "search_path"), ['ALTER ROLE "r" RESET "search_path"']),
    (ChangeDatabaseOwner(WHY, "d", "o", "p", True), ['ALTER DATABASE "d" OWNER TO "o"']),
    (NoteGranted(WHY, "r", "{}"), ["COMMENT ON ROLE \"r\" IS '{}'"]),
    (
        ChangeObjectOwner(WHY, TABLES, "o", "p", True),
        ['ALTER TABLE "s"."t" OWNER TO "o"', 'ALTER TABLE "s"."U" OWNER TO "o"'],
    ),
    (
        ChangeObjectOwner(WHY, ROUTINE, "o", "p", False),
        ['ALTER ROUTINE "s"."f"("pg_catalog"."int4", "s"."_state") OWNER TO "o"'],
    ),
    (
        ChangeObjectOwner(WHY, OPERATOR, "o", "p", False),
        ['ALTER OPERATOR "s".@@(NONE, "s"."state") OWNER TO "o"'],
    ),
    (
        ChangeObjectOwner(WHY, (ObjectName("OPERATOR CLASS", "s", "c", method="gin"),), "o", "p", False),
        ['ALTER OPERATOR CLASS "s"."c" USING "gin" OWNER TO "o"'],
    ),
    (
        ChangeObjectOwner(WHY, (ObjectName("TEXT SEARCH CONFIGURATION", "s", "c"),), "o", "p", False),
        ['ALTER TEXT SEARCH CONFIGURATION "s"."c" OWNER TO "o"'],
    ),
    (
        GrantOnObjects(WHY, TABLES, "r", ("INSERT", "SELECT")),
        ['GRANT INSERT, SELECT ON TABLE "s"."t", "s"."U" TO "r"'],
    ),
    (
        RevokeOnObjects(WHY, TABLES, PUBLIC, ("SELECT",)),
        ['REVOKE SELECT ON TABLE "s"."t", "s"."U" FROM PUBLIC CASCADE'],
    ),
    (
        RevokeOnObjects(WHY, TABLES[:1], "r", ("INSERT", "SELECT"), ("a", "B"), True),
        ['REVOKE GRANT OPTION FOR INSERT ("a", "B"), SELECT ("a", "B") ON TABLE "s"."t" FROM "r" CASCADE'],
    ),
    (Grant(WHY, APP), ['GRANT "orders__rw" TO "orders__app_a" WITH INHERIT TRUE, SET TRUE']),
    (Grant(WHY, MIGRATOR), ['GRANT "orders__owner" TO "orders__migrator_a" WITH INHERIT FALSE, SET TRUE']),
    (Revoke(WHY, APP), ['REVOKE "orders__rw" FROM "orders__app_a" CASCADE']),
    (
        CreateDatabase(WHY, "d", "UTF8", None, None),
        ["CREATE DATABASE \"d\" TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false"],
    ),
    (
        CreateDatabase(WHY, "d", "UTF8", "C.UTF-8", "Builtin"),
        [
            'CREATE DATABASE "d" TEMPLATE template0 ENCODING \'UTF8\' LOCALE_PROVIDER "builtin"'
            " BUILTIN_LOCALE 'C.UTF-8' ALLOW_CONNECTIONS false"
        ],
    ),
    (
        CreateDatabase(WHY, "d", "UTF8", "en-US", "ICU"),
        [
            'CREATE DATABASE "d" TEMPLATE template0 ENCODING \'UTF8\' LOCALE_PROVIDER "icu"'
            " ICU_LOCALE 'en-US' ALLOW_CONNECTIONS false"
        ],
    ),
    (
        CreateDatabase(WHY, "d", "LATIN1", "C", None),
        ["CREATE DATABASE \"d\" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' ALLOW_CONNECTIONS false"],
    ),
    (GrantOnDatabase(WHY, "d", Privilege("r", "CONNECT")), ['GRANT CONNECT ON DATABASE "d" TO "r"']),
    (
        RevokeOnDatabase(WHY, "d", Privilege(PUBLIC, "TEMPORARY")),
        ['REVOKE TEMPORARY ON DATABASE "d" FROM PUBLIC CASCADE'],
    ),
    (GrantOnSchema(WHY, "s", Privilege("r", "USAGE")), ['GRANT USAGE ON SCHEMA "s" TO "r"']),
    (RevokeOnSchema(WHY, "s", Privilege("r", "CREATE", True)), ['REVOKE CREATE ON SCHEMA "s" FROM "r" CASCADE']),
    (
        GrantByDefault(WHY, "o", "TABLES", Privilege("r", "SELECT")),
        ['ALTER DEFAULT PRIVILEGES FOR ROLE "o" GRANT SELECT ON TABLES TO "r"'],
    ),
    (
        RevokeByDefault(WHY, "o", "ROUTINES", Privilege(PUBLIC, "EXECUTE")),
        ['ALTER DEFAULT PRIVILEGES FOR ROLE "o" REVOKE EXECUTE ON ROUTINES FROM PUBLIC CASCADE'],
    ),
    (
        ChangeSetting(WHY, "d", None, "statement_timeout", "30s"),
        ['ALTER DATABASE "d" SET "statement_timeout" TO \'30s\''],
    ),
    (ChangeSetting(WHY, "d", None, "work_mem", None), ['ALTER DATABASE "d" RESET "work_mem"']),
    (ChangeSetting(WHY, "d", "r", "role", "o"), ['ALTER ROLE "r" IN DATABASE "d" SET "role" TO \'o\'']),
    (ChangeSetting(WHY, "d", "r", "work_mem", None), ['ALTER ROLE "r" IN DATABASE "d" RESET "work_mem"']),
    (
        ChangeSetting(WHY, "d", None, "search_path", "app, public, extensions"),
        ["ALTER DATABASE \"d\" SET \"search_path\" TO 'app', 'public', 'extensions'"],
    ),
    (
        OpenDatabase(WHY, "d", "o", "{}"),
        ["COMMENT ON ROLE \"o\" IS '{}'", 'ALTER DATABASE "d" WITH ALLOW_CONNECTIONS true'],
    ),
    (CreateSchema(WHY, "s", None), ['CREATE SCHEMA "s"']),
    (CreateSchema(WHY, "s", "o"), ['CREATE SCHEMA "s" AUTHORIZATION "o"']),
    (ChangeSchemaOwner(WHY, "s", "o"), ['ALTER SCHEMA "s" OWNER TO "o"']),
    (CreateExtension(WHY, "e", "s", None), ['CREATE EXTENSION "e" SCHEMA "s"']),
    (CreateExtension(WHY, "e", "s", "1.6"), ['CREATE EXTENSION "e" SCHEMA "s" VERSION \'1.6\'']),
    (OpenLogin(WHY, EVIL), [f"ALTER ROLE {QUOTED} LOGIN"]),
    (CloseLogin(WHY, EVIL), [f"ALTER ROLE {QUOTED} NOLOGIN"]),
    (NoteOnLogin(WHY, "r", "it's"), ["COMMENT ON ROLE \"r\" IS 'it''s'"]),
    (UpdateExtension(WHY, "e", "1.6"), ["ALTER EXTENSION \"e\" UPDATE TO '1.6'"]),
    (
        CloseDatabase(WHY, "d", "o", "{}"),
        ["COMMENT ON ROLE \"o\" IS '{}'", 'ALTER DATABASE "d" WITH ALLOW_CONNECTIONS false'],
    ),
    (
        EndSessions(WHY, ("r", "s'")),
        [
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('r', 's''')"
            " AND pid <> pg_backend_pid()"
        ],
    ),
    (DropDatabase(WHY, "d"), ['DROP DATABASE "d" WITH (FORCE)']),
    (DropDatabase(WHY, "d", force=False), ['DROP DATABASE "d"']),
    (DropOwned(WHY, "r", "d"), ['DROP OWNED BY "r"']),
]


def text(step: Step, *, server_version: int = 16_00_04) -> list[str]:
    """psycopg puts a blank before some literals; one is as good as two."""
    parts = [part.as_string(None) for part in statements(step, server_version=server_version)]
    return [re.sub(r" +", " ", part) for part in parts]


def kinds(of: type[Step] = Step) -> Iterator[type[Step]]:
    """Every kind of step that no other derives from."""
    for kind in of.__subclasses__():
        if kind.__subclasses__():
            yield from kinds(kind)
        elif getattr(sys.modules[kind.__module__], kind.__name__, None) is kind:  # else dataclass made another of it
            yield kind


@pytest.mark.parametrize(("step", "expected"), [pytest.param(*row, id=row[1][0]) for row in TABLE])
def test_each_step_is_written_so(step, expected):
    assert text(step) == expected


def test_every_kind_of_step_is_in_the_table_or_needs_no_sql():
    needing_sql = {
        kind
        for kind in kinds()
        if not issubclass(kind, SecretStep | SetPassword | DeleteSecret | MigrationStep | BackupStep)
    }
    assert needing_sql == {type(step) for step, _ in TABLE}


@pytest.mark.parametrize(
    "course",
    [
        CREATION,
        ADOPTION,
        REPAIR,
        ROTATION,
        DEPARTURE,
        DELETION,
        UNDO,
        MIGRATION,
        BACKUP,
        RETENTION,
        RESTORING,
        REOPENING,
        SETTING_ASIDE,
    ],
)
def test_a_course_names_kinds_of_steps_each_once(course):
    assert set(course) <= set(kinds())
    assert len(course) == len(set(course))


@pytest.mark.parametrize("step", [PrepareSecret(WHY, "app", "r"), SetPassword(WHY, "app", "r")])
def test_what_needs_a_password_has_no_sql_of_its_own(step):
    with pytest.raises(TypeError):
        statements(step, server_version=16_00_04)


@pytest.mark.parametrize("version", [15_00_18, 16_00_00, 18_00_04])
def test_grant_options_are_for_16_and_newer(version):
    options = " WITH INHERIT FALSE, SET TRUE" if version >= 16_00_00 else ""
    assert text(Grant(WHY, MIGRATOR), server_version=version) == [
        'GRANT "orders__owner" TO "orders__migrator_a"' + options
    ]


def test_a_password_is_set_as_a_verifier():
    assert set_verifier("r", "SCRAM-SHA-256$4096:a$b:c").as_string(None) == (
        "ALTER ROLE \"r\" PASSWORD 'SCRAM-SHA-256$4096:a$b:c'"
    )


HOSTILE: list[tuple[Step, list[str]]] = [
    (CreateRole(WHY, EVIL, True, True, -1, ""), [f"CREATE ROLE {QUOTED} WITH", f"COMMENT ON ROLE {QUOTED} IS"]),
    (AlterRole(WHY, EVIL, ("LOGIN",)), [f"ALTER ROLE {QUOTED} LOGIN"]),
    (CommentOnRole(WHY, EVIL, ""), [f"COMMENT ON ROLE {QUOTED} IS"]),
    (DropRole(WHY, EVIL), [f"DROP ROLE {QUOTED}"]),
    (RenameRole(WHY, EVIL, EVIL), [f"ALTER ROLE {QUOTED} RENAME TO {QUOTED}"]),
    (RenameDatabase(WHY, EVIL, EVIL), [f"ALTER DATABASE {QUOTED} RENAME TO {QUOTED}"]),
    (Grant(WHY, replace(APP, group=EVIL, member=EVIL)), [f"GRANT {QUOTED} TO {QUOTED} WITH"]),
    (Revoke(WHY, replace(APP, group=EVIL, member=EVIL)), [f"REVOKE {QUOTED} FROM {QUOTED}"]),
    (CreateDatabase(WHY, EVIL, "UTF8", None, None), [f"CREATE DATABASE {QUOTED} TEMPLATE"]),
    (
        CreateDatabase(WHY, "d", "U'", "C'", EVIL),
        ["CREATE DATABASE \"d\" TEMPLATE template0 ENCODING 'U''' LOCALE_PRO"],
    ),
    (GrantOnDatabase(WHY, EVIL, Privilege(EVIL, "CREATE")), [f"GRANT CREATE ON DATABASE {QUOTED} TO {QUOTED}"]),
    (GrantOnSchema(WHY, EVIL, Privilege(EVIL, "CREATE")), [f"GRANT CREATE ON SCHEMA {QUOTED} TO {QUOTED}"]),
    (
        GrantByDefault(WHY, EVIL, "TABLES", Privilege(EVIL, "SELECT")),
        [f"ALTER DEFAULT PRIVILEGES FOR ROLE {QUOTED} GRANT SELECT ON TABLES TO {QUOTED}"],
    ),
    (ChangeSetting(WHY, EVIL, EVIL, EVIL, None), [f"ALTER ROLE {QUOTED} IN DATABASE {QUOTED} RESET {QUOTED}"]),
    (ChangeSetting(WHY, "d", None, "work_mem", "1'; x"), ["ALTER DATABASE \"d\" SET \"work_mem\" TO '1''; x'"]),
    (
        ChangeSetting(WHY, "d", None, "search_path", "a', b"),
        ["ALTER DATABASE \"d\" SET \"search_path\" TO 'a''', 'b'"],
    ),
    (
        RevokeOnObjects(WHY, (ObjectName("ROUTINE", EVIL, EVIL, ((EVIL, EVIL),)),), EVIL, ("EXECUTE",)),
        [f"REVOKE EXECUTE ON ROUTINE {QUOTED}.{QUOTED}({QUOTED}.{QUOTED}) FROM {QUOTED} CASCADE"],
    ),
    (
        GrantOnObjects(WHY, (ObjectName("TABLE", EVIL, EVIL),), EVIL, ("SELECT",)),
        [f"GRANT SELECT ON TABLE {QUOTED}.{QUOTED} TO {QUOTED}"],
    ),
    (ResetRoleSetting(WHY, EVIL, EVIL), [f"ALTER ROLE {QUOTED} RESET {QUOTED}"]),
    (OpenDatabase(WHY, EVIL, EVIL, ""), [f"COMMENT ON ROLE {QUOTED} IS", f"ALTER DATABASE {QUOTED} WITH"]),
    (CreateSchema(WHY, EVIL, EVIL), [f"CREATE SCHEMA {QUOTED} AUTHORIZATION {QUOTED}"]),
    (ChangeSchemaOwner(WHY, EVIL, EVIL), [f"ALTER SCHEMA {QUOTED} OWNER TO {QUOTED}"]),
    (CreateExtension(WHY, EVIL, EVIL, "1'"), [f"CREATE EXTENSION {QUOTED} SCHEMA {QUOTED} VERSION '1'''"]),
    (UpdateExtension(WHY, EVIL, "1'"), [f"ALTER EXTENSION {QUOTED} UPDATE TO '1'''"]),
    (CloseDatabase(WHY, EVIL, EVIL, ""), [f"COMMENT ON ROLE {QUOTED} IS", f"ALTER DATABASE {QUOTED} WITH"]),
    (DropDatabase(WHY, EVIL), [f"DROP DATABASE {QUOTED} WITH"]),
    (DropOwned(WHY, EVIL, EVIL), [f"DROP OWNED BY {QUOTED}"]),
]


@pytest.mark.parametrize(("step", "starts"), [pytest.param(*row, id=f"{type(row[0]).__name__}") for row in HOSTILE])
def test_names_and_values_are_quoted(step, starts):
    found = text(step)
    assert len(found) == len(starts)
    assert all(part.startswith(start) for part, start in zip(found, starts, strict=True))


def test_a_role_called_public_in_another_case_is_no_public():
    assert text(GrantOnDatabase(WHY, "d", Privilege("public", "CONNECT"))) == [
        'GRANT CONNECT ON DATABASE "d" TO "public"'
    ]


ALLOWED_OPTIONS = (
    "LOGIN NOLOGIN INHERIT NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS BYPASSRLS".split()
)


@pytest.mark.parametrize("option", ALLOWED_OPTIONS)
def test_options_that_a_role_may_be_given(option):
    assert text(AlterRole(WHY, "r", (option,))) == [f'ALTER ROLE "r" {option}']


REFUSED_OPTIONS = [
    "SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "login", "PASSWORD 'x'", "IN ROLE x", "",
    "CONNECTION LIMIT", "CONNECTION LIMIT x", "CONNECTION LIMIT 1;", "LOGIN SUPERUSER", "NOLOGIN;",
]  # fmt: skip


@pytest.mark.parametrize("option", REFUSED_OPTIONS)
def test_other_options_are_refused(option):
    with pytest.raises(ValueError):
        statements(AlterRole(WHY, "r", (option,)), server_version=16_00_04)


@given(st.text())
def test_no_other_option_passes(option):
    try:
        found = text(AlterRole(WHY, "r", (option,)))
    except ValueError:
        return
    assert re.fullmatch(
        r"""ALTER ROLE "r" (NO\w+|LOGIN|INHERIT|CONNECTION LIMIT -?[0-9]+|VALID UNTIL 'infinity')""", found[0]
    )


@pytest.mark.parametrize("privilege", ["ALL", "ALL PRIVILEGES", "connect", "SET", "CONNECT, CREATE", "x", ""])
def test_other_privileges_are_refused(privilege):
    for step in (
        GrantOnDatabase(WHY, "d", Privilege("r", privilege)),
        RevokeOnSchema(WHY, "s", Privilege("r", privilege)),
        GrantByDefault(WHY, "o", "TABLES", Privilege("r", privilege)),
        GrantOnObjects(WHY, TABLES, "r", (privilege,)),
        RevokeOnObjects(WHY, TABLES, "r", (privilege,)),
    ):
        with pytest.raises(LookupError):
            statements(step, server_version=16_00_04)


@pytest.mark.parametrize("name", ["", "= OWNER TO evil; --", '"x"', "==\n", "abc"])
def test_an_operator_is_called_by_its_own_signs_alone(name):
    with pytest.raises(ValueError):
        statements(
            ChangeObjectOwner(WHY, (ObjectName("OPERATOR", "s", name),), "o", "p", False), server_version=16_00_04
        )


@pytest.mark.parametrize("kind", ["TABLES TO evil; --", "tables", "FUNCTIONS", ""])
def test_other_kinds_of_objects_are_refused(kind):
    with pytest.raises(LookupError):
        statements(GrantByDefault(WHY, "o", kind, Privilege("r", "SELECT")), server_version=16_00_04)
