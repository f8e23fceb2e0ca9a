"""The database that a backup is restored into: that it may be, and what it holds afterwards."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, LiteralString, Self

import psycopg
from psycopg import Connection, sql
from psycopg.rows import class_row

from servicedb.errors import Terminal
from servicedb.plan.backups.comparison import Restored
from servicedb.plan.backups.manifest import Extension, Manifest, Table
from servicedb.plan.backups.manifest import Sequence as SequenceOf
from servicedb.plan.backups.objects import Objects
from servicedb.plan.backups.privileges import Names, names
from servicedb.plan.backups.relations import Counted, counted
from servicedb.postgres.backups import facts as facts_of
from servicedb.postgres.backups.counts import count
from servicedb.postgres.backups.extensions import make_missing
from servicedb.postgres.backups.large_objects import fingerprint
from servicedb.postgres.backups.objects import objects
from servicedb.postgres.backups.privileges import Standing, give_back
from servicedb.postgres.backups.relations import relations
from servicedb.postgres.backups.session import Way, hold_database, problem_of, translated
from servicedb.postgres.backups.unfinished import Mark, clear, is_ours, mark, marked, unmark
from servicedb.postgres.migrations.session import Tell

APPLICATION = "servicedb-restore"

_STANDING: LiteralString = """
SELECT current_database() AS name, current_user::text AS owner, session_user::text AS login,
       (SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname IN (session_user, current_user)) AS superuser,
       current_setting('server_version_num')::int AS server_version,
       current_setting('max_locks_per_transaction')::int
           * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) AS lock_room
"""

# What anybody but an extension, and the schemas themselves, would have to make.
_NOT_EMPTY: LiteralString = """
SELECT i.type || ' ' || i.identity
FROM (SELECT 'pg_class'::regclass AS class, oid, relnamespace AS schema FROM pg_class
      WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
      UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typtype IN ('d', 'e', 'r')) o
JOIN pg_namespace n ON n.oid = o.schema, pg_identify_object(o.class, o.oid, 0) i
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 4
"""


_USABLE_WRAPPERS: LiteralString = """
SELECT fdwname FROM pg_foreign_data_wrapper WHERE has_foreign_data_wrapper_privilege(oid, 'USAGE')
"""


@dataclass(frozen=True, slots=True)
class Assertion:
    """A question to a restored database, and the answer to expect: the first column of the first row, as text."""

    name: str
    sql: str
    expect: str


class Target:
    """A session that alone has the database, among those of servicedb. Raises Problems."""

    def __init__(self, connection: Connection[Any], way: Way) -> None:
        self._connection = connection
        self._way = way
        with translated(), connection.cursor(row_factory=class_row(Standing)) as cursor:
            row = cursor.execute(_STANDING).fetchone()
        assert row is not None
        self.standing = row

    @classmethod
    @contextlib.contextmanager
    def open(cls, way: Way, *, wait: float | None, tell: Tell) -> Iterator[Self]:
        """Wait for the database up to `wait` seconds (None: as long as it takes). Raises Busy, too."""
        connection = way.open(application=APPLICATION)
        try:
            with translated():
                hold_database(connection, wait=wait, tell=tell)
            yield cls(connection, way)
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
            connection.close()

    def begin(self, manifest: Manifest, run: str, tell: Tell) -> None:
        """Raises Terminal where nothing may be restored: by a superuser, into an older server, or onto something.

        What the same restore left unfinished, of the same backup by the same `run`, is nothing: it is dropped. The mark
        of this one is set.
        """
        here = self.standing
        if here.superuser:
            raise Terminal(
                "SuperuserRefused",
                f'login "{here.login}" is, or acts as, a superuser: a restore runs functions that the backup brings '
                "along, and they would be superuser, too; restore by a login that owns the database and no more",
            )
        newest, oldest = manifest.server_version // 1_00_00, here.server_version // 1_00_00
        if newest > oldest:
            raise Terminal(
                "ServerTooOld",
                f"the backup is of a server of PostgreSQL {newest}, and this one is {oldest}; restore it into one of "
                f"{newest} or later",
            )
        this = Mark(manifest.key, run)
        with translated():
            left = marked(self._connection)
            if left == this and is_ours(self._connection):
                tell("what this restore left here when it came to no end is dropped")
                clear(self._connection)
            there = [row[0] for row in self._connection.execute(_NOT_EMPTY).fetchall()]
        if there:
            shown = ", ".join(there[:3]) + (" and more" if there[3:] else "")
            raise Terminal(
                "NotEmpty",
                f'database "{here.name}" is not empty: it holds {shown}{_of_restore(left)}; '
                "nothing is ever restored over what is there: choose an empty database",
            )
        with translated():
            mark(self._connection, this)

    def make_extensions(self, wanted: Sequence[Extension]) -> None:
        """Make those that are missing. Raises Terminal for one that only an admin may make."""
        with translated():
            failed = make_missing(self._connection, wanted)
        if failed is not None:
            one, words = failed
            raise Terminal(
                "ExtensionMissing",
                f"the backup needs extension {one.name} in schema {one.schema_}, which can't be made here: {words}; "
                "have an admin make it beforehand",
            )

    def check_wrappers(self, wanted: Sequence[str]) -> None:
        """Raises Terminal for a foreign-data wrapper that may not be used here: its servers could not be made."""
        with translated():
            rows = self._connection.execute(_USABLE_WRAPPERS).fetchall()
        if missing := sorted(set(wanted) - {row[0] for row in rows}):
            one, owner = missing[0], self.standing.owner
            raise Terminal(
                "NoPrivilege",
                f'the backup has servers of foreign-data wrapper "{one}", which role "{owner}" may not use here; '
                "have an admin make it where it is missing, and "
                f'GRANT USAGE ON FOREIGN DATA WRAPPER "{one}" TO "{owner}"',
            )

    def make_schemas(self, wanted: Sequence[str]) -> None:
        """Make those that are missing: pg_restore leaves them out where only some are asked for."""
        with translated():
            for one in wanted:
                self._connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(one)))

    def set_sequences(self, wanted: Sequence[SequenceOf]) -> None:
        """Have them go on from where they had come to."""
        with translated():
            for one in wanted:
                name = sql.Identifier(one.schema_, one.name).as_string(self._connection)
                query = "SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)"
                self._connection.execute(query, (name, one.last_value, one.is_called))

    def schemas(self) -> frozenset[str]:
        """Those that there are."""
        with translated():
            rows = self._connection.execute("SELECT nspname FROM pg_catalog.pg_namespace").fetchall()
        return frozenset(row[0] for row in rows)

    def names(self, manifest: Manifest, given: Mapping[str, str]) -> Names:
        """What the roles of the backup are called here; `given` are names that a person gave."""
        with translated():
            rows = self._connection.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()
        return names(
            manifest.roles,
            source=manifest.database,
            target=self.standing.name,
            owner=self.standing.owner,
            existing={row[0] for row in rows},
            given=given,
        )

    def give_back(self, manifest: Manifest, kept: Objects, called: Names) -> tuple[str, ...]:
        """Policies and privileges, by names of here. Gives a sentence for each entry that stands for nobody."""
        with translated():
            return give_back(self._connection, manifest, kept, self.standing, called)

    def counts(self, recorded: Sequence[Table], parallel: int) -> list[Table]:
        """The rows of those `recorded` that are here, with fingerprints made as theirs were."""
        fingerprints = {(one.schema_, one.name): one.fingerprint for one in recorded}
        with translated():
            tables = [one for one in counted(relations(self._connection)) if _name(one) in fingerprints]
        shares = [tables[number::parallel] for number in range(parallel)]
        with ThreadPoolExecutor(parallel) as pool:
            return [row for share in pool.map(lambda one: self._count(one, fingerprints), shares) for row in share]

    def look(self, rows: Sequence[Table], *, large_objects: bool) -> Restored:
        """What is there besides `rows`, now. `large_objects`: what they hold is read, too."""
        with translated():
            whole = objects(self._connection)
            return Restored(
                tables=rows,
                sequences=facts_of.sequences(self._connection),
                extensions=facts_of.extensions(self._connection),
                objects=whole.objects,
                large_objects=whole.large_objects,
                server_version=self.standing.server_version,
                descending=facts_of.descending(self._connection),
                large_objects_fingerprint=fingerprint(self._connection, None) if large_objects else None,
            )

    def _count(self, tables: Sequence[Counted], fingerprints: Mapping[tuple[str, str], str | None]) -> list[Table]:
        if not tables:
            return []
        with contextlib.closing(self._way.open(application="servicedb-restore-counts")) as connection, translated():
            return list(count(connection, tables, like=fingerprints))

    def differs(self, manifest: Manifest, run: str) -> None:
        """All rows are in, and something is otherwise: what is there is for a person to judge, and no run drops it."""
        with translated():
            mark(self._connection, Mark(manifest.key, run, differs=True))

    def end(self) -> None:
        """The restore is whole: take the mark away."""
        with translated():
            unmark(self._connection)
            self._connection.execute("SET client_min_messages = error")
            self._connection.execute("ANALYZE")

    def answers(self, assertion: Assertion) -> bool:
        """Whether the database answers as expected. A question that fails is answered otherwise."""
        try:
            with self._connection.transaction(force_rollback=True):
                self._connection.execute("SET TRANSACTION READ ONLY")
                self._connection.execute("SET LOCAL search_path TO DEFAULT")  # as who asks is used to
                given = self._connection.execute(assertion.sql.encode()).pgresult
        except psycopg.OperationalError as error:
            raise problem_of(error) from None
        except psycopg.Error:
            return False
        if given is None or not given.ntuples or not given.nfields:
            return False
        value = given.get_value(0, 0)
        return value is not None and value.decode() == assertion.expect


def _of_restore(left: Mark | None) -> str:
    if left is None:
        return ""
    if left.differs:
        return f", as it was restored from {left.key}, and it differs from that backup"
    by = f" by {left.run}" if left.run else ""
    return f", which another restore{f' of {left.key}{by}' if left.key else ''} left unfinished"


def _name(table: Counted) -> tuple[str, str]:
    return (table.relation.schema, table.relation.name)
