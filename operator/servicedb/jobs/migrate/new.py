"""The files of a new migration."""

import re
from datetime import UTC, datetime
from pathlib import Path

from servicedb.errors import Terminal
from servicedb.jobs.migrate.folder import read_folder
from servicedb.plan.migrations.formats import format_of
from servicedb.plan.migrations.sections import Format

_TEXTS = {
    Format.FLYWAY: {"V{version}__{name}.sql": "", "U{version}__{name}.sql": ""},
    Format.GOLANG_MIGRATE: {"{version}_{name}.up.sql": "", "{version}_{name}.down.sql": ""},
    Format.GOOSE: {"{version}_{name}.sql": "-- +goose Up\n\n-- +goose Down\n"},
    Format.DBMATE: {"{version}_{name}.sql": "-- migrate:up\n\n-- migrate:down\n"},
    Format.PLAIN: {"{version}_{name}.sql": "\n-- servicedb: down\n"},
}


def new_migration(folder: Path, name: str, format: Format) -> list[Path]:  # noqa: A002 - its name in the spec
    """Write them, in the format of those that are there, and give their paths. Raises Terminal."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not plain:
        raise Terminal("BadName", f'"{name}" has no letter or digit to name files by; choose another')
    folder.mkdir(parents=True, exist_ok=True)
    found = format_of(read_folder(folder)) if format is Format.AUTO else format
    version = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    paths = []
    for pattern, text in _TEXTS[found].items():
        path = folder / pattern.format(version=version, name=plain)
        with path.open("x") as file:
            file.write(text)
        paths.append(path)
    return paths
