"""Extensions: who may have which, where they stand, and that no script of theirs runs among a tenant's objects.

15 has Debian's contrib modules; 16 and 18 have no other extension than vector, which is not trusted.
"""

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.provision import Operator, Round, Site, full_spec

UNTRUSTED = {15: "dblink", 16: "vector", 18: "vector"}


async def asked(site: Site, database: str, *extensions: dict[str, str], **changes: Any) -> Round:
    """One round with these extensions in the spec."""
    site.want(database, full_spec(database, extensions=list(extensions), **changes))
    async with Operator(site.objects) as operator:
        return await operator.bring(database)


def installed(site: Site, database: str) -> dict[str, tuple[str, str]]:
    """Extension -> its version and schema."""
    with site.as_superuser(database) as connection:
        rows = connection.execute(
            "SELECT extname, extversion, n.nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace"
            " WHERE extname <> 'plpgsql'"
        ).fetchall()
    return {name: (version, schema) for name, version, schema in rows}


@on_versions(15)
async def test_a_trusted_extension_is_there_for_every_login_and_no_tenants_to_change(site: Site, database: str) -> None:
    done = await asked(site, database, {"name": "pg_trgm"}, {"name": "citext"})
    assert done.reason == "Ready", done.message
    assert {name: schema for name, (_, schema) in installed(site, database).items()} == dict.fromkeys(
        ("pg_trgm", "citext"), "extensions"
    )
    for role in ("app", "migrator", "readOnly"):
        with site.login(database, role) as connection:
            assert connection.execute("SELECT similarity('word', 'word')").fetchone() == (1.0,)
    with site.login(database, "migrator") as connection:
        connection.execute("CREATE TABLE names (name text)")
        connection.execute("CREATE INDEX ON names USING gin (name gin_trgm_ops)")
        for statement in (
            "DROP EXTENSION pg_trgm CASCADE",
            "ALTER EXTENSION pg_trgm SET SCHEMA public",
            "CREATE FUNCTION extensions.similarity(text, varchar) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP SCHEMA extensions CASCADE",
            "ALTER SCHEMA extensions RENAME TO taken",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


async def test_an_untrusted_extension_is_refused_until_an_admin_allows_it(site: Site, database: str) -> None:
    name = UNTRUSTED[site.server.version]
    refused = await asked(site, database, {"name": name})
    assert (refused.reason, refused.stalled) == ("ExtensionUnavailable", True)
    assert refused.message == (
        f'extension "{name}" for database "{database}" is not one that PostgreSQL marks as trusted; '
        "have an admin list it under spec.extensions.allowed of the DatabaseServer"
    )
    with site.as_superuser() as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone() is None


@as_admin("superuser")
async def test_an_allowed_extension_is_installed_by_a_superuser(site: Site, database: str) -> None:
    name = UNTRUSTED[site.server.version]
    site.serve(extensions={"allowed": [name]})
    assert (await asked(site, database, {"name": name})).reason == "Ready"
    assert installed(site, database)[name][1] == "extensions"


@as_admin("createrole")
async def test_an_admin_that_is_no_superuser_says_what_a_dba_has_to_run(site: Site, database: str) -> None:
    name = UNTRUSTED[site.server.version]
    site.serve(extensions={"allowed": [name]})
    refused = await asked(site, database, {"name": name})
    assert (refused.reason, refused.stalled) == ("ExtensionUnavailable", True)
    statement = f'CREATE EXTENSION "{name}" SCHEMA "extensions"'
    assert f"have a DBA run {statement} in that database" in refused.message
    with site.as_superuser(database) as connection:
        connection.execute(statement.encode())
    site.login(database, "app").close()  # the missing extension holds up nothing else
    assert (await asked(site, database, {"name": name})).reason == "Ready"
    assert installed(site, database)[name][1] == "extensions"


async def test_an_extension_that_the_server_does_not_have_is_said(site: Site, database: str) -> None:
    refused = await asked(site, database, {"name": "timescaledb"})
    assert (refused.reason, refused.stalled) == ("ExtensionUnavailable", True)
    assert refused.message.endswith("is not installed on the server; have an admin install its package there")


@on_versions(15)
async def test_a_pinned_version_is_installed_and_updated(site: Site, database: str) -> None:
    assert (await asked(site, database, {"name": "pg_trgm", "version": "1.5"})).reason == "Ready"
    assert installed(site, database) == {"pg_trgm": ("1.5", "extensions")}
    assert (await asked(site, database, {"name": "pg_trgm"})).kinds() == set()
    assert (await asked(site, database, {"name": "pg_trgm", "version": "1.6"})).kinds() == {"UpdateExtension"}
    assert installed(site, database) == {"pg_trgm": ("1.6", "extensions")}
    unknown = await asked(site, database, {"name": "pg_trgm", "version": "9.9"})
    assert unknown.message.endswith('has no version "9.9" on the server; there are: 1.3, 1.4, 1.5, 1.6')
    back = await asked(site, database, {"name": "pg_trgm", "version": "1.5"})
    assert (back.reason, back.stalled) == ("RefusedByServer", True)
    assert 'no update path from version "1.6" to version "1.5"' in back.message


@on_versions(15)
async def test_an_extension_goes_into_public_only_while_no_tenant_was_there(site: Site, database: str) -> None:
    first = {"name": "pg_trgm", "version": "1.5", "schema": "public"}
    assert (await asked(site, database, first)).reason == "Ready"
    assert installed(site, database) == {"pg_trgm": ("1.5", "public")}
    late = await asked(site, database, first, {"name": "citext", "schema": "public"})
    assert late.reason == "ExtensionUnavailable"
    assert "can be put into schema public only when the database is made" in late.message


@on_versions(15)
async def test_an_extension_among_a_tenants_objects_is_not_updated(site: Site, database: str) -> None:
    """An update script runs with that schema on its search_path, and as a superuser."""
    await asked(site, database, {"name": "pg_trgm", "version": "1.5", "schema": "public"})
    refused = await asked(site, database, {"name": "pg_trgm", "version": "1.6", "schema": "public"})
    assert (refused.reason, refused.stalled) == ("ExtensionUnavailable", True)
    assert 'stands in schema "public"' in refused.message
    assert installed(site, database) == {"pg_trgm": ("1.5", "public")}


@on_versions(15)
async def test_an_extension_that_a_tenant_made_itself_is_taken_as_it_is(site: Site, orders: str) -> None:
    with site.login(orders, "migrator") as connection:
        connection.execute("CREATE EXTENSION pg_trgm SCHEMA public VERSION '1.5'")
    assert (await asked(site, orders, {"name": "pg_trgm"}, schemas=[{"name": "app"}])).reason == "Ready"
    pinned = await asked(site, orders, {"name": "pg_trgm", "version": "1.6"}, schemas=[{"name": "app"}])
    assert pinned.reason == "ExtensionUnavailable"
    assert installed(site, orders) == {"pg_trgm": ("1.5", "public")}


async def test_nothing_is_installed_into_a_schema_that_is_not_the_admins(site: Site, orders: str) -> None:
    with site.as_superuser(orders) as connection:
        connection.execute(sql.SQL("ALTER SCHEMA extensions OWNER TO {}").format(sql.Identifier(f"{orders}__owner")))
    site.serve(extensions={"allowed": ["vector", "dblink"]})
    refused = await asked(site, orders, {"name": UNTRUSTED[site.server.version]}, schemas=[{"name": "app"}])
    assert (refused.reason, refused.stalled) == ("ExtensionSchemaTaken", True)
    assert f'schema "extensions" in database "{orders}" belongs to role "{orders}__owner"' in refused.message
    assert installed(site, orders) == {}
