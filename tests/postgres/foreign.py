"""A database that servicedb never made, as an application of years has it: several owners, every kind of object."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow
from servicedb.naming import RoleNames

from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Site, full_spec, key_of

_SHARED = """
CREATE ROLE legacy LOGIN PASSWORD {password};
CREATE ROLE reports LOGIN PASSWORD {password};
CREATE ROLE reader LOGIN PASSWORD {password};
CREATE DATABASE orders OWNER legacy TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
CREATE DATABASE orders_other OWNER legacy TEMPLATE template0;
ALTER DATABASE orders SET search_path = public, app;
"""

_BY_SUPERUSER = """
CREATE FOREIGN DATA WRAPPER elsewhere; GRANT USAGE ON FOREIGN DATA WRAPPER elsewhere TO legacy;
CREATE SCHEMA monitoring;
CREATE FUNCTION monitoring.users() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM pg_authid';
CREATE EXTENSION {extension} SCHEMA public;
CREATE SCHEMA app AUTHORIZATION reports;
GRANT CREATE ON SCHEMA public TO reports, reader;
GRANT ALL ON SCHEMA app TO legacy;
"""

_BY_LEGACY = """
CREATE TYPE state AS ENUM ('open', 'paid');
CREATE TYPE address AS (street text, "Zip code" text);
CREATE TYPE span AS RANGE (subtype = date);
CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);
CREATE TABLE orders (id serial PRIMARY KEY, state state DEFAULT 'open', address address, total amount);
CREATE TABLE "Odd ""name" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, of int REFERENCES orders, word text);
CREATE SEQUENCE numbers;
CREATE TABLE events (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY RANGE (at);
CREATE TABLE events_2a PARTITION OF events_2 DEFAULT;
CREATE VIEW open_orders AS SELECT * FROM orders WHERE state = 'open';
CREATE MATERIALIZED VIEW totals AS SELECT sum(total) AS total FROM orders;
CREATE FUNCTION total_of(int) RETURNS numeric LANGUAGE sql AS 'SELECT total FROM public.orders WHERE id = $1';
CREATE FUNCTION total_of(text[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION guarded() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.orders';
CREATE PROCEDURE pay(int) LANGUAGE sql AS 'UPDATE public.orders SET state = ''paid'' WHERE id = $1';
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touched();
CREATE AGGREGATE sum_of (int) (SFUNC = int4pl, STYPE = int);
CREATE FUNCTION same(address, address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street = ($2).street';
CREATE OPERATOR === (LEFTARG = address, RIGHTARG = address, FUNCTION = same);
CREATE FUNCTION negated(state) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = ''open''';
CREATE OPERATOR !== (RIGHTARG = state, FUNCTION = negated);
CREATE COLLATION mine (LOCALE = 'C');
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE STATISTICS of_orders (dependencies) ON id, total FROM orders;
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
CREATE TEXT SEARCH CONFIGURATION plain (COPY = pg_catalog.simple);
CREATE SERVER far FOREIGN DATA WRAPPER elsewhere;
CREATE FOREIGN TABLE far_away (id int) SERVER far;
CREATE TABLE app.joint (id int);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON orders USING (true);
GRANT SELECT ON open_orders, events TO reader;
GRANT SELECT (id) ON orders TO reader;
GRANT SELECT, REFERENCES ON orders TO reports;
INSERT INTO orders (total, address) SELECT n, ('(street,' || n || ')')::address FROM generate_series(1, 100) AS n;
INSERT INTO "Odd ""name" (of, word) SELECT id, md5(id::text) FROM orders;
INSERT INTO events SELECT '2020-01-01'::date + n, 'event ' || n FROM generate_series(0, 700) AS n;
SELECT nextval('numbers');
"""

_BY_REPORTS = """
CREATE TABLE app.report (id int PRIMARY KEY, of_order int REFERENCES public.orders, line text);
CREATE TABLE public.monthly AS SELECT n AS id, 'month ' || n AS month FROM generate_series(1, 12) AS n;
CREATE VIEW app.months AS SELECT * FROM public.monthly;
CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
INSERT INTO app.report SELECT n, n, 'line ' || n FROM generate_series(1, 50) AS n;
GRANT SELECT ON public.monthly TO PUBLIC;
GRANT ALL ON app.report TO legacy;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO legacy;
"""

_WITH_HELP = """
CREATE OPERATOR FAMILY alike USING btree;
CREATE OPERATOR CLASS alike_ops FOR TYPE address USING btree FAMILY alike AS STORAGE address;
ALTER OPERATOR FAMILY alike USING btree OWNER TO legacy;
ALTER OPERATOR CLASS alike_ops USING btree OWNER TO legacy;
ALTER TABLE events_2a OWNER TO reports;
"""
"""What only a superuser makes, for the others."""

_ELSEWHERE = """
CREATE TABLE stays (id int); INSERT INTO stays VALUES (1);
CREATE TABLE too (id int); ALTER TABLE too OWNER TO reports;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f OWNER TO legacy;
ALTER TABLE stays OWNER TO legacy; GRANT SELECT ON stays TO reader, reports;
ALTER DEFAULT PRIVILEGES FOR ROLE legacy GRANT SELECT ON TABLES TO reports;
"""

EXTENSIONS = {15: "pg_trgm", 16: "vector", 18: "vector"}

_OWNED = """
WITH members AS (SELECT classid, objid FROM pg_depend
    WHERE deptype = 'e' OR deptype = 'i' AND classid = 'pg_proc'::regclass),
objects (class, oid, owner, schema, name) AS (
    SELECT 'pg_class'::regclass, oid, relowner, relnamespace, relkind::text || ' ' || relname FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner, pronamespace, oid::regprocedure::text FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typowner, typnamespace, typname FROM pg_type WHERE typname !~ '^_'
    UNION ALL SELECT 'pg_collation'::regclass, oid, collowner, collnamespace, collname FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner, connamespace, conname FROM pg_conversion
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner, oprnamespace, oprname FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner, opcnamespace, opcname FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner, opfnamespace, opfname FROM pg_opfamily
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner, stxnamespace, stxname FROM pg_statistic_ext
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner, dictnamespace, dictname FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner, cfgnamespace, cfgname FROM pg_ts_config)
SELECT n.nspname, o.class::text, o.name, pg_get_userbyid(o.owner)
FROM objects o JOIN pg_namespace n ON n.oid = o.schema
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM members m WHERE m.classid = o.class AND m.objid = o.oid)
ORDER BY 1, 2, 3
"""

_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

_CATALOGUES = (
    "pg_class", "pg_proc", "pg_type", "pg_namespace", "pg_default_acl", "pg_attribute", "pg_depend", "pg_extension",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Foreign:
    """The database `name` with its roles: `legacy` owns it and most of what is in it, `reports` a schema and some more,
    `reader` nothing. In the database `other` the same roles own something, too. Their names begin with `stem`."""

    site: Site
    name: str
    stem: str
    password: str

    @property
    def other(self) -> str:
        return f"{self.stem}_other"

    @property
    def legacy(self) -> str:
        return f"{self.stem}_legacy"

    @property
    def reports(self) -> str:
        return f"{self.stem}_reports"

    @property
    def reader(self) -> str:
        return f"{self.stem}_reader"

    @property
    def owner(self) -> str:
        return RoleNames(self.name).owner

    @classmethod
    def new(cls, site: Site, name: str) -> "Foreign":
        foreign = cls(site, name, name, secrets.token_urlsafe(12))
        foreign.run(_SHARED.replace("{password}", f"'{foreign.password}'"), dbname="postgres", apart=True)
        extension = EXTENSIONS[site.server.version]
        foreign.run(_BY_SUPERUSER.replace("{extension}", extension))
        foreign.run(_BY_LEGACY, by="legacy")
        foreign.run(_BY_REPORTS, by="reports")
        foreign.run(_WITH_HELP)
        foreign.run(_ELSEWHERE, dbname=foreign.other)
        return foreign

    def copy(self, site: Site, name: str) -> "Foreign":
        """The same database once more, with the same roles, for the cluster of `site`."""
        text = "CREATE DATABASE {} TEMPLATE {} OWNER {}; ALTER DATABASE {} SET search_path = public, app"
        for statement in text.split("; "):
            names = (name, self.name, self.legacy) if "CREATE" in statement else (name,)
            with site.as_superuser() as connection:
                connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        return Foreign(site, name, self.stem, self.password)

    def named(self, text: str) -> str:
        """`text` with the names of this database's roles in place of legacy, reports and reader."""
        text = re.sub(r"(?<= )(legacy|reports|reader)\b", rf"{self.stem}_\1", text)
        return text.replace("DATABASE orders", f"DATABASE {self.name}")

    def run(self, statements: str, *, by: str | None = None, dbname: str | None = None, apart: bool = False) -> None:
        with self.site.as_superuser(dbname or self.name) as connection:
            if by is not None:
                connection.execute(self.named(f"SET ROLE {by}").encode())
            for statement in statements.split(";\n") if apart else [statements]:
                if statement.strip():
                    connection.execute(self.named(statement).encode())

    def login(self, role: str) -> Connection[TupleRow]:
        """A session of `legacy`, `reports` or `reader`, as their application has it."""
        return self.site.server.connect(f"{self.stem}_{role}", self.password, self.name)

    def grant_to_admin(self) -> None:
        """What a DBA runs first where the admin is no superuser, from PostgreSQL 16 on."""
        if self.site.server.version >= 16 and self.site.admin != self.site.server.superuser:
            for role in (self.legacy, self.reports):
                statement = f"GRANT {role} TO {self.site.admin.name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
                self.run(statement, dbname="postgres")

    def want(self, **changes: Any) -> None:
        self.site.want(self.name, full_spec(self.name, **changes))

    def list_adoptable(self) -> None:
        self.site.serve(adoptable=[{"databaseName": self.name, "namespace": NAMESPACE, "name": key_of(self.name).name}])

    def tell_otherwise(self) -> None:
        self.site.serve(adoptable=[])

    def owners(self) -> dict[str, str]:
        """Schema, kind and name of each object, extensions' left out -> its owner."""
        with self.site.as_superuser(self.name) as connection:
            rows = connection.execute(_OWNED).fetchall()
        return {f"{schema} {kind} {name}": owner for schema, kind, name, owner in rows}

    def contents(self) -> dict[str, Any]:
        """Every row of every table, and the state of every sequence."""
        with self.site.as_superuser(self.name) as connection:
            tables = [table for (table,) in connection.execute(_TABLES)]
            rows = "SELECT to_jsonb(t) FROM (SELECT * FROM {}) AS t ORDER BY 1"
            return {table: connection.execute(rows.format(table).encode()).fetchall() for table in tables}

    def elsewhere(self) -> list[Any]:
        """All that the catalogues say of the other database, and all that is in it."""
        with self.site.as_superuser(self.other) as connection:
            found: list[Any] = [
                connection.execute(f"SELECT to_jsonb(c) FROM {name} AS c ORDER BY 1".encode()).fetchall()
                for name in _CATALOGUES
            ]
            found.append(connection.execute("SELECT * FROM stays").fetchall())
            shared = (
                "SELECT to_jsonb(d) - 'datfrozenxid' - 'datminmxid' FROM pg_database d WHERE datname = %s",
                "SELECT s::text FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid WHERE datname = %s ORDER BY 1",
            )
            return [*found, *(connection.execute(query, (self.other,)).fetchall() for query in shared)]

    def remove(self) -> None:
        self.site.drop(self.name)
        with self.site.as_superuser() as connection:
            for name in (self.name, self.other):
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            for role in (self.legacy, self.reports, self.reader):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


WORK: tuple[tuple[str, str], ...] = (
    ("legacy", "SELECT sum(total) FROM orders"),
    ("legacy", "INSERT INTO orders (total) VALUES (1)"),
    ("legacy", "UPDATE \"Odd \"\"name\" SET word = word WHERE id = 1"),
    ("legacy", "SELECT nextval('numbers'), guarded(), total_of(1), '(a,b)'::address === '(a,b)'::address"),
    ("legacy", "CALL pay(1)"),
    ("legacy", "ALTER TABLE orders ADD COLUMN note text; ALTER TABLE orders DROP COLUMN note"),
    ("legacy", "CREATE TABLE scratch (id serial); INSERT INTO scratch VALUES (1); DROP TABLE scratch"),
    ("legacy", "CREATE INDEX found ON orders (total); DROP INDEX found"),
    ("legacy", "CREATE OR REPLACE VIEW open_orders AS SELECT * FROM orders WHERE state = 'open'"),
    ("legacy", "CREATE OR REPLACE FUNCTION guarded() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
               " AS 'SELECT count(*) FROM public.orders'"),
    ("legacy", "REFRESH MATERIALIZED VIEW totals"),
    ("legacy", "INSERT INTO events VALUES ('2020-05-05', 'another')"),
    ("legacy", "SELECT * FROM app.report"),
    ("legacy", "CREATE SCHEMA later; DROP SCHEMA later"),
    ("legacy", "GRANT SELECT ON events_1 TO reader; REVOKE SELECT ON events_1 FROM reader"),
    ("reports", "SELECT * FROM app.report JOIN app.months USING (id), orders LIMIT 1"),
    ("reports", "CREATE TABLE app.scratch (id int); DROP TABLE app.scratch"),
    ("reports", "ALTER TABLE monthly ADD COLUMN more int; ALTER TABLE monthly DROP COLUMN more"),
    ("reader", "SELECT * FROM open_orders, monthly LIMIT 1"),
    ("reader", "SELECT count(id) FROM orders"),
    ("reader", "CREATE TABLE readers (id int); INSERT INTO readers VALUES (1); DROP TABLE readers"),
)  # fmt: skip
"""What the applications of before do all day: who, and what."""


@contextmanager
def applications(foreign: Foreign) -> Iterator[dict[str, Connection[TupleRow]]]:
    """A session of each role, which stays open."""
    sessions = {role: foreign.login(role) for role in ("legacy", "reports", "reader")}
    try:
        yield sessions
    finally:
        for session in sessions.values():
            session.close()


def _execute(session: Connection[TupleRow], statement: str) -> None:
    """Two changes to one function at the same moment are more than PostgreSQL can do, whoever makes them: the second
    one is refused, and works when it is repeated."""
    try:
        session.execute(statement.encode())
    except psycopg.errors.InternalError_ as error:
        if "tuple concurrently updated" not in str(error):
            raise
        session.execute(statement.encode())


def work(foreign: Foreign, sessions: dict[str, Connection[TupleRow]]) -> list[str]:
    """Everything once; what failed."""
    failed = []
    for role, statement in WORK:
        try:
            _execute(sessions[role], foreign.named(statement))
        except psycopg.Error as error:
            failed.append(f"{role}: {statement}: {error}")
    return failed
