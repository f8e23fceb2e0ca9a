"""A source of migrations, told apart: what is a migration, a seed, a hook; and its digest."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servicedb.errors import Terminal
from servicedb.plan.migrations.formats import Migration, migrations
from servicedb.plan.migrations.script import Script, pieces, script
from servicedb.plan.migrations.sections import Format

SEEDS = "seeds/"


@dataclass(frozen=True, slots=True)
class Source:
    """Migrations in order, the scripts before and after them, and the files of each environment's seeds."""

    migrations: tuple[Migration, ...]
    before: tuple[Script, ...]
    after: tuple[Script, ...]
    seeds: Mapping[str, Mapping[str, bytes]]
    digest: str


def digest(files: Mapping[str, bytes]) -> str:
    """`sha256:` and the digest of all names and contents, byte for byte."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{len(name.encode())} {name} {hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def read_source(
    files: Mapping[str, bytes],
    *,
    format: Format = Format.AUTO,  # noqa: A002 - its name in the spec
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    seen: str | None = None,
) -> Source:
    """`files` are paths and contents; `seen` is their digest, or that of what they were unpacked from.

    Raises BadFile and Terminal for what can't be a source.
    """
    for name in (*before, *after):
        if name not in files:
            raise Terminal("MissingHook", f"the hook {name} is not in the source; put it there, or leave it out")
    seeds: dict[str, dict[str, bytes]] = {}
    rest = {}
    for path, content in files.items():
        if path.startswith(SEEDS) and path.count("/") >= 2:
            if path.endswith(".sql"):
                seeds.setdefault(path.split("/")[1], {})[path] = content
        elif path not in before and path not in after:
            rest[path] = content
    found = migrations(rest, format) if not seeds or any(path.endswith(".sql") for path in rest) else []
    return Source(tuple(found), _hooks(files, before), _hooks(files, after), seeds, seen or digest(files))


def _hooks(files: Mapping[str, bytes], names: Sequence[str]) -> tuple[Script, ...]:
    return tuple(script(pieces(files[name], file=name), file=name) for name in names)
