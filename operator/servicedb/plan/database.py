"""A database as a whole: who may connect, its settings, and the moment at which it is opened."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from servicedb.plan.leaving import former_groups, leaving
from servicedb.plan.marker import Marker
from servicedb.plan.observed import PUBLIC, Privilege, ServerScan, Settings
from servicedb.plan.parameters import ALLOWED
from servicedb.plan.steps import (
    ChangeDatabaseOwner,
    ChangeSetting,
    CreateDatabase,
    DatabaseStep,
    GrantOnDatabase,
    OpenDatabase,
    ResetRoleSetting,
    RevokeOnDatabase,
    Step,
)
from servicedb.plan.wanted import Access, Wanted

EXTENSION_SCHEMA = "extensions"
"""The administrator's own schema in each database: nothing of a tenant's can stand in an install script's way."""

_PATH_PART = re.compile(r'"(?P<quoted>[^",]+)"|(?P<bare>[a-z_][a-z0-9_$]*)')

_TAKEN_BACK = ALLOWED | {"search_path", "role"}
"""Parameters that the spec alone decides on, by naming them or by leaving them out."""

_TAKEN_BACK_OF_LOGINS = _TAKEN_BACK | {"lo_compat_privileges"}
"""With this one a login reads everybody's large objects."""

_AT_BIRTH = frozenset({Privilege(PUBLIC, "CONNECT"), Privilege(PUBLIC, "TEMPORARY")})


def current_marker(wanted: Wanted, seen: ServerScan) -> Marker:
    """The marker as it should stand now: with the database's OID once it has been opened, never before."""
    database = seen.databases.get(wanted.database)
    if database is None:
        return wanted.marker.with_oid(None)
    owner = seen.roles.get(wanted.names.owner)
    known = Marker.read(owner.comment) if owner is not None else None
    same = known is not None and known.oid == database.oid
    marker = replace(wanted.marker, restored=known.restored if known is not None and same else None)
    return marker.with_oid(database.oid if database.allow_connections or same else None)  # or closed since, by hand


def database_steps(wanted: Wanted, seen: ServerScan) -> Iterator[Step]:
    """Yield what creates, closes to the public, configures and opens the database."""
    database = seen.databases.get(wanted.database)
    if database is None:
        yield CreateDatabase("missing", wanted.database, wanted.encoding, wanted.locale, wanted.locale_provider)
    elif database.owner != seen.admin:
        take_up = not database.owner_reached
        yield ChangeDatabaseOwner("owned by another role", wanted.database, seen.admin, database.owner, take_up)
    seen_privileges = database.privileges if database else _AT_BIRTH
    # What the admin was granted as somebody else's guest becomes the owner's own.
    seen_privileges = frozenset(privilege for privilege in seen_privileges if privilege.grantee != seen.admin)
    kept = {name for name in leaving(wanted, seen.roles) if seen.roles[name].login}
    kept.update(former_groups(wanted, seen.roles))
    if wanted.shared_with is not None:
        kept |= {privilege.grantee for privilege in seen_privileges} - {*wanted.role_names}
    yield from privilege_steps(wanted, seen_privileges, leaving=kept)
    yield from _setting_steps(wanted, seen.settings if database else {})
    if database is None or not database.allow_connections:
        marker = current_marker(wanted, seen).with_oid(None)
        yield OpenDatabase("not open yet", wanted.database, wanted.names.owner, marker.comment())


def database_privileges(wanted: Wanted) -> frozenset[Privilege]:
    """Who may do what on the database. A login that does not inherit needs CONNECT itself.

    Source: PostgreSQL documentation, "Privileges".
    """
    names = wanted.names
    privileges = {
        Privilege(names.owner, "CONNECT"),
        Privilege(names.owner, "CREATE"),
        Privilege(names.owner, "TEMPORARY"),
    }
    for group in wanted.all_groups:
        privileges.add(Privilege(group.name, "CONNECT"))
        if group.access is Access.READ_WRITE:
            privileges.add(Privilege(group.name, "TEMPORARY"))
    privileges |= {Privilege(half, "CONNECT") for half, login in wanted.halves() if login.connects_itself}
    return frozenset(privileges)


def privilege_steps(
    wanted: Wanted, seen: frozenset[Privilege], *, leaving: Collection[str] = ()
) -> Iterator[DatabaseStep]:
    """Yield the steps from `seen` to what is wanted. The roles in `leaving` keep what they have."""
    goal = database_privileges(wanted)
    for privilege in sorted(seen - goal):
        if privilege.grantee not in leaving:
            yield RevokeOnDatabase("not in the spec", wanted.database, privilege)
    for privilege in sorted(goal - seen):
        yield GrantOnDatabase("missing", wanted.database, privilege)


def wanted_settings(wanted: Wanted) -> dict[str, dict[str, str]]:
    """Role ("" for the database itself) -> its settings in this database."""
    path = ", ".join((*wanted.schemas, EXTENSION_SCHEMA))
    of_all = {**wanted.parameters, "search_path": path}
    alone = wanted.shared_with is None  # else those who share it keep the settings that they know
    settings = {"": of_all} if alone else {}
    for half, login in wanted.halves():
        settings[half] = {**({} if alone else of_all), **login.parameters}
        if login.works_as != half:
            settings[half]["role"] = login.works_as
    return settings


def _setting_steps(wanted: Wanted, seen: Mapping[tuple[str, str], Settings]) -> Iterator[ChangeSetting]:
    for role, goal in wanted_settings(wanted).items():
        there = seen.get((wanted.database, role), {})
        taken_back = _TAKEN_BACK_OF_LOGINS if role else _TAKEN_BACK
        for parameter in sorted(set(there) | set(goal)):
            value = goal.get(parameter)
            if value is None and parameter not in taken_back:
                continue  # an admin's own, such as log_statement: not ours to take away
            if _plain(parameter, there.get(parameter)) != value:
                reason = "differs from the spec" if value is not None else "not in the spec"
                yield ChangeSetting(reason, wanted.database, role or None, parameter, value)


def role_setting_steps(wanted: Wanted, seen: ServerScan) -> Iterator[ResetRoleSetting]:
    """Yield what undoes ALTER ROLE ... SET on a role of this database: its settings stand in the database alone."""
    for role in wanted.role_names:
        for parameter in sorted(seen.settings.get(("", role), {})):
            if parameter in _TAKEN_BACK:
                yield ResetRoleSetting("set in every database", role, parameter)


def _plain(parameter: str, value: str | None) -> str | None:
    """A stored search_path without the quotes that PostgreSQL adds to some names; any other value as it is."""
    if parameter != "search_path" or value is None:
        return value
    parts = [_PATH_PART.fullmatch(part) for part in value.split(", ")]
    return ", ".join(part["quoted"] or part["bare"] for part in parts if part) if all(parts) else value
