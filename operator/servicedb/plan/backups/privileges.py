"""The privileges of a backup, by the names of the roles of the database that it is restored into."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from servicedb.plan.backups.manifest import Role
from servicedb.plan.backups.objects import PUBLIC, Privilege

MAINTAIN = "MAINTAIN"
_MAINTAIN_SINCE = 17


@dataclass(frozen=True, slots=True)
class Names:
    """What the roles of a backup are called here: those that are not in `names` stand for nobody."""

    names: Mapping[str, str]

    def here(self, role: str) -> str | None:
        return PUBLIC if role == PUBLIC else self.names.get(role)


def names(
    roles: Iterable[Role], *, source: str, target: str, owner: str, existing: Collection[str], given: Mapping[str, str]
) -> Names:
    """What each of `roles` of the database `source` is called in `target`, whose objects all belong to `owner`.

    `given` comes first; then the role of the same purpose, by its name. A role that merely has the same name is
    another one: nobody gets privileges by being called like somebody.
    """
    found = {}
    for role in roles:
        own, separator, purpose = role.name.rpartition("__")
        like = f"{target}__{purpose}" if separator and own == source else ""
        if role.name in given:
            found[role.name] = given[role.name]
        elif role.kind == "owner":
            found[role.name] = owner
        elif role.name.startswith("pg_"):  # PostgreSQL's own are the same everywhere
            found[role.name] = role.name
        elif like in existing:
            found[role.name] = like
    return Names(found)


@dataclass(frozen=True, slots=True)
class Change:
    """A GRANT (or, with `grant` False, a REVOKE) of one privilege."""

    grant: bool
    privilege: Privilege


def changes(wanted: Iterable[Privilege], seen: Iterable[Privilege]) -> tuple[Change, ...]:
    """From `seen` to `wanted`, by names of here. REVOKE comes first: one that takes a grant option takes its grant."""
    has, needs = set(seen), set(wanted)
    return (
        *(Change(False, one) for one in sorted(has - needs, key=_order)),
        *(Change(True, one) for one in sorted(needs - has, key=_order)),
    )


def translated(
    acl: Iterable[Privilege],
    names: Names,
    *,
    owner: str,
    former: str,
    versions: tuple[int, int],
    seen: Iterable[Privilege],
) -> tuple[tuple[Privilege, ...], tuple[Privilege, ...]]:
    """The entries of `acl` by names of here, and those that stand for nobody here.

    `former` owned the object there, `owner` does here. `versions` are the majors of there and here: MAINTAIN came with
    17. An older server says nothing of it, so that it stays as it is.
    """
    there, here = versions
    kept, lost = set(), []
    for entry in acl:
        role = owner if entry.grantee == former else names.here(entry.grantee)
        if role is None or (entry.privilege == MAINTAIN and here < _MAINTAIN_SINCE):
            if entry.grantee != former:
                lost.append(entry)
            continue
        kept.add(entry.model_copy(update={"grantee": role}))
    if there < _MAINTAIN_SINCE:
        kept |= {one for one in seen if one.privilege == MAINTAIN}
    return tuple(sorted(kept, key=_order)), tuple(lost)


def _order(entry: Privilege) -> tuple[str, str, bool]:
    return (entry.grantee, entry.privilege, entry.grantable)
