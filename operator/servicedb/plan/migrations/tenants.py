"""Which schemas are tenants: what a query gave, and which of all have to be there."""

from collections.abc import Collection, Iterable

from servicedb.errors import Terminal
from servicedb.naming import HISTORY_SCHEMA, NAME_BYTES

MOST_TENANTS = 10_000

_OF_NO_TENANT = frozenset({"information_schema", "extensions", HISTORY_SCHEMA})
_NAMED = 5


def checked_names(rows: Iterable[tuple[object, ...]]) -> set[str]:
    """The names of schemas in the rows of a query. Raises Terminal for what is none, by its place in the result: what
    stands in a row is nobody's to see."""
    names: set[str] = set()
    for number, row in enumerate(rows, start=1):
        if len(row) != 1:
            raise _bad(f"gives {len(row)} columns; let it give one, the schema's name")
        (name,) = row
        if number > MOST_TENANTS:
            raise _bad(f"gives more than {MOST_TENANTS} rows; divide the tenants into several runs")
        if name is None:
            raise _bad(f"gives NULL in row {number}; leave such rows out")
        if not isinstance(name, str):
            raise _bad(f"gives no text in row {number}; let it give the schema's name, as text or name")
        if not name or len(name.encode()) > NAME_BYTES:
            raise _bad(f"gives no name of a schema in row {number}: it has {len(name.encode())} bytes")
        if name.startswith("pg_") or name in _OF_NO_TENANT:
            raise _bad(f"gives a schema in row {number} that belongs to PostgreSQL or to servicedb; leave it out")
        names.add(name)
    return names


def check_there(missing: Collection[str], *, listed: Collection[str]) -> None:
    """Raise Terminal where tenants have no schema. Those that a query gave, and not the `listed` ones, are counted."""
    if not missing:
        return
    named = sorted(set(missing) & set(listed))
    words = [f'"{name}"' for name in named[:_NAMED]]
    if (others := len(missing) - len(words)) > 0:
        words.append(f"{others} {'more' if words else 'that the query names'}")
    raise Terminal(
        "MissingTenants",
        f"there is no schema for {len(missing)} of the tenants: {', '.join(words)}. Nothing was done; correct the "
        "names, or let the run make them (spec.tenants.create, --create-tenants)",
    )


def _bad(what: str) -> Terminal:
    return Terminal("BadTenantQuery", f"the query for the tenants {what}. Nothing was done")
