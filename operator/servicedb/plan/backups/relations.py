"""Which tables of a database are dumped by which stream, and which are counted together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from servicedb.errors import Terminal

_NAMED = 5
_TABLE_BYTES = 64 * 1024
"""What a table costs besides its rows, so that thousands of empty ones are shared out, too."""

_SESSIONS_BESIDES_DATA = 3
"""The coordinator, the schema's pg_dump and the rest's lock every table; each of the others its own."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, partitioned table or materialized view. `kind` is as in pg_class.relkind, `file` its relfilenode.

    `hash_root` is the topmost partitioned table above it that is divided by hash: rows move between the parts below
    it when they are restored. `columns` are those that hold values of their own. `hidden` says that row-level
    security hides rows from who reads here, and `readable` whether the table can be read at all.
    """

    oid: int
    schema: str
    name: str
    kind: str
    file: int
    bytes: int = 0
    hash_root: int | None = None
    columns: tuple[str, ...] = ()
    hashable: bool = False
    hidden: bool = False
    forced: bool = False
    readable: bool = True

    @property
    def has_rows(self) -> bool:
        """Whether rows of its own are dumped: those of a partitioned table stand in its leaves."""
        return self.kind == "r"

    @property
    def shown(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Counted:
    """A table whose rows are counted as one; `whole` with all below it, which is how one divided by hash is."""

    relation: Relation
    whole: bool
    bytes: int


def data_groups(relations: Iterable[Relation], parallel: int) -> tuple[tuple[Relation, ...], ...]:
    """The tables with rows, in at most `parallel` groups of about the same size; none of them is empty.

    Largest first, each to the group that has least: within a third of the best there is.
    """
    groups: list[list[Relation]] = [[] for _ in range(parallel)]
    sizes = [0] * parallel
    for relation in sorted((one for one in relations if one.has_rows), key=lambda one: (-one.bytes, one.oid)):
        least = sizes.index(min(sizes))
        groups[least].append(relation)
        sizes[least] += relation.bytes + _TABLE_BYTES
    return tuple(tuple(group) for group in groups if group)


def counted(relations: Sequence[Relation]) -> tuple[Counted, ...]:
    """What is counted, largest first: every table by itself, what is divided by hash as a whole."""
    by_oid = {relation.oid: relation for relation in relations}
    below: dict[int, int] = {}
    single = []
    for relation in relations:
        if not relation.has_rows:
            continue
        if (root := relation.hash_root) in by_oid:
            below[root] = below.get(root, 0) + relation.bytes
        else:
            single.append(Counted(relation, whole=False, bytes=relation.bytes))
    whole = [
        Counted(by_oid[relation.oid], whole=True, bytes=below.get(relation.oid, 0))
        for relation in relations
        if relation.hash_root == relation.oid
    ]
    return tuple(sorted([*single, *whole], key=lambda one: (-one.bytes, one.relation.oid)))


def check_readable(relations: Iterable[Relation], *, reader: str) -> None:
    """Raises Terminal where `reader`, the role that reads, would not see all rows."""
    seen = tuple(relations)
    if unreadable := [one.shown for one in seen if not one.readable]:
        raise Terminal(
            "NoPrivilege",
            f'role "{reader}" may not read {_some(unreadable)}; grant it SELECT there and USAGE on the schema, or '
            "pg_read_all_data",
        )
    if hidden := [one for one in seen if one.hidden]:
        forced = [one.shown for one in hidden if one.forced]
        choice = (
            f"{_some(forced)} forces it on the owner, too: take FORCE away (ALTER TABLE ... NO FORCE ROW LEVEL "
            "SECURITY) or let an admin give the login BYPASSRLS"
            if forced
            else "let an admin give the login BYPASSRLS, or back up as the owner role"
        )
        raise Terminal(
            "RowSecurity",
            f"row-level security hides rows of {_some([one.shown for one in hidden])} from role "
            f'"{reader}", and a backup without them is none; {choice}',
        )


def check_locks(relations: Sequence[Relation], *, room: int, most: int) -> None:
    """Raises Terminal where the server's table of locks has no room for a lock on each table by each session.

    `room` is how many locks there is room for, `most` max_locks_per_transaction as it is.
    """
    tables = sum(one.kind in "rp" for one in relations)
    needed = tables * (_SESSIONS_BESIDES_DATA + 1)
    if needed > room:
        wanted = -(-needed * most // room)
        raise Terminal(
            "TooManyTables",
            f"a backup of {tables} tables holds {needed} locks, and the server has room for about {room}; set "
            f"max_locks_per_transaction to {wanted} or more (it is {most}; a restart is needed)",
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
