"""A fingerprint of all large objects: the same wherever they stand, as long as their contents are.

Source: PostgreSQL documentation, "Large Objects", "Server-Side Functions".
"""

from typing import Any, Final, LiteralString

from psycopg import Connection

from servicedb.postgres.backups.counts import HASHED, in_snapshot

MOST_BYTES: Final = 64 << 30
"""Where there are more, they are counted only."""

_PIECE_BYTES: Final = 1 << 20

# In pieces: one of them may be of terabytes. A full piece may have another one behind it.
_FINGERPRINT: LiteralString = """
WITH RECURSIVE pieces (oid, start, bytes, hash) AS (
    SELECT m.oid, 0::int8, p.bytes, p.hash
    FROM pg_catalog.pg_largeobject_metadata m,
         LATERAL (SELECT length(piece), hash_record_extended(ROW(m.oid::int8, 0::int8, piece), 0)
                  FROM pg_catalog.lo_get(m.oid, 0, %(size)s) AS piece) AS p (bytes, hash)
    UNION ALL
    SELECT o.oid, o.start + %(size)s, p.bytes, p.hash
    FROM pieces o,
         LATERAL (SELECT length(piece), hash_record_extended(ROW(o.oid::int8, o.start + %(size)s, piece), 0)
                  FROM pg_catalog.lo_get(o.oid, o.start + %(size)s, %(size)s) AS piece) AS p (bytes, hash)
    WHERE o.bytes = %(size)s)
SELECT coalesce(sum(hash), 0)::text FROM pieces
"""


def fingerprint(connection: Connection[Any], snapshot: str | None) -> str:
    """Of those at `snapshot` (None: now)."""
    with in_snapshot(connection, snapshot):
        row = connection.execute(_FINGERPRINT, {"size": _PIECE_BYTES}).fetchone()
    assert row is not None
    return f"{HASHED}{row[0]}"
