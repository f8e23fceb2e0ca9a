"""What docs/security.md says: what a tenant can see and do, what it can not, what the admin's password is good for."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from tests.postgres.conftest import as_admin
from tests.postgres.provision import Operator, Site, full_spec, unused_name

ALL = ("app", "migrator", "readOnly", "keeper")


@pytest.fixture(scope="module")
def neighbours(module_site: Site) -> Iterator[tuple[str, str]]:
    """Two databases of two teams on one server."""
    names = unused_name("orders"), unused_name("neighbour")
    for name in names:
        module_site.provision(name, full_spec(name))
    yield names
    for name in names:
        module_site.drop(name)


def one(connection: psycopg.Connection[tuple[object, ...]], query: str, *parameters: object) -> object:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


# What a login can see and do


@pytest.mark.parametrize("role", ALL)
def test_every_login_sees_the_names_settings_and_markers_of_all(
    module_site: Site, neighbours: tuple[str, str], role: str
) -> None:
    orders, neighbour = neighbours
    with module_site.login(orders, role) as connection:
        assert one(connection, "SELECT count(*) FROM pg_database WHERE datname = %s", neighbour) == 1
        assert one(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", f"{neighbour}__app_a") == 1
        marker = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
        assert "namespace" in str(one(connection, marker, f"{neighbour}__owner"))
        settings = (
            "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s"
        )
        assert int(str(one(connection, settings, neighbour))) > 0


@pytest.mark.parametrize("role", ALL)
def test_what_every_login_sees_holds_no_secret(module_site: Site, neighbours: tuple[str, str], role: str) -> None:
    everything = (
        "SELECT (SELECT string_agg(coalesce(description, ''), ' ') FROM pg_shdescription)"
        " || (SELECT string_agg(setconfig::text, ' ') FROM pg_db_role_setting)"
    )
    with module_site.login(neighbours[0], role) as connection:
        seen = str(one(connection, everything))
    passwords = module_site.passwords()
    assert len(passwords) >= 2 * len(ALL)
    assert [password for password in passwords if password in seen] == []


@pytest.mark.parametrize("role", ALL)
def test_every_login_may_change_its_own_password_and_settings(
    module_site: Site, neighbours: tuple[str, str], role: str
) -> None:
    with module_site.login(neighbours[0], role) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE NONE")
        connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'of my own'")
        connection.execute("ALTER ROLE CURRENT_USER SET work_mem = '1MB'")


@pytest.mark.parametrize("role", ALL)
def test_a_password_for_the_role_that_a_login_works_as_opens_nothing(
    module_site: Site, neighbours: tuple[str, str], role: str
) -> None:
    with module_site.login(neighbours[0], role) as connection:
        works_as = str(one(connection, "SELECT current_user"))
        connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'of my own'")
    with pytest.raises(psycopg.OperationalError, match="is not permitted to log in"):
        module_site.server.connect(works_as, "of my own", neighbours[0])


@pytest.mark.parametrize("role", ALL)
def test_every_login_may_hold_locks_notify_and_make_large_objects_in_its_database(
    module_site: Site, neighbours: tuple[str, str], role: str
) -> None:
    with module_site.login(neighbours[0], role) as connection, connection.transaction(force_rollback=True):
        for statement in ("SELECT pg_advisory_lock(1)", "NOTIFY somebody, 'x'", "SELECT lo_create(0)"):
            connection.execute(statement.encode())


@pytest.mark.parametrize("database", ["postgres", "template1"])
@pytest.mark.parametrize("role", ALL)
def test_a_login_connects_to_the_maintenance_databases_until_an_admin_revokes_it_and_makes_no_table_there(
    module_site: Site, neighbours: tuple[str, str], role: str, database: str
) -> None:
    with module_site.login(neighbours[0], role, database) as connection:
        for statement in ("CREATE TABLE mine (id int)", "CREATE SCHEMA mine", "CREATE EXTENSION pg_trgm"):
            with pytest.raises((InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                connection.execute(statement.encode())


def test_a_migrator_takes_default_privileges_away_and_they_come_back(
    module_site: Site, neighbours: tuple[str, str]
) -> None:
    orders = neighbours[0]
    with module_site.login(orders, "migrator") as connection:
        connection.execute(
            sql.SQL("ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM {}").format(sql.Identifier(f"{orders}__ro"))
        )
    module_site.provision(orders, full_spec(orders))
    with module_site.login(orders, "migrator") as connection:
        connection.execute("CREATE TABLE made_later (id int)")
    with module_site.login(orders, "readOnly") as connection:
        assert connection.execute("SELECT * FROM made_later").fetchall() == []


# What it can not


@pytest.mark.parametrize("role", ALL)
def test_no_login_makes_an_extension_that_is_not_trusted(
    module_site: Site, neighbours: tuple[str, str], role: str
) -> None:
    with module_site.login(neighbours[0], role) as connection:
        untrusted = connection.execute(
            "SELECT DISTINCT name FROM pg_available_extension_versions WHERE superuser AND NOT trusted"
        ).fetchall()
        assert untrusted
        for (name,) in untrusted:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(sql.SQL("CREATE EXTENSION {} CASCADE").format(sql.Identifier(name)))


@pytest.mark.parametrize("role", ALL)
def test_no_login_sees_what_a_neighbour_or_the_admin_runs(
    module_site: Site, neighbours: tuple[str, str], role: str
) -> None:
    orders, neighbour = neighbours
    query = "SELECT query FROM pg_stat_activity WHERE pid = %s"
    admin = module_site.admin
    with (
        module_site.login(neighbour, "app") as other,
        module_site.server.connect(admin.name, admin.password) as operator,
        module_site.login(orders, role) as connection,
    ):
        for session in (other, operator):
            session.execute("SELECT 'of nobody else'")
            assert one(connection, query, session.info.backend_pid) == "<insufficient privilege>"


@pytest.mark.parametrize("role", ALL)
@pytest.mark.parametrize("database", ["", "servicedb", "template0"])
def test_no_login_connects_anywhere_else(
    module_site: Site, neighbours: tuple[str, str], role: str, database: str
) -> None:
    orders, neighbour = neighbours
    with pytest.raises(psycopg.OperationalError, match=r"permission denied|not currently accepting"):
        module_site.login(orders, role, database or neighbour)


def test_a_function_of_the_owners_gives_nothing_but_what_the_owner_has(
    module_site: Site, neighbours: tuple[str, str]
) -> None:
    """SECURITY DEFINER, a trigger, a view: each runs as the owner role, which reaches no further than its database."""
    orders, neighbour = neighbours
    forge = f"COMMENT ON ROLE {neighbour}__owner IS ''forged''"
    with module_site.login(orders, "migrator") as connection:
        connection.execute(
            "CREATE FUNCTION climb() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
            f" 'BEGIN EXECUTE ''{forge.replace(chr(39) * 2, chr(39) * 4)}''; END'".encode()
        )
    with module_site.login(orders, "app") as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT climb()")


# What the admin's credentials mean


@as_admin("createrole")
def test_the_admin_may_do_everything_to_the_databases_that_it_made(
    module_site: Site, neighbours: tuple[str, str]
) -> None:
    admin, owner = module_site.admin, sql.Identifier(f"{neighbours[0]}__owner")
    session = module_site.server.connect(admin.name, admin.password, neighbours[0])
    with session as connection, connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(owner))
        connection.execute("CREATE TABLE public.mine (id int)")


@as_admin("createrole")
def test_up_to_15_the_admin_may_make_itself_more_than_that(module_site: Site) -> None:
    """Source: PostgreSQL 16's release notes: CREATEROLE could hand out any role but a superuser's before."""
    admin = module_site.admin
    grant = sql.SQL("GRANT pg_execute_server_program TO {}").format(sql.Identifier(admin.name))
    with module_site.server.connect(admin.name, admin.password) as connection:
        if module_site.server.version < 16:
            with connection.transaction(force_rollback=True):
                connection.execute(grant)
        else:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(grant)


@as_admin("createrole")
async def test_at_rest_the_admin_is_no_member_of_a_tenants_role(module_site: Site, neighbours: tuple[str, str]) -> None:
    async with Operator(module_site.objects) as operator:
        assert (await operator.bring(neighbours[0])).reason == "Ready"
    query = "SELECT pg_has_role(%s, oid, 'USAGE') FROM pg_roles WHERE starts_with(rolname, %s)"
    with module_site.as_superuser() as connection:
        rows = connection.execute(query, (module_site.admin.name, f"{neighbours[0]}__")).fetchall()
    assert len(rows) > len(ALL)
    assert set(rows) == {(False,)}
