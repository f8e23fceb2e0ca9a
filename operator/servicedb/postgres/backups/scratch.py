"""A scratch database on a server, with an owner of its own that is no more than that; both are dropped afterwards.

Who makes one holds a lock that its name gives, for as long as its session lasts. A run that is killed drops nothing;
the next one drops what nobody holds any more.
"""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final, LiteralString

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from servicedb.errors import Terminal
from servicedb.plan.backups.manifest import Extension
from servicedb.postgres.backups.extensions import make_missing
from servicedb.postgres.backups.session import translated
from servicedb.postgres.migrations.session import Connect, Guards, connect

_PREFIX: Final = "servicedb_verify_"
_TOKEN_BYTES: Final = 6
_KEYS: Final = 0x5DB << 48
"""The locks' keys begin with this; the rest is the name's own number."""

_MADE: LiteralString = """
SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ %(form)s
UNION SELECT datname FROM pg_catalog.pg_database WHERE datname ~ %(form)s
"""
_FORM: Final = f"^{_PREFIX}[0-9a-f]{{{2 * _TOKEN_BYTES}}}$"

# Of all databases: who holds one may have come by another.
_HELD: LiteralString = """
SELECT (classid::bigint << 32) | objid::bigint FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 1
"""


@contextlib.contextmanager
def scratch(admin: Connect, extensions: Sequence[Extension]) -> Iterator[Connect]:
    """The way to an empty database with `extensions`, as its owner. `admin` has CREATEDB and CREATEROLE."""
    name = f"{_PREFIX}{secrets.token_hex(_TOKEN_BYTES)}"
    password = secrets.token_urlsafe(24)
    role, database = sql.Identifier(name), sql.Identifier(name)
    with contextlib.closing(connect(admin, Guards(0, 0), application="servicedb-verify")) as connection:
        encrypted = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        try:
            with translated():
                _drop_abandoned(connection)
                connection.execute("SELECT pg_catalog.pg_advisory_lock(%s)", (_lock_of(name),))
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
                        role, sql.Literal(encrypted)
                    )
                )
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' OWNER {}").format(database, role)
                )
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            _make_extensions(admin, name, extensions)
            yield lambda: make_conninfo(admin(), user=name, password=password, dbname=name)
        finally:
            _drop(connection, name)


def _drop_abandoned(connection: Connection[Any]) -> None:
    """What runs have left that were killed. What somebody else made, who may not be acted for here, stays."""
    made = connection.execute(_MADE, {"form": _FORM}).fetchall()
    held = {key for (key,) in connection.execute(_HELD).fetchall()}  # after it: each is locked before it is made
    for (name,) in made:
        if _lock_of(name) not in held:
            _drop(connection, name)


def _lock_of(name: str) -> int:
    return _KEYS | int(name.removeprefix(_PREFIX), 16)


def _drop(connection: Connection[Any], name: str) -> None:
    for statement in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "DROP ROLE IF EXISTS {}"):
        with contextlib.suppress(psycopg.Error):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _make_extensions(admin: Connect, name: str, extensions: Sequence[Extension]) -> None:
    inside = connect(lambda: make_conninfo(admin(), dbname=name), Guards(0, 0), application="servicedb-verify")
    with contextlib.closing(inside) as connection, translated():
        failed = make_missing(connection, extensions, owner=name)
    if failed is not None:
        one, words = failed
        raise Terminal(
            "ExtensionMissing",
            f"the backup needs extension {one.name}, which can't be made on this server: {words}; have an admin "
            "install it, or verify on another server",
        )
