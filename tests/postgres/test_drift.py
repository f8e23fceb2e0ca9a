"""Changes by hand are seen by the next look at the server, or inside the database, and taken back at once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.postgres.conftest import as_admin, on_versions, superusers_on_the_newest_alone
from tests.postgres.provision import Operator, Site, full_spec, unused_name
from tests.postgres.server import Server
from tests.postgres.snapshot import Snapshot, snapshot

SPEC = {"schemas": [{"name": "app"}], "connectionLimit": 40, "parameters": {"work_mem": "8MB"}}


@dataclass(frozen=True, slots=True)
class Drift:
    """Statements by which somebody changes the database `orders`, and the kinds of step that take it back.

    `by` runs them: the server's superuser, the operator's admin, or a login of spec.roles. `stranger` is a role of
    nobody's.
    """

    name: str
    statements: str
    repaired_by: set[str]
    by: str = "superuser"
    inside: bool = False


MEMBERSHIPS = (
    Drift("membership revoked", "REVOKE orders__rw FROM orders__app_a", {"Grant"}, by="admin"),
    Drift("membership granted", "GRANT orders__owner TO stranger", {"Revoke"}, by="admin"),
    Drift("app made an owner", "GRANT orders__owner TO orders__app_a", {"Revoke"}, by="admin"),
    Drift("group in a group", "GRANT orders__owner TO orders__ro", {"Revoke"}, by="admin"),
    Drift(
        "membership that may be passed on",
        "GRANT orders__rw TO orders__app_a WITH ADMIN OPTION",
        {"Revoke", "Grant"},
        by="admin",
    ),
)
SINCE_16 = (
    Drift("inheriting", "GRANT orders__owner TO orders__migrator_a WITH INHERIT TRUE", {"Grant"}, by="admin"),
    Drift("not inheriting", "GRANT orders__rw TO orders__app_a WITH INHERIT FALSE", {"Grant"}, by="admin"),
    Drift("no SET ROLE", "GRANT orders__rw TO orders__app_a WITH SET FALSE", {"Grant"}, by="admin"),
    Drift("migrator that inherits", "ALTER ROLE orders__migrator_a INHERIT", {"AlterRole"}),
    Drift("app that does not inherit", "ALTER ROLE orders__app_a NOINHERIT", {"AlterRole"}),
)
UP_TO_15 = (
    Drift("migrator that inherits", "ALTER ROLE orders__migrator_a INHERIT", {"AlterRole", "Grant"}),
    Drift("app that does not inherit", "ALTER ROLE orders__app_a NOINHERIT", {"AlterRole", "Grant"}),
)
ATTRIBUTES = (
    Drift("login closed", "ALTER ROLE orders__app_a NOLOGIN", {"AlterRole"}),
    Drift("group that logs in", "ALTER ROLE orders__rw LOGIN", {"AlterRole"}),
    Drift("owner that logs in", "ALTER ROLE orders__owner LOGIN", {"AlterRole"}),
    Drift("login that makes databases", "ALTER ROLE orders__app_a CREATEDB", {"AlterRole"}),
    Drift("login that makes roles", "ALTER ROLE orders__migrator_a CREATEROLE", {"AlterRole"}),
    Drift("connection limit", "ALTER ROLE orders__app_a CONNECTION LIMIT 7", {"AlterRole"}),
    Drift("connection limit of the other half", "ALTER ROLE orders__app_b CONNECTION LIMIT 0", {"AlterRole"}),
    Drift("comment of a login", "COMMENT ON ROLE orders__app_a IS 'somebody was here'", {"CommentOnRole"}),
    Drift("comment of a group removed", "COMMENT ON ROLE orders__ro IS NULL", {"CommentOnRole"}),
)
ROLES = (
    Drift("login that expires", "ALTER ROLE orders__app_b VALID UNTIL '2020-01-01'", {"AlterRole"}),
    Drift("login that will expire", "ALTER ROLE orders__app_a VALID UNTIL '2120-01-01'", {"AlterRole"}),
    Drift(
        "search_path everywhere",
        "SET ROLE NONE; ALTER ROLE orders__app_a SET search_path = evil",
        {"ResetRoleSetting"},
        by="app",
    ),
    Drift("role everywhere", "ALTER ROLE orders__rw SET role = none", {"ResetRoleSetting"}),
    Drift("parameter everywhere", "ALTER ROLE orders__app_a SET work_mem = '1GB'", {"ResetRoleSetting"}),
    Drift("login dropped", "DROP ROLE orders__app_b", {"CreateRole", "Grant", "ChangeSetting"}),
)
FOR_SUPERUSERS = (
    Drift("login that is a superuser", "ALTER ROLE orders__app_a SUPERUSER", {"AlterRole"}),
    Drift("login that replicates", "ALTER ROLE orders__app_a REPLICATION", {"AlterRole"}),
    Drift("login that reads behind row security", "ALTER ROLE orders__app_a BYPASSRLS", {"AlterRole"}),
)
"""What a superuser alone can do, and undo."""

SETTINGS = (
    Drift("search_path", "ALTER DATABASE orders SET search_path = evil, pg_catalog", {"ChangeSetting"}),
    Drift("search_path removed", "ALTER DATABASE orders RESET search_path", {"ChangeSetting"}),
    Drift(
        "search_path with odd names", """ALTER DATABASE orders SET search_path = "$user", "a, b" """, {"ChangeSetting"}
    ),
    Drift("parameter of the spec", "ALTER DATABASE orders SET work_mem = '1GB'", {"ChangeSetting"}),
    Drift("parameter not in the spec", "ALTER DATABASE orders SET idle_session_timeout = 600000", {"ChangeSetting"}),
    Drift(
        "role of a login",
        "SET ROLE NONE; ALTER ROLE orders__migrator_a IN DATABASE orders RESET role",
        {"ChangeSetting"},
        by="migrator",
    ),
    Drift("other role of a login", "ALTER ROLE orders__app_a IN DATABASE orders SET role = none", {"ChangeSetting"}),
    Drift("parameter of a login", "ALTER ROLE orders__app_a IN DATABASE orders SET jit = off", {"ChangeSetting"}),
    Drift(
        "search_path of a login",
        "SET ROLE NONE; ALTER ROLE orders__app_a IN DATABASE orders SET search_path = evil",
        {"ChangeSetting"},
        by="app",
    ),
    Drift("all settings", "ALTER DATABASE orders RESET ALL", {"ChangeSetting"}),
)
DATABASE = (
    Drift("open to everybody", "GRANT CONNECT ON DATABASE orders TO PUBLIC", {"RevokeOnDatabase"}),
    Drift("all for a stranger", "GRANT ALL ON DATABASE orders TO stranger", {"RevokeOnDatabase"}),
    Drift("group that can't connect", "REVOKE CONNECT ON DATABASE orders FROM orders__rw", {"GrantOnDatabase"}),
    Drift(
        "migrator that can't connect", "REVOKE CONNECT ON DATABASE orders FROM orders__migrator_a", {"GrantOnDatabase"}
    ),
    Drift(
        "privilege that may be passed on",
        "GRANT CONNECT ON DATABASE orders TO orders__rw WITH GRANT OPTION",
        {"RevokeOnDatabase", "GrantOnDatabase"},
    ),
    Drift(
        "privilege that was passed on",
        "GRANT CONNECT ON DATABASE orders TO orders__owner WITH GRANT OPTION;"
        "SET ROLE orders__owner; GRANT CONNECT ON DATABASE orders TO PUBLIC, stranger",
        {"RevokeOnDatabase", "GrantOnDatabase"},
    ),
    Drift(
        "database of the owner role's",
        "ALTER DATABASE orders OWNER TO orders__owner",
        {"ChangeDatabaseOwner", "GrantOnDatabase"},
    ),
    Drift("closed", "ALTER DATABASE orders WITH ALLOW_CONNECTIONS false", {"OpenDatabase"}),
)
SCHEMAS = (
    Drift("schema of the admin's", "ALTER SCHEMA app OWNER TO admin", {"ChangeSchemaOwner"}),
    Drift("public as PostgreSQL makes it", "ALTER SCHEMA public OWNER TO pg_database_owner", {"ChangeSchemaOwner"}),
    Drift("everybody in a schema", "GRANT ALL ON SCHEMA public TO PUBLIC", {"RevokeOnSchema"}, by="migrator"),
    Drift("app that makes tables", "GRANT CREATE ON SCHEMA app TO orders__rw", {"RevokeOnSchema"}, by="migrator"),
    Drift("stranger in a schema", "GRANT USAGE ON SCHEMA app TO stranger", {"RevokeOnSchema"}, by="migrator"),
    Drift("readers kept out", "REVOKE USAGE ON SCHEMA app FROM orders__ro", {"GrantOnSchema"}, by="migrator"),
    Drift(
        "schema that may be passed on",
        "GRANT USAGE ON SCHEMA app TO orders__rw WITH GRANT OPTION",
        {"RevokeOnSchema", "GrantOnSchema"},
        by="migrator",
    ),
    Drift(
        "schema that was passed on",
        "GRANT USAGE ON SCHEMA app TO orders__rw WITH GRANT OPTION;"
        "SET ROLE orders__rw; GRANT USAGE ON SCHEMA app TO PUBLIC, stranger",
        {"RevokeOnSchema", "GrantOnSchema"},
    ),
    Drift("schema dropped", "DROP SCHEMA app", {"CreateSchema"}, by="migrator"),
    Drift(
        "everybody in the admin's schema",
        "GRANT ALL ON SCHEMA extensions TO PUBLIC, orders__owner",
        {"RevokeOnSchema"},
    ),
    Drift("extensions kept back", "REVOKE USAGE ON SCHEMA extensions FROM orders__rw", {"GrantOnSchema"}),
)
_OWNER_S = "ALTER DEFAULT PRIVILEGES FOR ROLE orders__owner"
DEFAULTS = (
    Drift("tables that readers can't read", f"{_OWNER_S} REVOKE SELECT ON TABLES FROM orders__ro", {"GrantByDefault"}),
    Drift("tables that readers write", f"{_OWNER_S} GRANT INSERT ON TABLES TO orders__ro", {"RevokeByDefault"}),
    Drift("tables for everybody", f"{_OWNER_S} GRANT SELECT ON TABLES TO PUBLIC", {"RevokeByDefault"}),
    Drift("functions for everybody", f"{_OWNER_S} GRANT EXECUTE ON ROUTINES TO PUBLIC", {"RevokeByDefault"}),
    Drift("types for nobody", f"{_OWNER_S} REVOKE USAGE ON TYPES FROM PUBLIC", {"GrantByDefault"}),
    Drift(
        "privilege that will be passed on",
        f"{_OWNER_S} GRANT SELECT ON TABLES TO orders__ro WITH GRANT OPTION",
        {"RevokeByDefault", "GrantByDefault"},
    ),
    Drift(
        "no defaults at all",
        f"{_OWNER_S} REVOKE ALL ON TABLES FROM orders__rw, orders__ro;"
        f"{_OWNER_S} REVOKE ALL ON SEQUENCES FROM orders__rw, orders__ro;"
        f"{_OWNER_S} REVOKE ALL ON SCHEMAS FROM orders__rw, orders__ro;"
        f"{_OWNER_S} REVOKE ALL ON ROUTINES FROM orders__rw",
        {"GrantByDefault"},
    ),
)
MIGRATION = """
    SET search_path = public;
    CREATE TABLE goods (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, price int);
    CREATE SEQUENCE numbers;
    CREATE VIEW names AS SELECT name FROM goods;
    CREATE FUNCTION double(one int, VARIADIC more text[]) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
    CREATE PROCEDURE "Note It"(INOUT text) LANGUAGE sql AS 'SELECT $1';
    CREATE AGGREGATE total(numeric) (SFUNC = numeric_add, STYPE = numeric);
    CREATE TYPE state AS ENUM ('new');
    CREATE DOMAIN amount AS int;
    CREATE SCHEMA reports;
    CREATE TABLE reports."Monthly; Sums" (id int);
"""
"""What stands in the database that somebody changes."""

OBJECTS = (
    Drift("table of the admin's", "ALTER TABLE goods OWNER TO admin", {"ChangeObjectOwner"}),
    Drift("view of the admin's", "ALTER VIEW names OWNER TO admin", {"ChangeObjectOwner"}),
    Drift("sequence of the admin's", "ALTER SEQUENCE numbers OWNER TO admin", {"ChangeObjectOwner"}),
    Drift(
        "routines of the admin's",
        'ALTER ROUTINE double OWNER TO admin; ALTER PROCEDURE "Note It" OWNER TO admin; '
        "ALTER AGGREGATE total(numeric) OWNER TO admin",
        {"ChangeObjectOwner"},
    ),
    Drift(
        "types of the admin's",
        "ALTER TYPE state OWNER TO admin; ALTER DOMAIN amount OWNER TO admin",
        {"ChangeObjectOwner"},
    ),
    Drift("table for everybody", "GRANT SELECT ON goods TO PUBLIC", {"RevokeOnObjects"}, by="migrator"),
    Drift("column for everybody", "GRANT UPDATE (name, price) ON goods TO PUBLIC", {"RevokeOnObjects"}, by="migrator"),
    Drift("sequence for a stranger", "GRANT ALL ON SEQUENCE numbers TO stranger", {"RevokeOnObjects"}, by="migrator"),
    Drift(
        "routines for everybody",
        'GRANT EXECUTE ON ROUTINE double TO PUBLIC; GRANT EXECUTE ON ROUTINE "Note It"(text), total(numeric) TO PUBLIC',
        {"RevokeOnObjects"},
        by="migrator",
    ),
    Drift(
        "table in a schema of a migration's",
        'GRANT ALL ON reports."Monthly; Sums" TO PUBLIC, stranger',
        {"RevokeOnObjects"},
        by="migrator",
    ),
    Drift("schema of a migration's", "GRANT ALL ON SCHEMA reports TO PUBLIC", {"RevokeOnSchema"}, by="migrator"),
    Drift(
        "table that was passed on",
        "GRANT SELECT ON goods TO orders__ro WITH GRANT OPTION; SET ROLE orders__ro; "
        "GRANT SELECT ON goods TO PUBLIC, stranger",
        {"RevokeOnObjects"},
    ),
    Drift(
        "column that may be passed on",
        "GRANT SELECT (name) ON goods TO orders__ro WITH GRANT OPTION; SET ROLE orders__ro; "
        "GRANT SELECT (name) ON goods TO stranger; RESET ROLE; "
        "REVOKE GRANT OPTION FOR SELECT (name) ON goods FROM orders__ro CASCADE; "
        "REVOKE SELECT (name) ON goods FROM orders__ro; GRANT INSERT (name) ON goods TO stranger",
        {"RevokeOnObjects"},
    ),
    Drift(
        "privileges as if nobody had granted any",
        "UPDATE pg_class SET relacl = NULL WHERE relname IN ('goods', 'numbers', 'Monthly; Sums');"
        "UPDATE pg_proc SET proacl = NULL WHERE proname = 'double'",
        {"GrantOnObjects", "RevokeOnObjects"},
    ),
)
INSIDE = tuple(
    replace(drift, inside=True, by="migrator" if drift in DEFAULTS else drift.by)
    for drift in (*SCHEMAS, *DEFAULTS, *OBJECTS)
)


@pytest.fixture(scope="module")
def stranger(server: Server) -> Iterator[str]:
    """A role that belongs to nobody."""
    name = unused_name("stranger")
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class Place:
    """A database that was just made, and what it looked like then."""

    site: Site
    name: str
    stranger: str
    undisturbed: Snapshot

    def change(self, drift: Drift) -> None:
        """Let somebody change it, and wait until the server's counters tell of it."""
        text = drift.statements.replace("orders", self.name).replace("stranger", self.stranger)
        text = text.replace("OWNER TO admin", f"OWNER TO {self.site.admin.name}")
        with self._session(drift) as connection:
            pid = connection.info.backend_pid
            connection.execute(text.encode())
        with self.site.as_superuser() as connection:
            while connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                pass  # a session's counters are complete when it has ended

    def _session(self, drift: Drift) -> psycopg.Connection[Any]:
        match drift.by:
            case "superuser":
                return self.site.as_superuser(self.name if drift.inside else "postgres")
            case "admin":
                return self.site.server.connect(self.site.admin.name)
            case role:
                return self.site.login(self.name, role)

    def logins_work(self) -> bool:
        """Whether each login comes in and works as it should."""
        works_as = {"app": "rw", "migrator": "owner", "readOnly": "ro", "keeper": "owner"}
        for role, group in works_as.items():
            try:
                with self.site.login(self.name, role) as connection:
                    row = connection.execute("SELECT current_user").fetchone()
            except psycopg.OperationalError:
                return False
            if row != (f"{self.name}__{group}",):
                return False
        return True

    def snapshot(self) -> Snapshot:
        """Empty where not even a superuser gets in."""
        closed = "SELECT FROM pg_database WHERE datname = %s AND NOT datallowconn"
        with self.site.as_superuser() as connection:
            if connection.execute(closed, (self.name,)).fetchone() is not None:
                return {}
        with self.site.as_superuser(self.name) as connection:
            return snapshot(connection, admin=self.site.admin.name)


@pytest.fixture(scope="module")
def made() -> Iterator[dict[Site, Place]]:
    """The databases that tests change in turn; each is left as it was, or not used again."""
    places: dict[Site, Place] = {}
    yield places
    for place in places.values():
        place.site.drop(place.name)


@pytest.fixture
def place(module_site: Site, stranger: str, made: dict[Site, Place]) -> Iterator[Place]:
    """A database in order, and what it looks like."""
    if module_site not in made:
        name = unused_name("drift")
        module_site.provision(name, full_spec(name, **SPEC))
        with module_site.login(name, "migrator") as connection:
            connection.execute(MIGRATION.encode())
        place = Place(module_site, name, stranger, {})
        made[module_site] = replace(place, undisturbed=place.snapshot())
    place = made[module_site]
    yield place
    if place.snapshot() != place.undisturbed:
        made.pop(module_site)
        module_site.drop(place.name)


def named(drift: Drift) -> str:
    return drift.name.replace(" ", "-")


@superusers_on_the_newest_alone()
@pytest.mark.parametrize("drift", [*MEMBERSHIPS, *ATTRIBUTES, *ROLES, *SETTINGS, *DATABASE, *INSIDE], ids=named)
async def test_a_change_by_hand_is_listed_or_taken_back_as_the_spec_says(place: Place, drift: Drift) -> None:
    await check_repair(place, drift)


@on_versions(16, 18)
@pytest.mark.parametrize("drift", SINCE_16, ids=named)
async def test_options_of_a_membership_are_taken_back(place: Place, drift: Drift) -> None:
    await check_repair(place, drift)


@on_versions(15)
@pytest.mark.parametrize("drift", UP_TO_15, ids=named)
async def test_inheritance_by_attribute_is_taken_back(place: Place, drift: Drift) -> None:
    await check_repair(place, drift)


@as_admin("superuser")
@pytest.mark.parametrize("drift", FOR_SUPERUSERS, ids=named)
async def test_an_admin_that_is_a_superuser_takes_back_what_only_such_can(place: Place, drift: Drift) -> None:
    await check_repair(place, drift)


async def check_repair(place: Place, drift: Drift) -> None:
    """Under Report it is listed and stays; under Repair one round takes it back, and the next has nothing to do.

    What is listed does not depend on the kind of admin.
    """
    reports = place.site.admin != place.site.server.superuser
    site, name = place.site, place.name
    async with Operator(site.objects) as operator:
        if reports:
            site.want(name, full_spec(name, **SPEC, driftPolicy="Report"))
        before = await operator.bring(name)
        assert (before.changes, before.drift, before.in_sync) == ((), [], True)
        place.change(drift)
        if reports:
            await check_report(place, operator)
            site.want(name, full_spec(name, **SPEC))
        repair = await operator.bring(name)
        assert (repair.reason, repair.drift, repair.in_sync) == ("Ready", [], True), repair.message
        assert repair.kinds() == drift.repaired_by
        assert place.snapshot() == place.undisturbed
        assert (await operator.bring(name)).steps == ()


async def check_report(place: Place, operator: Operator) -> None:
    changed = place.snapshot()
    listed = await operator.bring(place.name)
    assert listed.changes == ()
    assert place.snapshot() == changed
    assert listed.drift, listed.conditions
    assert (listed.conditions["InSync"].status, listed.conditions["InSync"].reason) == ("False", "Drifted")
    assert (listed.ready.status == "True") == place.logins_work(), listed.ready


def undo_by_attribute(drift: Drift) -> Drift:
    return replace(drift, statements=" NO".join(drift.statements.rsplit(" ", 1)))


@as_admin("createrole")
@pytest.mark.parametrize("drift", FOR_SUPERUSERS, ids=named)
async def test_what_only_a_superuser_can_take_back_is_listed_and_stops_nothing_else(place: Place, drift: Drift) -> None:
    await check_listed(place, drift, undo_by_attribute(drift), says=f"role: {place.name}__app_a is not NO")


async def check_listed(place: Place, drift: Drift, undo: Drift, *, says: str) -> None:
    """The admin can't take it back: that is said, logins work, and other changes by hand are taken back."""
    async with Operator(place.site.objects) as operator:
        await operator.bring(place.name)
        place.change(drift)
        place.change(Drift("another", "ALTER ROLE orders__app_b CONNECTION LIMIT 3", set()))
        for changes in ({"AlterRole"}, set()):
            listed = await operator.bring(place.name)
            assert (listed.reason, listed.stalled) == ("Ready", False), listed.message
            assert (listed.in_sync, listed.conditions["InSync"].reason) == (False, "Drifted")
            assert any(line.startswith(says) for line in listed.drift), listed.drift
            assert not any("app_b" in line for line in listed.drift)
            assert changes <= listed.kinds()
        place.change(undo)
        healed = await operator.bring(place.name)
        assert (healed.reason, healed.drift, healed.in_sync) == ("Ready", [], True)
    assert place.snapshot() == place.undisturbed


BY_A_SUPERUSER = (
    Drift("membership", "GRANT orders__owner TO stranger", set()),
    Drift("option of a membership", "GRANT orders__owner TO orders__migrator_a WITH INHERIT TRUE", set()),
    Drift("membership that may be passed on", "GRANT orders__rw TO orders__app_a WITH ADMIN OPTION", set()),
    Drift(
        "membership that was passed on",
        "GRANT orders__rw TO orders__app_a WITH ADMIN OPTION; SET ROLE orders__app_a; GRANT orders__rw TO stranger",
        set(),
    ),
)


@on_versions(16, 18)
@as_admin("createrole")
@pytest.mark.parametrize("drift", BY_A_SUPERUSER, ids=named)
async def test_a_membership_that_the_admin_can_not_take_back_is_never_said_to_be_repaired(
    place: Place, drift: Drift
) -> None:
    """From 16 on a membership belongs to its grantor, and a REVOKE by anybody else does nothing but warn."""
    group, _, member = drift.statements.partition(";")[0].split(" ")[1:4]
    undo = replace(drift, statements=f"REVOKE {group} FROM {member} CASCADE")
    await check_listed(place, drift, undo, says="membership: ")


OF_A_STRANGER = (
    Drift("table", "ALTER TABLE goods OWNER TO stranger", {"ChangeObjectOwner"}, inside=True),
    Drift("database", "ALTER DATABASE orders OWNER TO stranger", {"ChangeDatabaseOwner"}),
)


@pytest.mark.parametrize("drift", OF_A_STRANGER, ids=named)
async def test_what_belongs_to_a_stranger_is_handed_back_where_the_admin_can(
    place: Place, drift: Drift, admin: str, server: Server
) -> None:
    """From 16 on an admin that is no superuser needs the ADMIN option on the role that owns it."""
    if admin == "superuser" or server.version == 15:
        await check_repair(place, drift)
        return
    back = {"table": "ALTER TABLE goods OWNER TO orders__owner", "database": "ALTER DATABASE orders OWNER TO admin"}
    undo = replace(drift, statements=back[drift.name])
    await check_listed(place, drift, undo, says=f"{drift.name}")


async def test_what_somebody_has_elsewhere_stays_when_a_membership_here_is_taken_back(
    place: Place, stranger: str
) -> None:
    with place.site.as_superuser() as connection:
        connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(stranger)))
        place.change(MEMBERSHIPS[1])
        async with Operator(place.site.objects) as operator:
            assert (await operator.bring(place.name)).kinds() == {"Revoke"}
        kept = connection.execute("SELECT pg_has_role(%s, 'pg_monitor', 'MEMBER')", (stranger,)).fetchone()
        connection.execute(sql.SQL("REVOKE pg_monitor FROM {}").format(sql.Identifier(stranger)))
    assert kept == (True,)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DATABASE orders SET log_statement = 'ddl'",
        "ALTER ROLE orders__app_a IN DATABASE orders SET log_min_duration_statement = 100",
        "ALTER ROLE orders__app_a SET log_min_duration_statement = 100",
        "COMMENT ON DATABASE orders IS 'see the wiki'",
    ],
)
async def test_what_is_an_admins_own_stays(place: Place, statement: str) -> None:
    async with Operator(place.site.objects) as operator:
        await operator.bring(place.name)
        place.change(Drift("an admin's own", statement, set()))
        seen = await operator.bring(place.name)
        assert (seen.reason, seen.changes) == ("Ready", ())
    assert place.snapshot() != place.undisturbed


async def test_the_other_half_opened_by_hand_is_closed_when_the_overlap_has_passed(place: Place) -> None:
    """Nobody can tell it from a login that a rotation has just moved away from."""
    async with Operator(place.site.objects) as operator:
        place.change(Drift("other half", "ALTER ROLE orders__app_b LOGIN", set()))
        assert (await operator.bring(place.name)).kinds() == {"NoteOnLogin"}
        assert (await operator.bring(place.name)).changes == ()
        operator.let_pass(timedelta(hours=1))
        assert (await operator.bring(place.name)).kinds() == {"CloseLogin", "NoteOnLogin"}
    assert place.snapshot() == place.undisturbed
