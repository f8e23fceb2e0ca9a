"""Databases of their own to migrate, and runs in them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from servicedb.jobs.migrate.migrate import migrate
from servicedb.jobs.migrate.request import Action, Request
from servicedb.jobs.migrate.result import Result
from servicedb.plan.migrations.versions import Version

from tests.postgres.provision import unused_name
from tests.postgres.server import Server

PASSWORD = "of-the-tests-alone"


@dataclass
class Database:
    """A database as servicedb makes them: an owner that can't log in, a migrator that acts as it, an app role."""

    server: Server
    name: str
    told: list[str] = field(default_factory=list)

    @classmethod
    def new(cls, server: Server) -> Self:
        name = unused_name("mig")
        owner, migrator, app = (sql.Identifier(f"{name}__{role}") for role in ("owner", "migrator", "app"))
        with server.connect() as connection:
            for statement in (
                sql.SQL("CREATE ROLE {} NOLOGIN").format(owner),
                sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(migrator, sql.Literal(PASSWORD)),
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(app, sql.Literal(PASSWORD)),
                sql.SQL("GRANT {} TO {}").format(owner, migrator),
                sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)),
                sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(name), owner),
                sql.SQL("ALTER ROLE {} IN DATABASE {} SET role = {}").format(migrator, sql.Identifier(name), owner),
            ):
                connection.execute(statement)
        with server.connect(dbname=name) as connection:
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner))
            for kind in ("TABLES", "SEQUENCES"):
                connection.execute(
                    sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT ALL ON {} TO {}").format(
                        owner, sql.SQL(kind), app
                    )
                )
            connection.execute(
                sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT USAGE ON SCHEMAS TO {}").format(owner, app)
            )
        return cls(server, name)

    @property
    def dsn(self) -> str:
        return make_conninfo("", **self.server.parameters(f"{self.name}__migrator", PASSWORD, self.name))

    def connect(self, role: str = "migrator", **parameters: Any) -> psycopg.Connection[TupleRow]:
        return self.server.connect(f"{self.name}__{role}", PASSWORD, self.name, **parameters)

    def as_superuser(self) -> psycopg.Connection[TupleRow]:
        return self.server.connect(dbname=self.name)

    def value(self, query: str) -> Any:
        with self.as_superuser() as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def rows(self, query: str) -> list[TupleRow]:
        with self.as_superuser() as connection:
            return connection.execute(query.encode()).fetchall()

    def execute(self, query: str) -> None:
        with self.as_superuser() as connection:
            connection.execute(query.encode())

    def run(self, action: Action, files: Mapping[str, str | bytes], **options: Any) -> Result:
        """A run with quick second tries."""
        contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
        return migrate(Request(action=action, **options), contents, lambda: self.dsn, self.told.append)

    def up(self, files: Mapping[str, str | bytes], **options: Any) -> Result:
        return self.run(Action.UP, files, **options)

    def down(self, target: str, **options: Any) -> Result:
        return self.run(Action.DOWN, {}, target=Version.parse(target), **options)

    def history(self) -> list[tuple[str, str]]:
        """Keys and states, in the order in which they were applied."""
        rows = self.rows("SELECT key, state FROM servicedb_migrations.history ORDER BY position")
        return [(key, state) for key, state in rows]

    def drop(self) -> None:
        with self.server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))
            for role in ("migrator", "app", "owner"):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{self.name}__{role}")))


def until(condition: Callable[[], object]) -> None:
    """Wait for `condition`; a test that waits in vain ends with the run's own time limit, or by hand."""
    while not condition():
        time.sleep(0.02)
