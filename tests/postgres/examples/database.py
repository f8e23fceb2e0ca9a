"""Databases of the systems in manifests/examples/, on a real server: provisioned as their manifests say, and migrated
from their files by what `servicedb migrate` runs."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any, Final, Self

import psycopg
import yaml
from psycopg import Connection
from psycopg.rows import TupleRow
from servicedb.jobs.migrate.folder import read_folder
from servicedb.jobs.migrate.migrate import migrate
from servicedb.jobs.migrate.request import Action, Request
from servicedb.jobs.migrate.result import Result
from servicedb.kube.client import Json

from tests.postgres.provision import SERVER, Site, unused_name

EXAMPLES: Final = Path(__file__).parents[3] / "manifests" / "examples"


@dataclass(frozen=True, slots=True)
class Database:
    """One ServiceDatabase of an example, under a `name` that no other test uses.

    `spec` is the manifest's, without fixed login names, which a server has once.
    """

    site: Site
    name: str
    spec: Json
    files: dict[str, bytes]
    _sessions: dict[str, Connection[TupleRow]] = field(default_factory=dict, repr=False)

    @classmethod
    def new(cls, site: Site, system: str, manifest: str, folder: str = "migrations") -> Self:
        """The ServiceDatabase that stands in `manifest`, Ready, with the files in `folder` applied."""
        documents = yaml.safe_load_all((EXAMPLES / system / manifest).read_text())
        spec = next(one["spec"] for one in documents if one["kind"] == "ServiceDatabase")
        name = unused_name(spec["databaseName"])
        spec |= {"databaseName": name, "serverRef": {"name": SERVER.name}}
        spec["roles"] = {key: _without_login_name(role) for key, role in spec["roles"].items()}
        database = cls(site, name, spec, read_folder(EXAMPLES / system / folder))
        site.provision(name, spec)
        database.migrate(Action.UP)
        # Again, as after each MigrationRun: overrides are granted on tables once they are there.
        site.provision(name, spec)
        return database

    def migrate(self, action: Action, *, files: dict[str, bytes] | None = None, **options: Any) -> Result:
        """A run as the migrator. Raises AssertionError where it does not succeed."""
        result = self.attempt(action, files=files, **options)
        assert result.outcome == "Succeeded", (result.reason, result.message)
        return result

    def attempt(self, action: Action, *, files: dict[str, bytes] | None = None, **options: Any) -> Result:
        uri = self.secret("migrator")["uri"]
        return migrate(Request(action=action, **options), self.files if files is None else files, lambda: uri)

    def secret(self, role: str) -> dict[str, str]:
        """What the Secret of `role` holds: app, migrator, readOnly, or an extra one's name."""
        roles = {**self.spec["roles"], **{extra["name"]: extra for extra in self.spec["roles"].get("extra", ())}}
        return self.site.objects.secret(roles[role]["secretName"])

    def login(self, role: str = "app") -> Connection[TupleRow]:
        """A session as whoever reads the Secret of `role` has it."""
        held = self.secret(role)
        return self.site.server.connect(held["user"], held["password"], self.name)

    def execute(self, statement: str, *values: Any, role: str = "app") -> list[TupleRow]:
        """What `statement` gives, in a transaction of its own."""
        if role not in self._sessions:
            self._sessions[role] = self.login(role)
        cursor = self._sessions[role].execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def at_once(self, count: int, statement: str, values: list[tuple[Any, ...]] | None = None) -> list[Any]:
        """What `count` applications hear that begin `statement` at the same moment, each with its own `values` and in a
        session of its own: the first column, or the error."""
        barrier = Barrier(count)

        def one(number: int) -> Any:
            with self.login() as connection:
                barrier.wait()
                try:
                    row = connection.execute(statement.encode(), values[number] if values else None).fetchone()
                except psycopg.Error as error:
                    return error
                return row[0] if row else None

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(one, range(count)))

    def drop(self) -> None:
        for session in self._sessions.values():
            session.close()
        self.site.drop(self.name)


def _without_login_name(role: Any) -> Any:
    return {key: value for key, value in role.items() if key != "loginName"} if isinstance(role, dict) else role


def indexes_used(connection: Connection[TupleRow], query: str) -> set[str]:
    """The indexes that PostgreSQL would answer `query` by, as EXPLAIN tells."""
    row = connection.execute(f"EXPLAIN (FORMAT JSON) {query}".encode()).fetchone()
    assert row is not None
    return set(_index_names(row[0] if isinstance(row[0], list) else json.loads(row[0])))


def _index_names(part: Any) -> Iterator[str]:
    match part:
        case dict():
            if "Index Name" in part:
                yield part["Index Name"]
            for value in part.values():
                yield from _index_names(value)
        case list():
            for value in part:
                yield from _index_names(value)
