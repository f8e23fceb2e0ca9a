"""Histories of other tools: where each keeps them, and what of them is taken over."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from servicedb.errors import Terminal
from servicedb.plan.migrations.formats import Migration
from servicedb.plan.migrations.history import Applied
from servicedb.plan.migrations.versions import Version

_LEADING = re.compile(r"^([0-9]+)_[^0-9].*$")
"""Entity Framework keeps 20240131120000_Name as one text."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A table with a history, and its columns. Of several rows for one version the last by `order` counts.

    `applied` is true where it stands, `dirty` where it was left half done, `clean` where it was not. `kind` is Flyway's
    type of a row. `latest_only`: one row with the version that the database is at.
    """

    table: str
    version: str
    name: str | None = None
    order: str | None = None
    applied: str | None = None
    dirty: str | None = None
    clean: str | None = None
    kind: str | None = None
    latest_only: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What such a table says of one version."""

    version: str | None
    name: str | None = None
    applied: bool = True
    kind: str | None = None


KNOWN = {
    "Flyway": Foreign(
        "flyway_schema_history", "version", name="description", order="installed_rank", clean="success", kind="type"
    ),
    "GolangMigrate": Foreign("schema_migrations", "version", dirty="dirty", latest_only=True),
    "Goose": Foreign("goose_db_version", "version_id", order="id", applied="is_applied"),
    "Dbmate": Foreign("schema_migrations", "version"),
    "EntityFramework": Foreign("__EFMigrationsHistory", "MigrationId"),
}
"""By the name in spec.adoptHistory.format; Table names its columns itself."""


def foreign(
    format: str,  # noqa: A002 - its name in the spec
    *,
    table: str | None = None,
    version_column: str | None = None,
    name_column: str | None = None,
) -> Foreign:
    """The history of a tool, in its own table or in `table`; of Table, that with these columns.

    Raises ValueError where the one needs a column that is not named, or another has one that is.
    """
    if format == "Table":
        if table is None or version_column is None:
            raise ValueError("a Table needs its name, and the column with the version")
        return Foreign(table, version_column, name=name_column)
    if version_column is not None or name_column is not None:
        raise ValueError(f"the columns of {format} are known; name them only for a Table")
    return KNOWN[format] if table is None else replace(KNOWN[format], table=table)


def taken_over(rows: Iterable[Row], foreign: Foreign, source: Sequence[Migration]) -> list[Applied]:
    """The migrations that `rows` say were applied, as a history of ours has them, in order.

    What has a file in `source` gets its checksum and its way back. Raises Terminal for a version that can't be read.
    """
    by_key = {migration.key: migration for migration in source if migration.version is not None}
    found: dict[Version, str] = {}
    for row in rows:
        # Flyway's repeatable ones have no version: they are run again once.
        if not row.version or not row.applied or (row.kind or "").startswith("UNDO"):
            continue
        try:
            version = Version.parse(_LEADING.sub(r"\1", row.version))
        except ValueError as error:
            raise Terminal("UnreadableHistory", f"{foreign.table}: {error}; name the table's columns") from error
        if version.numbers == (0,):
            continue  # goose's own first row
        found[version] = row.name or ""
        if foreign.latest_only or row.kind == "BASELINE":
            known = (migration.version for migration in by_key.values())
            found = {one: "" for one in known if one is not None and one <= version} | found
    return [_applied(version, found[version], by_key.get(str(version))) for version in sorted(found)]


def _applied(version: Version, name: str, migration: Migration | None) -> Applied:
    key = str(version)
    if migration is None:
        return Applied(key, name or "taken over", "", None)
    try:
        down = migration.down
    except Terminal:  # what another tool ran may hold what is refused here; then there is no way back
        down = None
    return Applied(
        key,
        migration.name,
        migration.file,
        migration.checksum,
        down=down.text if down else None,
        down_in_transaction=down.in_transaction if down else True,
    )
