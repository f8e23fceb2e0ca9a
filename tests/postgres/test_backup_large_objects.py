"""What large objects hold is compared after a restore, not only how many there are."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servicedb.plan.backups.manifest import Manifest
from servicedb.postgres.backups.large_objects import fingerprint

from tests.postgres.dumped import Database, databases, folder
from tests.postgres.server import Server

PIECE = 1 << 20
LARGE = f"""
SELECT lo_from_bytea(0, convert_to('note ' || n, 'UTF8')) FROM generate_series(1, 50) n;
SELECT lo_from_bytea(4711, decode(repeat('ab', {2 * PIECE}), 'hex'));
SELECT lo_from_bytea(4712, decode(repeat('cd', {PIECE + 5}), 'hex'));
SELECT lo_from_bytea(4713, '');
"""


@pytest.fixture(scope="module")
def source(servers: Callable[[int], Server]) -> Iterator[Database]:
    with databases(servers(15)) as (made,):
        made.as_owner(LARGE)
        yield made


def changed(root: Path, key: str, content: str | None) -> None:
    """Write the manifest with another fingerprint of them; None: as an earlier release wrote it."""
    manifest = Manifest.parse((root / key).read_bytes(), key)
    other = manifest.model_copy(update={"large_objects_fingerprint": content})
    (root / key).write_bytes(other.as_bytes())


def test_they_are_compared_across_versions_and_what_is_otherwise_is_told(source, servers, tmp_path):
    store = folder(tmp_path)
    made = source.backed_up(store)
    assert made.outcome == "Succeeded"
    with databases(servers(18), servers(18), servers(18)) as (whole, other, unknown):
        assert whole.restored(store, made.key).outcome == "Succeeded"
        changed(tmp_path, made.key, "hash:1")
        differs = other.restored(store, made.key)
        assert (differs.outcome, differs.reason) == ("Terminal", "Mismatch")
        assert differs.mismatches == [
            "there are as many large objects, 53, but what they hold is otherwise: their fingerprint differs"
        ]
        changed(tmp_path, made.key, None)
        assert unknown.restored(store, made.key).outcome == "Succeeded"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("SELECT lo_put(4711, 5, '\\x00')", id="a byte"),
        pytest.param(f"SELECT lo_put(4711, {2 * PIECE - 1}, '\\x00')", id="the last byte of a full piece"),
        pytest.param(f"SELECT lo_put(4712, {PIECE + 4}, '\\x00')", id="a byte of the last piece"),
        pytest.param("SELECT lo_put(4713, 0, '\\x00')", id="what was empty"),
        pytest.param("SELECT lo_unlink(4713), lo_from_bytea(4714, '')", id="another number"),
    ],
)
def test_every_byte_counts(source, change):
    with source.as_superuser() as connection:
        before = fingerprint(connection, None)
        connection.execute(change.encode())
        after = fingerprint(connection, None)
    assert before != after
