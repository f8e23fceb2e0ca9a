"""Whether a ServiceDatabase may have its database: the only place that says so.

A database or role without our marker is never altered and never dropped.
"""

from servicedb.errors import NeedsDecision, Retryable, Terminal
from servicedb.plan.deletion import is_beyond_undoing
from servicedb.plan.foreign import is_foreign
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import ServerScan
from servicedb.plan.wanted import Wanted


def claim(wanted: Wanted, seen: ServerScan, *, server: str) -> Marker | None:
    """The marker under which the database is ours already, or may be now; None when nothing of it is there yet but,
    where it is to be adopted, a database that servicedb never made.

    Raises Terminal when somebody else holds it, NeedsDecision when it is known and not there any more, Retryable while
    it is being dropped.
    """
    owner = seen.roles.get(wanted.names.owner)
    if owner is None:
        _nothing_may_be_there(wanted, seen, server)
        return None
    marker = Marker.read(owner.comment)
    if marker is None:
        if not (wanted.adoptable and _is_of_our_making(wanted, seen)):
            raise _unmarked_owner(wanted, server)
        marker = wanted.marker.with_oid(seen.databases[wanted.database].oid)
    if not marker.same_object(wanted.marker) and not (wanted.adoptable and marker.let_go):
        raise _held_by_other(wanted, marker, server)
    if is_beyond_undoing(marker, seen.databases.get(wanted.database)):
        raise _being_dropped(wanted, server)
    _database_must_fit(wanted, marker, seen, server)
    _logins_must_be_free(wanted, seen, server)
    return marker


def _is_of_our_making(wanted: Wanted, seen: ServerScan) -> bool:
    """Whether a database without its marker has else all that servicedb gives one, none of which a tenant could: the
    admin as its owner, an owner role that nobody logs in with, and groups that name that role in their notes."""
    database = seen.databases.get(wanted.database)
    notes = [RoleNote.read(seen.roles[group].comment) for group in wanted.groups if group in seen.roles]
    return (
        database is not None
        and database.owner == seen.admin
        and wanted.known_oid in (None, str(database.oid))
        and not seen.roles[wanted.names.owner].login
        and len(notes) == len(wanted.groups)
        and all(note is not None and note.owner == wanted.names.owner for note in notes)
    )


def _being_dropped(wanted: Wanted, server: str) -> Retryable:
    return Retryable(
        "BeingDropped",
        f'database "{wanted.database}" on server "{server}", of the object that was deleted before, is being dropped; '
        "a new one is made when nothing of it is left (the DatabaseServer says what keeps it, if anything does)",
        condition="DatabaseReady",
    )


def _nothing_may_be_there(wanted: Wanted, seen: ServerScan, server: str) -> None:
    database = seen.databases.get(wanted.database)
    if database is not None and str(database.oid) == wanted.known_oid:
        raise _marker_lost(wanted, server, f'its owner role "{wanted.names.owner}" is gone')
    if wanted.known_oid is not None and database is None:
        _missing(wanted, int(wanted.known_oid), seen, server)
    if database is not None and not is_foreign(wanted, seen):
        raise Terminal(
            "Conflict",
            f'database "{wanted.database}" on server "{server}" exists and was not made by servicedb; '
            "choose another spec.databaseName, or have an admin drop or rename it, or let this object adopt it, who "
            f"{_hand_over(wanted, server)}",
            condition="DatabaseReady",
        )
    if database is not None and not (database.allow_connections and database.enterable):
        why = "the admin may not connect to it" if database.allow_connections else "it takes no connections"
        run = (
            f'GRANT CONNECT ON DATABASE "{wanted.database}" TO "{seen.admin}"'
            if database.allow_connections
            else f'ALTER DATABASE "{wanted.database}" WITH ALLOW_CONNECTIONS true'
        )
        raise Terminal(
            "NotAdoptable",
            f'database "{wanted.database}" on server "{server}" can\'t be adopted yet, and nothing was changed: {why}; '
            f"have its owner run {run}",
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
        "nothing is changed until an admin restores that role and its comment, or, where only the comment is lost, "
        f"{_hand_over(wanted, server)}",
        condition="DatabaseReady",
    )


def _hand_over(wanted: Wanted, server: str) -> str:
    """What an admin writes so that this object may have the database."""
    entry = f"{{databaseName: {wanted.database}, namespace: {wanted.marker.namespace}, name: {wanted.marker.name}}}"
    return f"adds {entry} to spec.adoptable of DatabaseServer {server}"


def _held_by_other(wanted: Wanted, marker: Marker, server: str) -> Terminal:
    same_name = (marker.cluster, marker.namespace, marker.name) == (
        wanted.marker.cluster,
        wanted.marker.namespace,
        wanted.marker.name,
    )
    where = f'database "{wanted.database}" on server "{server}"'
    choices = f"choose another spec.databaseName, or have an admin hand it over, who {_hand_over(wanted, server)}"
    if same_name:
        left = "was left" if marker.let_go else "is about to be left"
        return Terminal(
            "ReleasedByOther",
            f"{where} {left} by an object of this name in an earlier namespace {marker.namespace} "
            f"(namespace uid {marker.namespace_uid}); {choices}",
            condition="DatabaseReady",
        )
    if marker.let_go:
        return Terminal("Conflict", f"{where} was released by {marker.holder}; {choices}", condition="DatabaseReady")
    elsewhere = (
        ""
        if marker.cluster == wanted.marker.cluster
        else ", or, if that cluster is no more and this one has taken its place, run `servicedb adopt --from-cluster`"
    )
    return Terminal(
        "Conflict",
        f"{where} belongs to {marker.holder}; choose another spec.databaseName{elsewhere}",
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
