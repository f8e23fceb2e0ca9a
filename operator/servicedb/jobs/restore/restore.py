"""A restore from begin to end: into an empty database, as a role that owns it and is no more, and compared.

What comes before the rows, then the rows of several parts at once, then what comes after them: indexes of several
tables at once, and the rest. Whatever goes wrong ends it, and nothing half restored counts as done.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from servicedb.errors import Problem, Terminal
from servicedb.jobs.backup.stream import Failure
from servicedb.jobs.encoding import identities
from servicedb.jobs.progress import SILENT, Progress
from servicedb.jobs.restore.backup import Backup
from servicedb.jobs.restore.request import Request, Result
from servicedb.jobs.restore.script import Scripts
from servicedb.plan.backups.comparison import Restored, Scope, faults, notes
from servicedb.plan.backups.keys import REST
from servicedb.plan.backups.manifest import Manifest, ManifestPart, Table
from servicedb.plan.backups.objects import Objects
from servicedb.plan.backups.selection import Selection, select
from servicedb.plan.backups.toc import Entry, by_table, entries, wanted
from servicedb.postgres.backups.programs import access, programs
from servicedb.postgres.backups.session import Way
from servicedb.postgres.backups.target import APPLICATION, Target
from servicedb.postgres.migrations.session import Connect
from servicedb.store.interface import Store

_PRE, _DATA, _POST = "--section=pre-data", "--section=data", "--section=post-data"

_LOCKS_OF_A_TABLE = 3
"""While its rows are loaded: its own, and those of its TOAST table and that one's index."""


def restore(request: Request, connect_to: Connect, store: Store, progress: Progress = SILENT) -> Result:
    """Restore a backup. Never raises a Problem: the result holds it.

    `connect_to` gives a connection string before each connect. Privileges that stand for nobody here are mismatches,
    and no failure; a row or an object that is missing is one.
    """
    result = Result(action="restore", key=request.key)
    begun = time.monotonic()
    try:
        backup = opened(request, store, result)
        way = Way(connect_to, request.as_role)
        with Target.open(way, wait=request.wait, tell=progress.tell) as target:
            begun = time.monotonic()
            loaded = load(request, backup, target, connect_to, progress)
            compare(request, backup, loaded, target, result)
            target.end()
        result.reason = "Restored"
    except Problem as problem:
        result.failed_with(problem)
    result.seconds = round(time.monotonic() - begun, 3)
    return result


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was restored: what the backup knows of it and of its objects, the rows that are here, and what was left out
    or stands for nobody here."""

    manifest: Manifest
    objects: Objects
    rows: Sequence[Table]
    lost: Sequence[str]


def opened(request: Request, store: Store, result: Result) -> Backup:
    """The backup, once every part of it is known to be there. Raises Problem."""
    keys = identities(request.identity) if request.identity is not None else []
    backup = Backup(store, request.key, keys)
    result.manifest_digest = backup.digest
    result.not_included = list(backup.manifest.not_included)
    backup.check_parts()
    return backup


def load(request: Request, backup: Backup, target: Target, connect_to: Connect, progress: Progress) -> Loaded:
    """Everything that the backup holds.

    Nothing is changed before the target was found fit, and the small parts whole.
    """
    found = programs(request.programs)
    found.check_dump(backup.manifest.dump_version)
    scripts = Scripts(
        found, access(connect_to(), application=APPLICATION), request.as_role, target.standing.server_version
    )
    selection = None
    manifest, schemas = backup.manifest, request.schemas
    if request.tables:
        schema, objects = backup.schema(), backup.objects()
        listed = entries(scripts.listing([schema], "--verbose"))
        selection = select(listed, objects, request.tables, schemas)
    target.begin(backup.manifest, request.run, progress.tell)
    schema, objects = backup.schema(), backup.objects()
    asked = objects.within(request.schemas)
    target.make_extensions(backup.manifest.extensions)
    if selection is not None:
        manifest, asked, schemas = selection.of_manifest(manifest, objects), selection.of(objects), ()
    target.make_schemas(schemas)
    target.check_wrappers(asked.wrappers)
    loading = _Loading(
        request, backup, target, scripts, progress, manifest, [f"--schema={one}" for one in schemas], selection
    )
    rows = loading.run(schema, objects)
    lost = target.give_back(manifest, asked, target.names(manifest, request.roles))
    left_out = selection.left_out if selection is not None else ()
    return Loaded(manifest, asked if selection is not None else objects, rows, (*left_out, *lost))


def compare(request: Request, backup: Backup, loaded: Loaded, target: Target, result: Result) -> None:
    """Note what is otherwise. Raises Terminal where anything is missing."""
    scope = Scope(frozenset(request.schemas), tables=bool(request.tables))
    is_whole = not request.schemas and not request.tables
    fingerprinted = is_whole and loaded.manifest.large_objects_fingerprint is not None
    restored = target.look(loaded.rows, large_objects=fingerprinted)
    wrong = faults(loaded.manifest, loaded.objects, restored, scope)
    _note(result, restored, [*wrong, *loaded.lost, *notes(loaded.manifest, loaded.objects, restored, scope)])
    if wrong:
        target.differs(backup.manifest, request.run)
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise Terminal(
            "Mismatch", f"what was restored is not what was backed up: {wrong[0]}{more}; restore another backup"
        )


def _note(result: Result, restored: Restored, mismatches: Sequence[str]) -> None:
    result.rows = sum(table.rows for table in restored.tables)
    result.mismatches = list(mismatches)
    result.mismatch_count = len(mismatches)


@dataclass(slots=True)
class _Loading:
    request: Request
    backup: Backup
    target: Target
    scripts: Scripts
    progress: Progress
    manifest: Manifest
    schemas: Sequence[str]
    selection: Selection | None
    failure: Failure = field(default_factory=Failure)

    def run(self, schema: bytes, objects: Objects) -> Sequence[Table]:
        schemas = self.target.schemas()
        names = self.target.names(self.backup.manifest, self.request.roles)
        listed = {
            section: self._chosen(wanted(self._listed(schema, section), objects, schemas, names))
            for section in (_PRE, _POST)
        }
        self.progress.begin(sum(part.raw_bytes for part in self.backup.manifest.parts))
        self.progress.tell("restoring tables, types and functions")
        self._run("schema", schema, _PRE, listed[_PRE])
        self.progress.tell("restoring rows")
        self._together([self._loading(part) for part in (*self.backup.data_parts, self.backup.part(REST))])
        if self.selection is not None:  # in a part they are known by their names alone
            self.target.set_sequences(self.manifest.sequences)
        # Before row-level security counts: where it is forced it hides rows from the owner, too.
        rows = self.target.counts(self.manifest.tables, self.request.parallel)
        self.progress.tell("restoring indexes, keys and the rest")
        tables = {one.oid: one.table for one in objects.objects if one.table is not None}
        groups, rest = by_table(listed[_POST], tables, self.request.parallel)
        self._together([self._indexing(schema, group) for group in groups])
        self._run("schema", schema, _POST, rest)
        return rows

    def _listed(self, schema: bytes, section: str) -> Sequence[Entry]:
        return entries(self.scripts.listing([schema], section, "--verbose"))

    def _chosen(self, listed: Sequence[Entry]) -> Sequence[Entry]:
        return listed if self.selection is None else [one for one in listed if one.id in self.selection.entries]

    def _run(self, name: str, schema: bytes, section: str, chosen: Sequence[Entry]) -> None:
        lines = [entry.line for entry in chosen]
        if lines:
            self.scripts.run(name, [schema], section, *self.schemas, lines=lines, on_start=self.failure.on_failure)

    def _indexing(self, schema: bytes, group: Sequence[Entry]) -> Callable[[], None]:
        return lambda: self._run("schema", schema, _POST, group)

    def _loading(self, part: ManifestPart) -> Callable[[], None]:
        return lambda: self._load(part)

    def _load(self, part: ManifestPart) -> None:
        lines = None
        if self.selection is not None:
            tables = self.selection.tables
            listed = entries(self.scripts.listing(self.backup.read(part), _DATA))
            lines = [one.line for one in listed if one.what.startswith("TABLE DATA ") and one.oid in tables]
            if not lines:
                return
        elif part.name == REST:
            listed = entries(self.scripts.listing(self.backup.read(part), _DATA))
            # Rows of an extension's table: it is the extension's owner who may insert them.
            lines = [entry.line for entry in listed if not entry.what.startswith("TABLE DATA ")]
            if not lines:
                return
        locks = _LOCKS_OF_A_TABLE * len(self.backup.manifest.tables)
        together = locks * self.request.parallel < self.target.standing.lock_room
        if not together:
            self.backup.check_part(part)  # its rows come to stay as they are loaded: it has to be whole before
        self.scripts.run(
            part.name,
            self.backup.read(part),
            _DATA,
            *self.schemas,
            lines=lines,
            one_transaction=together,
            progress=self.progress.add,
            on_start=self.failure.on_failure,
        )

    def _together(self, works: Sequence[Callable[[], None]]) -> None:
        """Several at once. The first that fails ends the others, and is raised."""

        def one(work: Callable[[], None]) -> None:
            if self.failure.is_set:
                return
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised below, when all have ended
                self.failure.set(error)

        try:
            with ThreadPoolExecutor(self.request.parallel) as pool:
                list(pool.map(one, works))
        except BaseException as error:
            self.failure.set(error)
            raise
        self.failure.check()
