"""A scratch database on a server, with an owner of its own that is no more than that; both are dropped afterwards."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from servicedb.errors import Terminal
from servicedb.plan.backups.manifest import Extension
from servicedb.postgres.backups.extensions import make_missing
from servicedb.postgres.backups.session import translated
from servicedb.postgres.migrations.session import Connect, Guards, connect

_PREFIX = "servicedb_verify"


@contextlib.contextmanager
def scratch(admin: Connect, extensions: Sequence[Extension]) -> Iterator[Connect]:
    """The way to an empty database with `extensions`, as its owner. `admin` has CREATEDB and CREATEROLE."""
    name = f"{_PREFIX}_{secrets.token_hex(6)}"
    password = secrets.token_urlsafe(24)
    role, database = sql.Identifier(name), sql.Identifier(name)
    with contextlib.closing(connect(admin, Guards(0, 0), application="servicedb-verify")) as connection:
        encrypted = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        try:
            with translated():
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
            with contextlib.suppress(psycopg.Error):
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            with contextlib.suppress(psycopg.Error):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))


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
