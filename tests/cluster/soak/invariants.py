"""What has to hold at every moment, and what once everything has come to rest. Pure: a look and the model come in,
sentences go out, one for each violation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from servicedb.plan.marker import Marker, RoleNote

from tests.cluster.soak.model import Asked, Model

OWN_DATABASES = frozenset({"postgres", "template0", "template1", "servicedb"})


@dataclass(frozen=True, slots=True)
class SeenRole:
    """`attributes` are those that no role of a database may have: superuser, createdb and so on. `member_of_admin`:
    the administrator could act as this role without asking anybody (INHERIT or SET)."""

    name: str
    login: bool
    comment: str | None
    attributes: frozenset[str] = frozenset()
    member_of_admin: bool = False
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class SeenDatabase:
    name: str
    oid: int
    open: bool
    public: bool


@dataclass(frozen=True, slots=True)
class Look:
    """One consistent look at the server, at `time`. `bystander` is a fingerprint of the database, the roles and the
    rows of somebody who has nothing to do with servicedb."""

    time: float
    roles: Mapping[str, SeenRole]
    databases: Mapping[str, SeenDatabase]
    bystander: str


@dataclass(frozen=True, slots=True)
class AtRest:
    """What is seen besides when everything has come to rest. All go by the object's name but `logins`, which goes by
    the Secret's: the role that a session with it works as, or why there is none."""

    ready: Mapping[str, bool] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    logins: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, frozenset[str]] = field(default_factory=dict)
    locks: int = 0


def always(look: Look, model: Model, *, bystander: str) -> Iterator[str]:
    """Violations at any moment, in the middle of anything."""
    if look.bystander != bystander:
        yield "the database or the roles of somebody else were changed"
    for role in look.roles.values():
        yield from _of_role(role, model)
    for database in look.databases.values():
        yield from _of_database(database, look, model)
    for asked in model.asked.values():
        there = look.databases.get(asked.database)
        if (there is None or there.oid != asked.oid) and not asked.may_be_gone(look.time):
            yield f"database {asked.database} (OID {asked.oid}) is gone before it may be"


def _of_role(role: SeenRole, model: Model) -> Iterator[str]:
    asked = model.of_database(role.name.partition("__")[0])
    if asked is None or role.name not in asked.roles_allowed():
        yield f"role {role.name} stands for nothing that was asked for"
    if Marker.read(role.comment) is None and RoleNote.read(role.comment) is None:
        yield f"role {role.name} carries no marker and no note"
    if role.attributes:
        yield f"role {role.name} has {', '.join(sorted(role.attributes))}"
    if role.member_of_admin:
        yield f"the administrator is left a member of role {role.name}"


def _of_database(database: SeenDatabase, look: Look, model: Model) -> Iterator[str]:
    if database.public and database.open:
        yield f"database {database.name} is open to PUBLIC"
    if model.of_database(database.name) is None:
        yield f"database {database.name} stands for nothing that was asked for"
    owner = look.roles.get(f"{database.name}__owner")
    marker = Marker.read(owner.comment) if owner is not None else None
    if database.open and (marker is None or marker.oid != database.oid):
        yield f"database {database.name} is open, and no marker names its OID"


def at_rest(look: Look, seen: AtRest, model: Model) -> Iterator[str]:
    """Violations once nothing has been asked for and nothing has been killed for long enough."""
    if seen.locks:
        yield f"{seen.locks} locks are held by nobody who is at work"
    wanted = {secret for asked in model.asked.values() for secret in asked.secrets_at_rest()}
    for secret in sorted(seen.secrets - wanted):
        yield f"Secret {secret} is left over"
    for secret in sorted(wanted - seen.secrets):
        yield f"Secret {secret} is missing"
    for asked in model.asked.values():
        roles = {name: role for name, role in look.roles.items() if name.partition("__")[0] == asked.database}
        if asked.present:
            if not seen.ready.get(asked.name, False):
                yield f"{asked.name} is not Ready"
            for name in sorted(set(roles) ^ asked.roles_at_rest()):
                yield f"role {name} is {'left over' if name in roles else 'missing'}"
            for role in sorted(asked.wanted_roles):
                yield from _of_login(asked.name, asked.database, role, seen)
        else:
            yield from _of_the_absent(asked.database, roles, look)
            left = [*sorted(roles), *({asked.database} & set(look.databases))]
            if not left and asked.may_be_gone(look.time):
                continue
            if asked.has_to_be_gone(look.time):
                yield f"database {asked.database} was to be dropped with its roles, and there is: {', '.join(left)}"
                continue
        if asked.oid is not None and not _as_written(seen.rows.get(asked.name), asked):
            yield f"what was written to {asked.database} is not what stands there"


_WORKS_AS = {"app": "rw", "migrator": "owner", "readonly": "ro"}


def _of_login(name: str, database: str, role: str, seen: AtRest) -> Iterator[str]:
    secret = f"{name}-{role}"
    works_as = seen.logins.get(secret)
    if works_as != f"{database}__{_WORKS_AS[role]}":
        yield f"a login with Secret {secret} ends in: {works_as}"


def _of_the_absent(database: str, roles: Mapping[str, SeenRole], look: Look) -> Iterator[str]:
    owner = roles.get(f"{database}__owner")
    marker = Marker.read(owner.comment) if owner is not None else None
    if roles and f"{database}__owner" not in roles:
        yield f"roles of {database} are left, and its owner role is not"
    if marker is not None and marker.released is None and marker.deleted_at is None:
        yield f"database {database} was let go, and its marker does not say so"
    for role in roles.values():
        if role.login:
            yield f"login {role.name} is open, and its object is gone"
        if role.sessions and marker is not None and marker.deleted_at is not None:
            yield f"login {role.name} has sessions, and its object is gone"


def _as_written(rows: frozenset[str] | None, asked: Asked) -> bool:
    """All that was acknowledged, and nothing that was never sent."""
    return rows is not None and asked.rows <= rows <= asked.rows | asked.doubtful
