"""What keeps a role from being dropped: which of it is given up for the role, and which a person has to look at."""

from collections.abc import Iterable
from dataclasses import dataclass

from servicedb.naming import LOCK_DATABASE
from servicedb.plan.steps import DropOwned

_LISTED = 5

_KINDS = {
    "pg_class": "tables, views or sequences",
    "pg_proc": "routines",
    "pg_namespace": "schemas",
    "pg_largeobject": "large objects",
}
"""How a message names what a catalogue holds; any other by the catalogue's own name."""

_GRANTS_ALONE = frozenset({"pg_default_acl", "pg_user_mapping", "pg_auth_members"})
"""What a role may own and yet be dropped: it only grants something."""

_LARGE_OBJECTS = "pg_largeobject"


@dataclass(frozen=True, slots=True, order=True)
class Holding:
    """Something of a server that keeps `role` from being dropped.

    `database` is None for what belongs to none. `catalog` says of what kind it is (pg_class, pg_proc...); `owned` False
    means privileges, or a mention in a policy. Source: PostgreSQL documentation, "pg_shdepend".
    """

    role: str
    database: str | None
    catalog: str
    owned: bool
    count: int = 1


def what_is_kept(holdings: Iterable[Holding], *, own: str | None = None) -> str | None:
    """What of `holdings` may be worth keeping, and what to do about it, in words; None where all of it may go.

    Large objects that a login made in a database that is not its `own`, such as `postgres`, are leftovers.
    """
    kept = sorted(one for one in holdings if one.owned and one.catalog not in _GRANTS_ALONE and not _left(one, own))
    if not kept:
        return None
    listed = "; ".join(_described(one) for one in kept[:_LISTED]) + ("; and more" if len(kept) > _LISTED else "")
    return (
        f"{listed}: it may be a copy that somebody keeps; have a DBA give that to another role (there: REASSIGN OWNED "
        f'BY "{kept[0].role}" TO ...), or drop it'
    )


def _left(one: Holding, own: str | None) -> bool:
    return one.catalog == _LARGE_OBJECTS and one.database != own


def _described(one: Holding) -> str:
    what = _KINDS.get(one.catalog, f"entries of {one.catalog}")
    where = f'in database "{one.database}"' if one.database is not None else "on the server"
    return f'role "{one.role}" owns {one.count} {what} {where}'


def freeing_steps(holdings: Iterable[Holding]) -> list[DropOwned]:
    """What frees roles of all that they hold, so that they can be dropped.

    What belongs to no database is given up from the operator's own: DROP OWNED BY sees to shared objects everywhere.
    """
    held = {(one.database or LOCK_DATABASE, one.role) for one in holdings}
    return [DropOwned("it is to be dropped, and holds something there", role, place) for place, role in sorted(held)]
