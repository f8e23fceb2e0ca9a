"""One look at a whole server, cut up by database, so that each object's decision reads only its own part."""

from collections import defaultdict

from servicedb.naming import database_of_owner
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Membership, Role, ServerScan, Settings


def markers(scan: ServerScan) -> dict[str, Marker]:
    """Database -> the marker on its owner role, for all that carry one."""
    found = {}
    for role in scan.roles.values():
        database = database_of_owner(role.name)
        marker = Marker.read(role.comment) if database is not None else None
        if database is not None and marker is not None:
            found[database] = marker
    return found


class Narrowed:
    """A server's scan by database: in one pass, since each of a thousand databases asks for its part."""

    def __init__(self, scan: ServerScan) -> None:
        self._scan = scan
        self._roles: dict[str, dict[str, Role]] = defaultdict(dict)
        self._memberships: dict[str, set[Membership]] = defaultdict(set)
        self._settings: dict[str, dict[tuple[str, str], Settings]] = defaultdict(dict)
        database_of = {name: _database_of(role) for name, role in scan.roles.items()}
        for name, role in scan.roles.items():
            if (database := database_of[name]) is not None:
                self._roles[database][name] = role
        for membership in scan.memberships:
            for database in {database_of.get(membership.group), database_of.get(membership.member)} - {None}:
                assert database is not None
                self._memberships[database].add(membership)
                for name in (membership.group, membership.member):
                    if name in scan.roles:
                        self._roles[database].setdefault(name, scan.roles[name])
        for (named, role_name), settings in scan.settings.items():
            concerned = named or database_of.get(role_name)  # "" where a role has it in every database
            if concerned is not None:
                self._settings[concerned][(named, role_name)] = settings
        for database, marker in markers(scan).items():
            for name in marker.shared_with or ():
                if name in scan.roles:
                    self._roles[database].setdefault(name, scan.roles[name])

    def differs(self, earlier: "Narrowed", database: str) -> bool:
        """Whether anything of `database` is other than it was in an `earlier` look, its counter of changes included."""
        return any(
            now.get(database) != before.get(database)
            for now, before in (
                (self._roles, earlier._roles),
                (self._memberships, earlier._memberships),
                (self._settings, earlier._settings),
                (self._scan.databases, earlier._scan.databases),
            )
        )

    def of(self, database: str, *, also: tuple[str, ...] = ()) -> ServerScan:
        """The part of `database`, with the roles `also` named, whoever's they are."""
        roles = dict(self._roles.get(database, {}))
        roles |= {name: self._scan.roles[name] for name in also if name in self._scan.roles}
        return ServerScan(
            version=self._scan.version,
            admin=self._scan.admin,
            admin_superuser=self._scan.admin_superuser,
            system_identifier=self._scan.system_identifier,
            roles=roles,
            databases=self._scan.databases,
            memberships=frozenset(self._memberships.get(database, ())),
            settings=self._settings.get(database, {}),
        )


def _database_of(role: Role) -> str | None:
    """By its name, or for a fixed login name by the note that it carries."""
    database, separator, _ = role.name.partition("__")
    if separator:
        return database
    note = RoleNote.read(role.comment)
    return database_of_owner(note.owner) if note is not None else None
