"""Connections to PostgreSQL: how the operator logs in, and what a failure of it means.

Every session pins what a tenant could otherwise set for it: startup options beat ALTER DATABASE ... SET and
ALTER ROLE ... SET, so a hostile search_path never reaches an administrator's statement.
"""

import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import Diagnostic
from pydantic import SecretStr

from servicedb.errors import Busy, Problem, Retryable, Terminal

_PINNED = " ".join(
    f"-c {setting}"
    for setting in (
        "search_path=pg_catalog",
        "row_security=off",
        "statement_timeout=60000",
        "lock_timeout=5000",
        "idle_in_transaction_session_timeout=60000",
        "default_transaction_read_only=off",
        "role=none",
    )
)
_WITHOUT_EFFECT = frozenset({"01000", "01006", "01007"})
"""Warnings of a GRANT or REVOKE that did nothing. Source: PostgreSQL documentation, "PostgreSQL Error Codes"."""

_BUSY = ("40", "53", "55", "57014", "23505", "42710", "42P04", "XX000")
_UNREACHABLE = ("08", "57")
_PRIVILEGE = ("42501", "0LP01", "28000")
_REFUSED = ("0A", "22", "42")
"""SQLSTATEs, whole or by their class (two characters): psycopg's exceptions have no common base for a class."""

_AT_LOGIN = (
    (
        "certificate verify failed",
        "CertificateRejected",
        "shows a certificate that has expired, or is of another authority than spec.tls names",
    ),
    ("server certificate for", "CertificateRejected", "shows a certificate for another host name"),
    ("server does not support SSL", "TLSNotSupported", "does not offer TLS; set it up there, or change spec.tls.mode"),
    ("authentication method requirement", "AuthenticationTooWeak", "does not use SCRAM-SHA-256 for the admin"),
    ("FATAL:", "LoginRefused", "refuses the admin's login; check adminSecretRef and pg_hba.conf"),
)
"""What libpq's own (never translated) words at login mean; a failed login carries no SQLSTATE."""

_ADDRESS = re.compile(r'^(connection failed: )?(connection to server at ".*", port \d+ failed: )?')

_SSLMODES = {"Disable": "disable", "Require": "require", "VerifyCA": "verify-ca", "VerifyFull": "verify-full"}

_NOT_YET = ("the database system is", "too many connections", "remaining connection slots")


@dataclass(frozen=True, slots=True)
class Tls:
    """`mode` as in DatabaseServer.spec.tls.mode; `ca_file` a path, None for the system's roots."""

    mode: str
    ca_file: str | None = None
    min_version: str = "1.2"

    @property
    def sslmode(self) -> str:
        """As libpq names it. Source: PostgreSQL documentation, "SSL Support", "Client Verification"."""
        return _SSLMODES[self.mode]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server answers, and who may be believed to be it. `name` is the DatabaseServer's, for messages."""

    name: str
    host: str
    port: int
    tls: Tls

    def __str__(self) -> str:
        return f'server "{self.name}" ({self.host}:{self.port})'


def system_roots() -> str:
    """The authorities that the system trusts. psycopg's binary wheels look for them where no system keeps them."""
    paths = ssl.get_default_verify_paths()
    candidates = (os.environ.get(paths.openssl_cafile_env), paths.openssl_cafile, *_BUNDLES)
    return next((path for path in candidates if path and Path(path).is_file()), "system")


_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class WithoutEffect(Exception):
    """A GRANT or REVOKE that PostgreSQL accepted with a warning and did not carry out."""


@dataclass(frozen=True, slots=True)
class Account:
    """A login name with its password."""

    user: str
    password: SecretStr


async def connect(
    endpoint: Endpoint, account: Account, database: str, *, application_name: str = "servicedb", pinned: bool = True
) -> AsyncConnection[Any]:
    """An autocommit connection. `pinned` False is for logging in just as an application does.

    Raises psycopg.OperationalError; `translated` says what it means.
    """
    tls = endpoint.tls
    arguments: dict[str, Any] = {
        "host": endpoint.host,
        "port": endpoint.port,
        "user": account.user,
        "password": account.password.get_secret_value(),
        "dbname": database,
        "sslmode": tls.sslmode,
        "gssencmode": "disable",
        "require_auth": "scram-sha-256",
        "connect_timeout": 10,
        "application_name": application_name,
        "keepalives_idle": 30,
        "tcp_user_timeout": 30_000,
        "passfile": "/nonexistent",
        "client_encoding": "UTF8",
    }
    if tls.mode != "Disable":
        arguments["ssl_min_protocol_version"] = f"TLSv{tls.min_version}"
        arguments["sslrootcert"] = tls.ca_file or (system_roots() if tls.mode == "VerifyFull" else "/nonexistent")
    if pinned:
        arguments["options"] = _PINNED
    connection = await AsyncConnection.connect(**arguments, autocommit=True, prepare_threshold=None)
    connection.add_notice_handler(lambda diagnostic: _notices.append(connection, diagnostic))
    return connection


class _Notices:
    """The warnings of each connection's running transaction."""

    def __init__(self) -> None:
        self._seen: dict[int, list[str]] = {}

    def append(self, connection: AsyncConnection[Any], diagnostic: Diagnostic) -> None:
        if diagnostic.sqlstate in _WITHOUT_EFFECT and id(connection) in self._seen:
            self._seen[id(connection)].append(diagnostic.message_primary or "no details")

    @contextlib.contextmanager
    def watched(self, connection: AsyncConnection[Any]) -> Iterator[list[str]]:
        warnings: list[str] = []
        self._seen[id(connection)] = warnings
        try:
            yield warnings
        finally:
            del self._seen[id(connection)]


_notices = _Notices()


@contextlib.asynccontextmanager
async def transaction(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """A transaction that rolls back when a GRANT or REVOKE in it was accepted without any effect."""
    with _notices.watched(connection) as warnings:
        async with connection.transaction():
            yield
            if warnings:
                raise WithoutEffect(warnings[0])


@contextlib.contextmanager
def translated(endpoint: Endpoint) -> Iterator[None]:
    """Turn psycopg's exceptions into a Problem that names the server, without the statement: it may hold a verifier."""
    try:
        yield
    except Problem:
        raise
    except WithoutEffect as warning:
        raise Terminal(
            "InsufficientPrivilege",
            f"{endpoint} accepted a GRANT or REVOKE without any effect: {warning}; another role granted it, "
            "most likely, and the admin may not take it away: have a superuser revoke it",
        ) from None
    except psycopg.Error as error:
        raise problem_of(error, endpoint) from None


def problem_of(error: psycopg.Error, endpoint: Endpoint) -> Problem:
    """The class and sentence of a failed statement or connection. SQLSTATEs: "PostgreSQL Error Codes"."""
    message = words_of(error)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        for sign, reason, what in _AT_LOGIN:
            if sign in str(error) and not any(words in message for words in _NOT_YET):
                return Terminal(reason, f"{endpoint} {what}: {message}", condition="Reachable")
    code = error.sqlstate
    if code is not None and code.startswith(_BUSY):
        return Busy("ServerBusy", f"{endpoint} could not do it now: {message}")
    if code is None or code.startswith(_UNREACHABLE):
        return Retryable(
            "ServerUnreachable", f"{endpoint} can't be reached: {message}", condition="Reachable", ready="Unknown"
        )
    if code.startswith(_PRIVILEGE):
        return Terminal(
            "InsufficientPrivilege",
            f"{endpoint} refuses the admin: {message}; `servicedb server-sql` prints what a DBA has to run once",
        )
    if code.startswith(_REFUSED):
        return Terminal("RefusedByServer", f"{endpoint} refuses what the spec asks for: {message} ({code})")
    return Retryable("ServerError", f"{endpoint} answered with an error: {message} ({code})")


def words_of(error: psycopg.Error) -> str:
    """The server's or libpq's sentence, without the address, which ours name already. No password stands in it."""
    text = error.diag.message_primary or str(error)
    first = next(iter(text.strip().splitlines()), "").strip()  # the rest of libpq's is advice
    return _ADDRESS.sub("", first) or type(error).__name__
