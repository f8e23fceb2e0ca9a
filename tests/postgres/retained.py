"""Databases whose rows are archived and deleted by age, and policies for them."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
import zstandard
from psycopg import sql
from servicedb.api.retention_policy import RetentionPolicySpec
from servicedb.jobs.progress import SILENT, Progress
from servicedb.jobs.retain.policy import policy_spec
from servicedb.jobs.retain.request import Request, Result
from servicedb.jobs.retain.retain import retain
from servicedb.postgres.backups.session import Way
from servicedb.store.folder import FolderStore
from servicedb.store.interface import Store

from tests.postgres.dumped import PASSWORD, Database
from tests.postgres.server import Server

EVENTS = """
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, kind text, body jsonb);
CREATE INDEX ON events (at);
"""
"""A plain table with an age."""


@dataclass
class Retained(Database):
    """A database with two more logins: `retain`, which may delete from some tables, and `partition`, the owner's."""

    @classmethod
    def new(cls, server: Server, name: str | None = None) -> Self:
        one = super().new(server, name)
        one.execute(
            f"CREATE ROLE \"{one.name}__retain\" LOGIN PASSWORD '{PASSWORD}';"
            f"CREATE ROLE \"{one.name}__partition\" LOGIN PASSWORD '{PASSWORD}';"
            f'GRANT "{one.name}__owner" TO "{one.name}__partition";'
            f'GRANT CONNECT ON DATABASE "{one.name}" TO "{one.name}__retain", "{one.name}__partition";'
            f'GRANT USAGE ON SCHEMA public TO "{one.name}__retain"'
        )
        return one

    def drop(self) -> None:
        super().drop()
        with self.server.connect() as connection:
            for role in ("retain", "partition"):
                with contextlib.suppress(psycopg.errors.UndefinedObject):
                    connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{self.name}__{role}")))

    def let(self, table: str) -> None:
        """What the operator grants for a rule."""
        column = self.value(f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum = 1")
        self.as_owner(
            f'GRANT SELECT, DELETE ON {table} TO "{self.name}__retain";'
            f'GRANT UPDATE ("{column}") ON {table} TO "{self.name}__retain"'
        )

    @property
    def way(self) -> Way:
        return Way(lambda: self.dsn("retain"))

    @property
    def owner_way(self) -> Way:
        return Way(lambda: self.dsn("partition"), f"{self.name}__owner")

    def retained(
        self,
        policy: RetentionPolicySpec,
        *stores: Store,
        run: str = "of-a-test",
        progress: Progress = SILENT,
        **options: Any,
    ) -> Result:
        return retain(Request(run=run, **options), policy, self.way, self.owner_way, lambda: stores, progress)

    def archived(self, root: Path, columns: str, table: str = "events") -> list[str]:
        """The rows in the archives that the ledger names, as COPY wrote them, with `columns` in this order."""
        found = []
        for key, names in self.rows(
            "SELECT key, columns FROM servicedb_retention.entries WHERE sha256 IS NOT NULL AND "
            f"table_name = '{table}' ORDER BY position"
        ):
            order = [names.index(one) for one in columns.split(", ")]
            for line in content(root / key).splitlines():
                fields = line.split("\t")
                found.append("\t".join(fields[at] for at in order))
        return found

    def left(self, columns: str, table: str = "events") -> list[str]:
        """The rows in the table, as COPY writes them."""
        with (
            self.as_superuser(options="-c timezone=UTC -c datestyle=ISO") as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY (SELECT {columns} FROM {table}) TO STDOUT".encode()) as copy,
        ):
            return b"".join(bytes(line) for line in copy).decode().splitlines()


def command(database: Retained, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`servicedb retain ...` as the owner, with the secrets in the environment alone."""
    return subprocess.run(
        [sys.executable, "-m", "servicedb", "retain", *arguments, "--as-role", f"{database.name}__owner"],
        env={**os.environ, "SERVICEDB_DSN": database.dsn("partition")},
        capture_output=True,
        text=True,
        check=False,
    )


def content(path: Path) -> str:
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())) as reader:
        return reader.read().decode()


def policy(*rules: str, **spec: str) -> RetentionPolicySpec:
    """A policy with these rules, each as YAML without its braces."""
    return policy_spec(written(*rules, **spec))


def written(*rules: str, **spec: str) -> str:
    """The same as YAML."""
    lines = [f"- {{{rule}}}" for rule in rules]
    others = [f"{name}: {value}" for name, value in spec.items()]
    return "\n".join(["archive: {storage: {volume: {claimName: archive}}}", *others, "rules:", *lines])


@contextlib.contextmanager
def retained(server: Server, tables: str = EVENTS, names: Sequence[str] = ("events",)) -> Iterator[Retained]:
    """A new one, with these tables of the owner's."""
    one = Retained.new(server)
    try:
        one.as_owner(tables)
        for name in names:
            one.let(name)
        yield one
    finally:
        one.drop()


def folder(path: Path) -> FolderStore:
    path.mkdir(exist_ok=True)
    return FolderStore(path)
