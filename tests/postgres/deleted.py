"""ServiceDatabases with policy Delete on real servers: made, deleted, and looked for afterwards."""

from collections.abc import Callable
from typing import Any

from psycopg import sql
from servicedb.api.common import Condition
from servicedb.plan.marker import Marker
from servicedb.plan.steps import Step
from servicedb.reconcile.world import ignore

from tests.postgres.provision import AT_ONCE, Operator, Site, full_spec, key_of

_EVERYTHING = (
    "SELECT to_jsonb(a) FROM pg_authid a ORDER BY oid",
    "SELECT to_jsonb(m) FROM pg_auth_members m ORDER BY roleid, member, grantor",
    "SELECT to_jsonb(d) - 'datfrozenxid' - 'datminmxid' FROM pg_database d ORDER BY oid",
    "SELECT to_jsonb(s) FROM pg_shdescription s ORDER BY objoid, classoid",
    "SELECT to_jsonb(s) FROM pg_db_role_setting s ORDER BY setdatabase, setrole",
    "SELECT to_jsonb(s) FROM pg_shdepend s ORDER BY s::text",
)


def everything(site: Site) -> list[Any]:
    """All that the shared catalogues of the server say."""
    with site.as_superuser() as connection:
        return [connection.execute(query.encode()).fetchall() for query in _EVERYTHING]


def deletable(name: str, grace: str = "0s", **changes: Any) -> dict[str, Any]:
    return full_spec(name, deletion={"policy": "Delete", "gracePeriod": grace}, **changes)


def delete(site: Site, name: str) -> None:
    site.objects.remove(key_of(name).path)


async def look(site: Site, *, times: int = 2, on_step: Callable[[Step], None] = ignore) -> Condition:
    """An operator that looks at the server so often: at the second it believes that an object is gone."""
    async with Operator(site.objects, on_step, AT_ONCE) as operator:
        for _ in range(times):
            conditions = await operator.look()
    return conditions["Ready"]


def there(site: Site, name: str) -> tuple[bool, set[str], set[str]]:
    """Whether the database is there, its roles, and those of them that may log in."""
    with site.as_superuser() as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        roles = connection.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles WHERE starts_with(rolname, %s)", (f"{name}__",)
        ).fetchall()
    return found is not None, {role for role, _ in roles}, {role for role, login in roles if login}


def marker_of(site: Site, name: str) -> Marker:
    with site.as_superuser() as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", (f"{name}__owner",)
        ).fetchone()
    assert row is not None
    marker = Marker.read(row[0])
    assert marker is not None
    return marker


def write_marker(site: Site, name: str, marker: Marker) -> None:
    with site.as_superuser() as connection:
        text = sql.SQL("COMMENT ON ROLE {} IS {}")
        connection.execute(text.format(sql.Identifier(f"{name}__owner"), sql.Literal(marker.comment())))


def keep_a_row(site: Site, name: str) -> None:
    with site.login(name, "migrator") as session:
        session.execute("CREATE TABLE kept AS SELECT 'still here' AS word")


def kept(site: Site, name: str) -> list[tuple[Any, ...]]:
    with site.login(name, "app") as session:
        return session.execute("SELECT word FROM kept").fetchall()


NOTHING = (False, set[str](), set[str]())
