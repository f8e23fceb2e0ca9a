"""Dropping a database for good: when it falls due, what is looked at before, and in which order its roles go.

A database is dropped only with the OID that its marker knows, and only whole, with its roles: where one of them holds
something elsewhere that may be worth keeping, nothing is dropped at all until a person has looked at it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from servicedb.api.database_server import Adoptable
from servicedb.api.strings import Duration
from servicedb.errors import NeedsDecision
from servicedb.naming import RoleNames
from servicedb.plan.holdings import Holding, what_is_kept
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Database, Role, ServerScan

_LISTED = 5


def due_at(marker: Marker) -> datetime | None:
    """When the grace of a deleted database is over; None: never, as with a time or a duration that can't be read."""
    if marker.deleted_at is None or marker.policy != "Delete":
        return None
    try:
        deleted_at = datetime.fromisoformat(marker.deleted_at)
        due = deleted_at + Duration(marker.grace).timedelta
    except (ValueError, OverflowError):
        return None
    return due.astimezone(UTC) if due.tzinfo is not None else None


def is_due(marker: Marker, *clocks: datetime) -> bool:
    """Whether the grace is over by every one of `clocks`: one of them may have been set wrong, or be so now."""
    due = due_at(marker)
    return due is not None and bool(clocks) and min(clocks) >= due


def check_is_ours(database: str, marker: Marker, seen: ServerScan, *, server: str) -> None:
    """Raise NeedsDecision when what stands under the name is not for certain what the marker speaks of."""
    there = seen.databases.get(database)
    elsewhere = seen.database_with_oid(marker.oid) if marker.oid is not None else None
    if elsewhere is not None and elsewhere.name != database:
        raise NeedsDecision(
            "DropBlocked",
            f'database "{database}" on server "{server}" was to be dropped, but is now named "{elsewhere.name}" '
            f"(OID {marker.oid}): nothing of it is dropped until it has its name back, or is dropped by an admin",
        )
    if there is None:
        return
    never_opened = marker.oid is None and not there.allow_connections and there.owner == seen.admin
    if there.oid != marker.oid and not never_opened:
        raise NeedsDecision(
            "DropBlocked",
            f'database "{database}" on server "{server}" was to be dropped, but has OID {there.oid}, not '
            f"{marker.oid}: somebody made another under its name, which is left alone; have an admin rename that one",
        )


def check_is_not_shared(database: str, marker: Marker, adoptable: Iterable[Adoptable], *, server: str) -> None:
    """Raise NeedsDecision while those who had the database before it was adopted may go on using it: nobody has told
    them that its object is gone."""
    listed = any(entry.lets(marker.namespace, marker.name, take_over=database) for entry in adoptable)
    if marker.shared_with is not None and listed:
        roles = ", ".join(f'"{role}"' for role in marker.shared_with)
        raise NeedsDecision(
            "DropBlocked",
            f'database "{database}" on server "{server}" was adopted, and is not dropped as long as spec.adoptable of '
            f"DatabaseServer {server} lists it, since who had it before goes on using it ({roles}); take the entry out "
            "to have it dropped, or make its ServiceDatabase again",
        )


def is_beyond_undoing(marker: Marker, database: Database | None) -> bool:
    """Whether the drop has gone so far that there is nothing left to give back."""
    return marker.dropping is not None and (database is None or not database.valid)


def roles_to_drop(seen: ServerScan, names: RoleNames) -> list[str]:
    """Every role of the database, the owner role last: it carries the marker, by which the rest is known to be ours."""
    noted = [role.name for role in seen.roles.values() if _belongs(role, names.owner)]
    groups = [name for name in (names.read_write, names.read_only) if name in noted]
    logins = sorted(set(noted) - set(groups))
    return [*logins, *groups, names.owner]


def _belongs(role: Role, owner: str) -> bool:
    note = RoleNote.read(role.comment)
    return note is not None and note.owner == owner and role.name != owner


def check_nothing_is_prepared(database: str, count: int, *, server: str) -> None:
    """Raise NeedsDecision while transactions stand prepared in it: nobody could end them once it is closed."""
    if count:
        raise NeedsDecision(
            "DropBlocked",
            f'database "{database}" on server "{server}" is not dropped while transactions stand prepared in it '
            f"({count}); have a DBA end them there: pg_prepared_xacts names them for ROLLBACK PREPARED",
        )


def check_nothing_is_kept(database: str, holdings: Iterable[Holding], *, server: str) -> None:
    """Raise NeedsDecision when a role owns something outside of `database` that is more than a leftover."""
    kept = what_is_kept(one for one in holdings if one.database != database)
    if kept is not None:
        raise NeedsDecision(
            "DropBlocked",
            f'database "{database}" on server "{server}" is not dropped, nor any role of it, since {kept}',
        )


def waiting(markers: Iterable[tuple[str, Marker]]) -> str:
    """What is going to be dropped and when, as a sentence; empty where nothing is."""
    due = sorted((due_at(marker), database) for database, marker in markers if due_at(marker) is not None)
    if not due:
        return ""
    listed = [f"{database} (not before {at:%Y-%m-%dT%H:%M:%SZ})" for at, database in due[:_LISTED]]
    more = f" and {len(due) - _LISTED} more" if len(due) > _LISTED else ""
    return f"to be dropped, unless their ServiceDatabase is made again: {', '.join(listed)}{more}"
