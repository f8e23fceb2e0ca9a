"""Dropping a database for good: when it falls due, what has to be given up with it, and what must not be.

A database is dropped only with the OID that its marker knows, and only whole, with its roles: where one of them holds
something elsewhere that may be worth keeping, nothing is dropped at all until a person has looked at it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from servicedb.api.strings import Duration
from servicedb.errors import NeedsDecision
from servicedb.naming import LOCK_DATABASE, RoleNames
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Database, Role, ServerScan
from servicedb.plan.steps import DropOwned, DropRole

_LISTED = 5

_KINDS = {"pg_class": "tables, views or sequences", "pg_proc": "routines", "pg_namespace": "schemas"}
"""How a message names what a catalogue holds; any other by the catalogue's own name."""

_MAY_GO = frozenset({"pg_largeobject", "pg_default_acl", "pg_user_mapping", "pg_auth_members"})
"""What a role may own outside of its database and yet be dropped: large objects that a login made in `postgres`, and
what only grants something."""


@dataclass(frozen=True, slots=True, order=True)
class Dependency:
    """Something of a server that keeps `role` from being dropped.

    `database` is None for what belongs to none. `catalog` says of what kind it is (pg_class, pg_proc...); `owned` False
    means privileges, or a mention in a policy. Source: PostgreSQL documentation, "pg_shdepend".
    """

    role: str
    database: str | None
    catalog: str
    owned: bool
    count: int = 1


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


def check_nothing_is_kept(database: str, dependencies: Iterable[Dependency], *, server: str) -> None:
    """Raise NeedsDecision when a role owns something outside of `database` that is more than a leftover."""
    kept = sorted(one for one in dependencies if one.owned and one.database != database and one.catalog not in _MAY_GO)
    if not kept:
        return
    listed = "; ".join(_described(one) for one in kept[:_LISTED]) + ("; and more" if len(kept) > _LISTED else "")
    role = kept[0].role
    raise NeedsDecision(
        "DropBlocked",
        f'database "{database}" on server "{server}" is not dropped, nor any role of it, since {listed}: it may be a '
        f'copy that somebody keeps; have a DBA give that to another role (there: REASSIGN OWNED BY "{role}" TO ...), '
        "or drop it",
    )


def _described(one: Dependency) -> str:
    what = _KINDS.get(one.catalog, f"entries of {one.catalog}")
    where = f'in database "{one.database}"' if one.database is not None else "on the server"
    return f'role "{one.role}" owns {one.count} {what} {where}'


def drop_role_steps(
    database: str, roles: Sequence[str], dependencies: Iterable[Dependency]
) -> tuple[list[DropOwned], list[DropRole]]:
    """What frees `roles` of all that they hold outside of `database`, and what then drops them, together.

    What belongs to no database is given up from the operator's own: DROP OWNED BY sees to shared objects everywhere.
    """
    held = {(one.database or LOCK_DATABASE, one.role) for one in dependencies if one.database != database}
    freed = [DropOwned("it holds something outside of its database", role, place) for place, role in sorted(held)]
    return freed, [DropRole("its object is gone, and the grace over", role) for role in roles]


def waiting(markers: Iterable[tuple[str, Marker]]) -> str:
    """What is going to be dropped and when, as a sentence; empty where nothing is."""
    due = sorted((due_at(marker), database) for database, marker in markers if due_at(marker) is not None)
    if not due:
        return ""
    listed = [f"{database} (not before {at:%Y-%m-%dT%H:%M:%SZ})" for at, database in due[:_LISTED]]
    more = f" and {len(due) - _LISTED} more" if len(due) > _LISTED else ""
    return f"to be dropped, unless their ServiceDatabase is made again: {', '.join(listed)}{more}"
