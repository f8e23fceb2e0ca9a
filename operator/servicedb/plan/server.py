"""What a DatabaseServer has to be before anything is made on it, and what an admin should know about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from servicedb.errors import NeedsDecision, Retryable, Terminal
from servicedb.naming import LOCK_DATABASE
from servicedb.plan.conditions import Finding

OLDEST, NEWEST = 15, 18
_LISTED = 5


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a look at a server as its admin showed. `version_number` is as in server_version_num.

    `public_databases` are those that any login may connect to; `lock_database_owner` is None where the operator's own
    database is not there yet; `admin_may_own_lock_database`: the admin is, or is a member of, its owner. `may_...`:
    what it may give to a login that reads everything (a superuser may anyhow).
    """

    version_number: int
    version: str
    in_recovery: bool
    system_identifier: str
    admin: str
    superuser: bool
    createrole: bool
    createdb: bool
    public_databases: Sequence[str] = ()
    lock_database_owner: str | None = None
    lock_database_open: bool = False
    admin_may_own_lock_database: bool = False
    may_grant_read_all_data: bool = False
    may_grant_bypassrls: bool = False
    may_set_lo_compat_privileges: bool = False


def check_server(facts: ServerFacts, *, server: str, known_identifier: str | None, acknowledged: str | None) -> None:
    """Raise the Problem that keeps `server` from being used. `acknowledged` is the annotation's value."""
    major = facts.version_number // 10_000
    if major < OLDEST:
        raise Terminal(
            "VersionNotSupported",
            f'server "{server}" runs PostgreSQL {facts.version}; servicedb needs {OLDEST} or newer: upgrade the server',
            condition="Authorized",
        )
    if known_identifier not in (None, facts.system_identifier) and acknowledged != facts.system_identifier:
        raise NeedsDecision(
            "ServerChanged",
            f'server "{server}" is another one than before: its system identifier was {known_identifier} and is now '
            f"{facts.system_identifier}; put the right server back, or, if the change is meant, annotate the "
            f'DatabaseServer with servicedb.io/acknowledge="{facts.system_identifier}"',
            condition="Reachable",
        )
    if facts.in_recovery:
        raise Retryable(
            "InRecovery",
            f'server "{server}" is in recovery (a standby, or starting up); if it stays so, point '
            "spec.host at the primary",
            condition="Reachable",
            ready="Unknown",
        )
    missing = [] if facts.superuser else _missing_attributes(facts)
    if missing:
        raise Terminal(
            "AdminLacksPrivilege",
            f'the admin "{facts.admin}" on server "{server}" lacks {" and ".join(missing)}; have a DBA run: '
            f'ALTER ROLE "{facts.admin}" {" ".join(missing)}; (`servicedb server-sql` prints all that is needed)',
            condition="Authorized",
        )
    if LOCK_DATABASE in facts.public_databases:
        raise Terminal(
            "LockDatabaseOpen",
            f'every login may connect to database "{LOCK_DATABASE}" on server "{server}", where it could hold up the '
            f'operator\'s locks; have a DBA run: REVOKE ALL ON DATABASE "{LOCK_DATABASE}" FROM PUBLIC; or rename that '
            "database if servicedb did not make it",
            condition="Authorized",
        )
    if facts.lock_database_owner is not None and not (facts.superuser or facts.admin_may_own_lock_database):
        raise Terminal(
            "LockDatabaseTaken",
            f'database "{LOCK_DATABASE}" on server "{server}" belongs to "{facts.lock_database_owner}", and the admin '
            f'"{facts.admin}" is no member of it; have a DBA run: GRANT "{facts.lock_database_owner}" TO '
            f'"{facts.admin}"; or rename that database if servicedb did not make it',
            condition="Authorized",
        )


def _missing_attributes(facts: ServerFacts) -> list[str]:
    return [name for name, held in (("CREATEROLE", facts.createrole), ("CREATEDB", facts.createdb)) if not held]


def findings(facts: ServerFacts, *, plaintext_refused: bool | str | None) -> Iterator[Finding]:
    """The conditions of a server that can be used. `plaintext_refused` is None where TLS is not asked
    for, and a sentence where it could not be told."""
    yield Finding("Reachable", "True", "Connected")
    yield Finding("Authorized", "True", "Superuser" if facts.superuser else "CreateRoleAndDatabase")
    match plaintext_refused:
        case True:
            yield Finding("TLSEnforced", "True", "PlaintextRefused")
        case False:
            yield Finding(
                "TLSEnforced",
                "False",
                "PlaintextAccepted",
                "a login without TLS was accepted; use hostssl instead of host in the server's pg_hba.conf",
            )
        case str(words):
            yield Finding("TLSEnforced", "Unknown", "NotTried", f"a login without TLS could not be tried: {words}")
        case None:
            yield Finding(
                "TLSEnforced", "False", "Disabled", "spec.tls.mode is Disable: credentials' sessions are plain"
            )
    if facts.public_databases:
        listed = ", ".join(facts.public_databases[:_LISTED]) + (
            " and more" if len(facts.public_databases) > _LISTED else ""
        )
        yield Finding(
            "Hardened",
            "False",
            "PublicConnect",
            f"every login may connect to: {listed}; have a DBA run "
            "REVOKE CONNECT, TEMPORARY ON DATABASE ... FROM PUBLIC for each",
        )
    else:
        yield Finding("Hardened", "True", "NoPublicConnect")
