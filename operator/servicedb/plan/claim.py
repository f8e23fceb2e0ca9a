"""Whether a ServiceDatabase may have its database: the only place that says so.

A database or role without our marker is never altered and never dropped.
"""

from servicedb.errors import NeedsDecision, Terminal
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import ServerScan
from servicedb.plan.wanted import Wanted


def claim(wanted: Wanted, seen: ServerScan, *, server: str) -> Marker | None:
    """The marker under which the database is ours already; None when nothing of it is there yet.

    Raises Terminal when somebody else holds it, NeedsDecision when it is known and not there any more.
    """
    owner = seen.roles.get(wanted.names.owner)
    if owner is None:
        _nothing_may_be_there(wanted, seen, server)
        return None
    marker = Marker.read(owner.comment)
    if marker is None:
        raise _unmarked_owner(wanted, server)
    if not marker.same_object(wanted.marker):
        raise _held_by_other(wanted, marker, server)
    _database_must_fit(wanted, marker, seen, server)
    _logins_must_be_free(wanted, seen, server)
    return marker


def _nothing_may_be_there(wanted: Wanted, seen: ServerScan, server: str) -> None:
    database = seen.databases.get(wanted.database)
    if database is not None and str(database.oid) == wanted.known_oid:
        raise _marker_lost(wanted, server, f'its owner role "{wanted.names.owner}" is gone')
    if wanted.known_oid is not None and database is None:
        _missing(wanted, int(wanted.known_oid), seen, server)
    if database is not None:
        raise Terminal(
            "Conflict",
            f'database "{wanted.database}" on server "{server}" exists and was not made by servicedb; '
            f"choose another spec.databaseName, or have an admin drop or rename it",
            condition="DatabaseReady",
        )
    for name in wanted.role_names:
        if name in seen.roles and wanted.login_of(name) is None:
            raise _role_taken(name, server)
    _logins_must_be_free(wanted, seen, server)


def _logins_must_be_free(wanted: Wanted, seen: ServerScan, server: str) -> None:
    """A name with `__` under a marked owner is ours; a fixed login name is so only with our note on it."""
    owned = Marker.read(seen.roles[wanted.names.owner].comment) if wanted.names.owner in seen.roles else None
    for login in wanted.logins:
        for half in login.halves:
            role = seen.roles.get(half)
            if role is None or (owned is not None and "__" in half):
                continue
            note = RoleNote.read(role.comment)
            if note is None:
                raise _role_taken(half, server)
            if note.owner != wanted.names.owner:
                raise Terminal(
                    "Conflict",
                    f'login "{half}" on server "{server}" belongs to the database of role "{note.owner}"; '
                    f"choose another loginName for spec.roles {login.role}",
                    condition="RolesReady",
                )


def _role_taken(name: str, server: str) -> Terminal:
    return Terminal(
        "Conflict",
        f'role "{name}" on server "{server}" exists and was not made by servicedb; '
        "choose another name, or have an admin drop or rename the role",
        condition="RolesReady",
    )


def _unmarked_owner(wanted: Wanted, server: str) -> Terminal:
    if wanted.known_oid is not None:
        return _marker_lost(wanted, server, f'the comment on role "{wanted.names.owner}" is no marker of servicedb')
    return _role_taken(wanted.names.owner, server)


def _marker_lost(wanted: Wanted, server: str, what: str) -> Terminal:
    return Terminal(
        "MarkerLost",
        f'database "{wanted.database}" on server "{server}" can no longer be told to be this object\'s: {what}; '
        "nothing is changed until an admin restores that role and its comment",
        condition="DatabaseReady",
    )


def _held_by_other(wanted: Wanted, marker: Marker, server: str) -> Terminal:
    same_name = (marker.cluster, marker.namespace, marker.name) == (
        wanted.marker.cluster,
        wanted.marker.namespace,
        wanted.marker.name,
    )
    where = f'database "{wanted.database}" on server "{server}"'
    if same_name:
        return Terminal(
            "ReleasedByOther",
            f"{where} was left by an object of this name in an earlier namespace {marker.namespace} "
            f"(namespace uid {marker.namespace_uid}); choose another spec.databaseName, or have an admin hand it over",
            condition="DatabaseReady",
        )
    state = "was released by" if marker.released else "belongs to"
    return Terminal(
        "Conflict",
        f"{where} {state} {marker.holder}; choose another spec.databaseName, "
        f"or have it listed under spec.adoptable of DatabaseServer {server}",
        condition="DatabaseReady",
    )


def _database_must_fit(wanted: Wanted, marker: Marker, seen: ServerScan, server: str) -> None:
    database = seen.databases.get(wanted.database)
    if marker.oid is None:
        if database is not None and (database.allow_connections or database.owner != seen.admin):
            raise Terminal(
                "Conflict",
                f'database "{wanted.database}" on server "{server}" was made by somebody else while servicedb was '
                "about to make it; choose another spec.databaseName, or have an admin drop or rename it",
                condition="DatabaseReady",
            )
        if database is None and wanted.known_oid is not None:
            _missing(wanted, int(wanted.known_oid), seen, server)
    elif database is None:
        _missing(wanted, marker.oid, seen, server)
    elif database.oid != marker.oid:
        raise NeedsDecision(
            "DatabaseReplaced",
            f'database "{wanted.database}" on server "{server}" has OID {database.oid}, not {marker.oid}: somebody '
            "dropped or renamed this object's database and made another under its name; have an admin put the right "
            f'one back, or rename the new one away and annotate this object servicedb.io/recreate="{marker.oid}"',
            condition="DatabaseReady",
        )


def _missing(wanted: Wanted, oid: int, seen: ServerScan, server: str) -> None:
    """Raise, unless a person has said that a new, empty database may take the lost one's place."""
    elsewhere = seen.database_with_oid(oid)
    if elsewhere is not None:
        raise NeedsDecision(
            "DatabaseRenamed",
            f'database "{wanted.database}" on server "{server}" is now named "{elsewhere.name}" (OID {oid}); '
            f'have an admin rename it back: ALTER DATABASE "{elsewhere.name}" RENAME TO "{wanted.database}"',
            condition="DatabaseReady",
        )
    if wanted.recreate != str(oid):
        raise NeedsDecision(
            "DatabaseMissing",
            f'database "{wanted.database}" (OID {oid}) is gone from server "{server}"; restore it, or, to start with '
            f'an empty one, annotate this object servicedb.io/recreate="{oid}"',
            condition="DatabaseReady",
        )
