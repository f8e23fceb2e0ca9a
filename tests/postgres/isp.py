"""The example isp-multitenant on a real server: provisioned by the operator, migrated by the engine."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from servicedb.api.common import Condition
from servicedb.jobs.migrate.migrate import migrate
from servicedb.jobs.migrate.request import Action, Request, Tenants
from servicedb.jobs.migrate.result import Result
from servicedb.plan.migrations.versions import Version

from tests.postgres.provision import Site, full_spec

EXAMPLE: Final = Path(__file__).parents[2] / "manifests" / "examples" / "isp-multitenant"


def files(folder: str) -> dict[str, str]:
    """The migrations of the example in `folder`."""
    return {path.name: path.read_text() for path in sorted((EXAMPLE / folder).iterdir())}


def tenants_of_the_example() -> Tenants:
    (_, run) = yaml.safe_load_all((EXAMPLE / "migrations.yaml").read_text())
    asked = run["spec"]["tenants"]
    return Tenants(
        names=tuple(asked["list"]),
        create=asked["create"],
        canary=asked["canary"],
        parallel=asked["parallel"],
        max_failures=asked["maxFailures"],
    )


@dataclass(frozen=True, slots=True)
class Isp:
    """The provider's database on a site."""

    site: Site
    name: str

    @classmethod
    def provisioned(cls, site: Site, name: str) -> Self:
        """With the tenancy that the example's ServiceDatabase asks for, and no table yet."""
        asked = yaml.safe_load((EXAMPLE / "isp.yaml").read_text())["spec"]
        roles = {role: login for role, login in full_spec(name)["roles"].items() if role in asked["roles"]}
        site.provision(name, full_spec(name, roles=roles, tenancy=asked["tenancy"]))
        return cls(site, name)

    def up(self, added: Mapping[str, str] | None = None, **options: Any) -> Result:
        """The files of master/ and those that were `added` to them."""
        return self._run(Action.UP, files("master") | dict(added or {}), set_name="master", **options)

    def up_tenants(self, **options: Any) -> Result:
        return self._run(Action.UP, files("tenants"), set_name="tenants", tenants=tenants_of_the_example(), **options)

    def down(self, target: str, *, set_name: str = "master", **options: Any) -> Result:
        return self._run(Action.DOWN, {}, set_name=set_name, target=Version.parse(target), **options)

    def _run(self, action: Action, contents: Mapping[str, str], **options: Any) -> Result:
        held = self.site.secret(self.name, "migrator")
        dsn = make_conninfo("", **self.site.server.parameters(held["user"], held["password"], self.name))
        return migrate(
            Request(action=action, **options), {name: text.encode() for name, text in contents.items()}, lambda: dsn
        )

    def as_app(self) -> psycopg.Connection[TupleRow]:
        return self.site.login(self.name, "app")

    @contextmanager
    def as_tenant(self, tenant: str | None) -> Iterator[psycopg.Connection[TupleRow]]:
        """A transaction of the application's that says for whom it works; None: for nobody. It is rolled back."""
        with self.as_app() as connection, connection.transaction(force_rollback=True):
            if tenant is not None:
                connection.execute("SELECT set_config('app.current_tenant_id', %s, true)", (tenant,))
            yield connection

    def execute(self, statements: str) -> None:
        """As the owner, whom row-level security passes over."""
        with self.site.login(self.name, "migrator") as owner:
            owner.execute(statements.encode())

    def rows(self, query: str) -> list[TupleRow]:
        with self.site.as_superuser(self.name) as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def tables(self) -> list[tuple[str, str]]:
        """Schema and name of each table of the example."""
        rows = self.rows(
            "SELECT schemaname::text, tablename::text FROM pg_tables "
            "WHERE schemaname = 'public' OR schemaname LIKE 'tenant\\_%' ORDER BY 1, 2"
        )
        return [(schema, name) for schema, name in rows]

    def fill(self, rows: int) -> None:
        """One tenant with a hundred users and `rows` entries in its log."""
        self.execute(f"""
            INSERT INTO tenants (schema_name, name) VALUES ('tenant_full', 'Full');
            INSERT INTO users (tenant_id, email, name)
                SELECT tenants.id, 'user' || n || '@example.org', 'User ' || n FROM tenants, generate_series(1, 100) n;
            INSERT INTO user_sessions (tenant_id, user_id, expires_at) SELECT tenant_id, id, now() FROM users;
            INSERT INTO activity_logs (tenant_id, user_id, action, detail)
                SELECT tenant_id, id, 'login', jsonb_build_object('severity', n % 5)
                FROM generate_series(1, {rows}) n JOIN (SELECT *, row_number() OVER () AS place FROM users) u
                  ON u.place = n % 100 + 1;
        """)

    def state(self) -> dict[str, Any]:
        """All that a migration which is rolled back has to leave as it was: rows, OIDs, constraints, indexes, policies,
        grants, triggers and the history."""
        with self.site.as_superuser(self.name) as connection:
            contents = {
                name: _contents(connection, schema, name) for schema, name in self.tables() if schema == "public"
            }
            return {
                "rows": contents,
                **{what: connection.execute(query.encode()).fetchall() for what, query in _QUERIES.items()},
            }


_IN_PUBLIC = "(SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
_QUERIES: Final = {
    "tables": f"SELECT oid, relname, relkind, relacl::text, relrowsecurity FROM pg_class WHERE oid IN {_IN_PUBLIC} "
    "ORDER BY oid",
    "columns": "SELECT attrelid, attname, atttypid, attnotnull FROM pg_attribute "
    f"WHERE attrelid IN {_IN_PUBLIC} AND attnum > 0 AND NOT attisdropped ORDER BY 1, 2",
    "constraints": f"SELECT oid, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
    f"WHERE conrelid IN {_IN_PUBLIC} ORDER BY oid",
    "indexes": f"SELECT indexrelid, indisvalid, pg_get_indexdef(indexrelid) FROM pg_index "
    f"WHERE indrelid IN {_IN_PUBLIC} ORDER BY 1",
    "policies": "SELECT oid, polname, pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY oid",
    "triggers": "SELECT oid, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY oid",
    "history": "SELECT set_name, schema_name, key, state, checksum FROM servicedb_migrations.history ORDER BY position",
}


def _contents(connection: psycopg.Connection[TupleRow], schema: str, name: str) -> Sequence[Any] | None:
    query = sql.SQL("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} t")
    return connection.execute(query.format(sql.Identifier(schema, name))).fetchone()


def isolation(conditions: Mapping[str, Condition]) -> tuple[str, str]:
    condition = conditions["TenantIsolation"]
    return condition.status, condition.message
