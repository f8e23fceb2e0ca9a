"""How the login for backups reads: everything on its own account where that is safe and can be had, else as the owner.

Membership of pg_read_all_data and BYPASSRLS hold in every database of a server, so nobody has them as long as any login
can connect to some database that is not its own.
Sources: PostgreSQL documentation, "Predefined Roles", CREATE ROLE (BYPASSRLS), "Developer Options" and
"Version and Platform Compatibility" (lo_compat_privileges).
"""

from dataclasses import dataclass

from servicedb.plan.server import ServerFacts
from servicedb.plan.wanted import Access

_LISTED = 3


@dataclass(frozen=True, slots=True)
class BackupAccess:
    """`message` says what the login does not read, and how that could be changed; "" where it reads everything."""

    access: Access
    message: str = ""

    @property
    def reads(self) -> str:
        """As status.backupAccess has it."""
        return "AllData" if self.access is Access.ALL_DATA else "AsOwner"

    def as_json(self) -> dict[str, str]:
        return {"reads": self.reads, **({"message": self.message} if self.message else {})}


def backup_access(facts: ServerFacts) -> BackupAccess:
    """The better of both ways that the server allows."""
    if facts.public_databases:
        names = ", ".join(facts.public_databases[:_LISTED]) + (", ..." if len(facts.public_databases) > _LISTED else "")
        return _as_owner(
            f"any login may connect to {names}, so no login may read what is everybody's on that server; have a DBA "
            "revoke CONNECT there from PUBLIC"
        )
    lacking = [] if facts.superuser else _lacking(facts)
    if lacking:
        return _as_owner(
            f"the admin may not give away {', '.join(lacking)}; `servicedb server-sql` prints what a DBA has to run"
            + (", which PostgreSQL 15 leaves to superusers" if facts.version_number < 16_00_00 else "")
        )
    return BackupAccess(Access.ALL_DATA)


def _as_owner(why: str) -> BackupAccess:
    return BackupAccess(
        Access.OWNER,
        f"backups read as the owner role: a table or large object that belongs to another role, or a table with "
        f"FORCE ROW LEVEL SECURITY, fails them; {why}",
    )


def _lacking(facts: ServerFacts) -> list[str]:
    may = {
        "pg_read_all_data": facts.may_grant_read_all_data,
        "BYPASSRLS": facts.may_grant_bypassrls,
        "SET ON PARAMETER lo_compat_privileges": facts.may_set_lo_compat_privileges,
    }
    return [what for what, it_may in may.items() if not it_may]
