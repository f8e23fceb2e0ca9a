"""A database with every kind of object, backed up and restored: on each version, and from each to the next."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyrage import x25519

from tests.postgres.dumped import Database, folder
from tests.postgres.everything import EVERYTHING
from tests.postgres.server import Server

WAYS = [(15, 15), (16, 16), (18, 18), (15, 16), (16, 18), (15, 18)]


@pytest.fixture(scope="module")
def everything(servers: Callable[[int], Server]) -> Iterator[Callable[[int], Database]]:
    """Gives the database with everything on a server of a version."""
    made: dict[int, Database] = {}

    def on(version: int) -> Database:
        if version not in made:
            made[version] = Database.new(servers(version))
            made[version].as_owner(EVERYTHING.format(n=made[version].name))
        return made[version]

    yield on
    for one in made.values():
        one.drop()


def privileges(database: Database) -> list[str]:
    """Every privilege on every object, without names of roles of this database, owners' own MAINTAIN left out: it came
    with 17."""
    rows = database.rows(
        """
        SELECT i.type, i.identity, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
               a.privilege_type, a.is_grantable
        FROM (SELECT 'pg_class'::regclass AS class, oid, 0 AS part, coalesce(relacl, acldefault('r', relowner)) AS acl
              FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace >= 2200
              UNION ALL SELECT 'pg_class'::regclass, oid, 0, coalesce(relacl, acldefault('s', relowner))
              FROM pg_class WHERE relkind = 'S' AND relnamespace >= 2200
              UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, attacl FROM pg_attribute WHERE attrelid >= 16384
              UNION ALL SELECT 'pg_proc'::regclass, oid, 0, coalesce(proacl, acldefault('f', proowner))
              FROM pg_proc WHERE oid >= 16384
              UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspacl FROM pg_namespace
              WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
              UNION ALL SELECT 'pg_largeobject'::regclass, oid, 0, coalesce(lomacl, acldefault('L', lomowner))
              FROM pg_largeobject_metadata) o,
             aclexplode(o.acl) a, pg_identify_object(o.class, o.oid, o.part) i
        WHERE a.privilege_type <> 'MAINTAIN' AND i.identity !~ 'information_schema'
        """
    )
    return sorted(str(row).replace(f"{database.name}__", "__") for row in rows)


@pytest.mark.parametrize(("old", "new"), WAYS, ids=[f"pg{old}-to-pg{new}" for old, new in WAYS])
def test_everything_comes_back(everything, servers, tmp_path: Path, old, new):
    source = everything(old)
    key = x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"# a comment\n{key}\n")
    store = folder(tmp_path / "store")
    made = source.backed_up(store, recipients=(str(key.to_public()),), parallel=3)
    assert (made.outcome, made.message, made.not_included) == ("Succeeded", "", [])
    target = Database.new(servers(new))
    restored = target.restored(store, made.key, identity=tmp_path / "identity")
    assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])
    assert target.contents() == source.contents()
    assert target.schema(queries=old == new) == source.schema(queries=old == new)
    assert privileges(target) == privileges(source)
    owners = "SELECT DISTINCT lomowner::regrole::text FROM pg_largeobject_metadata"
    assert target.value(owners) == f"{target.name}__owner"
    again = target.restored(store, made.key, identity=tmp_path / "identity")
    assert (again.outcome, again.reason) == ("Terminal", "NotEmpty")
    target.drop()
