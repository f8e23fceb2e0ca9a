"""Databases to back up and to restore into, as servicedb makes them, and backups of them in a folder."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from servicedb.jobs.backup.backup import backup
from servicedb.jobs.backup.request import Request as BackupRequest
from servicedb.jobs.backup.request import Result as BackupResult
from servicedb.jobs.progress import Progress
from servicedb.jobs.restore.request import Request as RestoreRequest
from servicedb.jobs.restore.request import Result as RestoreResult
from servicedb.jobs.restore.restore import restore
from servicedb.store.folder import FolderStore
from servicedb.store.interface import Store

from tests.postgres.binaries import bin_directory, environment
from tests.postgres.provision import unused_name
from tests.postgres.server import Server

PASSWORD = "of-the-tests-alone"
NEWEST = 18
"""The programs that every backup here is made and restored by, as in the image."""


@dataclass
class Told:
    """Progress, as it was told."""

    lines: list[str] = field(default_factory=list)
    bytes: int = 0

    def begin(self, expected_bytes: int) -> None:
        pass

    def add(self, count: int) -> None:
        self.bytes += count

    def tell(self, line: str) -> None:
        self.lines.append(line)


@dataclass
class Database:
    """A database with the roles that servicedb gives one. `backup` reads past row-level security, `restore` is a member
    of the owner and no more."""

    server: Server
    name: str

    @classmethod
    def new(cls, server: Server, name: str | None = None) -> Self:
        one = cls(server, name or unused_name("dump"))
        statements = [
            *(f'CREATE ROLE "{one.name}__{group}" NOLOGIN' for group in ("owner", "rw", "ro")),
            *(f"CREATE ROLE \"{one.name}__{login}\" LOGIN PASSWORD '{PASSWORD}'" for login in ("backup_a", "restore")),
            f'GRANT "{one.name}__owner" TO "{one.name}__restore"',
            f'GRANT pg_read_all_data TO "{one.name}__backup_a"',
            f'ALTER ROLE "{one.name}__backup_a" BYPASSRLS',
            f"CREATE DATABASE \"{one.name}\" TEMPLATE template0 ENCODING 'UTF8'",
            f'REVOKE ALL ON DATABASE "{one.name}" FROM PUBLIC',
            f'GRANT CONNECT, CREATE, TEMPORARY ON DATABASE "{one.name}" TO "{one.name}__owner"',
            f'GRANT CONNECT ON DATABASE "{one.name}" TO "{one.name}__backup_a"',
            f'ALTER ROLE "{one.name}__backup_a" IN DATABASE "{one.name}" SET lo_compat_privileges = on',
        ]
        with server.connect(options="-c log_statement=none") as connection:
            for statement in statements:
                connection.execute(statement.encode())
        one.execute(
            f'ALTER SCHEMA public OWNER TO "{one.name}__owner";'
            "CREATE SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO PUBLIC"
        )
        return one

    def dsn(self, role: str) -> str:
        return make_conninfo("", **self.server.parameters(f"{self.name}__{role}", PASSWORD, self.name))

    def as_superuser(self, **parameters: Any) -> psycopg.Connection[TupleRow]:
        return self.server.connect(dbname=self.name, **parameters)

    def execute(self, query: str) -> None:
        with self.as_superuser() as connection:
            connection.execute(query.encode())

    def as_owner(self, query: str) -> None:
        with self.as_superuser() as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{self.name}__owner")))
            connection.execute(query.encode())

    def rows(self, query: str) -> list[TupleRow]:
        with self.as_superuser() as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def drop(self) -> None:
        with self.server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))
            for role in ("backup_a", "restore", "rw", "ro", "owner"):
                with contextlib.suppress(psycopg.errors.UndefinedObject):
                    connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{self.name}__{role}")))

    def backed_up(self, store: Store, *copies: Store, progress: Progress | None = None, **options: Any) -> BackupResult:
        options = {"run": "of-a-test", "programs": bin_directory(NEWEST), **options}
        role = options.pop("role", "backup_a")
        return backup(BackupRequest(**options), lambda: self.dsn(role), store, copies, progress or Told())

    def restored(self, store: Store, key: str | None, **options: Any) -> RestoreResult:
        assert key is not None
        options = {"programs": bin_directory(NEWEST), "as_role": f"{self.name}__owner", **options}
        return restore(RestoreRequest(key=key, **options), lambda: self.dsn("restore"), store, Told())

    def schema(self, *, queries: bool = True) -> list[str]:
        """All definitions, as pg_dump of the newest version writes them, without names of roles of this database.

        Servers word the `queries` of views differently."""
        done = subprocess.run(
            [bin_directory(NEWEST) / "pg_dump", "--schema-only", "--no-owner"],
            env={
                **environment(),
                "PGHOST": self.server.host,
                "PGPORT": str(self.server.port),
                "PGUSER": self.server.superuser.name,
                "PGPASSWORD": self.server.superuser.password,
                "PGDATABASE": self.name,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        said = done.stdout.replace(f"{self.name}__", "__")
        lines = (line for line in said.splitlines() if line and not line.startswith(("--", "\\", "SET ")))
        statements = " ".join(lines).split(";")
        return sorted(one if queries else re.sub(r"(VIEW .*?) AS .*", r"\1", one) for one in statements)

    def contents(self) -> dict[str, list[str]]:
        """The rows of every table, as text, and the large objects.

        Those of what is divided by hash stand together: they move between its parts.
        """
        with self.as_superuser() as connection:
            tables = connection.execute(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid "
                "WHERE (c.relkind IN ('r', 'm') AND c.relispopulated OR p.partstrat = 'h') AND n.nspname !~ '^pg_' "
                "AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a "
                "JOIN pg_partitioned_table h ON h.partrelid = a.relid WHERE h.partstrat = 'h' AND a.relid <> c.oid)"
            ).fetchall()
            found = {}
            for (table,) in tables:
                query = f"SELECT row_to_json(t)::jsonb::text FROM {table} t ORDER BY 1"
                found[table] = [row[0] for row in connection.execute(query.encode()).fetchall()]
            found["large objects"] = [
                str(row)
                for row in connection.execute("SELECT oid, lo_get(oid) FROM pg_largeobject_metadata ORDER BY 1")
            ]
        return found


@contextlib.contextmanager
def databases(*servers: Server) -> Iterator[list[Database]]:
    """A new one on each."""
    made = [Database.new(server) for server in servers]
    try:
        yield made
    finally:
        for one in made:
            one.drop()


def folder(path: Path) -> FolderStore:
    path.mkdir(exist_ok=True)
    return FolderStore(path)
