"""An example database in the terms of the decisions: what is wanted of it, and what a server shows of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from servicedb.naming import RoleNames
from servicedb.plan.inside import AT_BIRTH
from servicedb.plan.marker import LeftSecret, Marker, RoleNote
from servicedb.plan.observed import Database, Membership, Privilege, Role, ServerScan, Settings
from servicedb.plan.wanted import Access, Login, Wanted

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
OVERLAP = timedelta(hours=1)
ADMIN = "opadmin"
STRANGER = "intern"

NAMES = RoleNames("orders")
OWNER, RW, RO = NAMES.owner, NAMES.read_write, NAMES.read_only
MARKER = Marker(
    cluster="cluster-1", crd="crd-1", namespace="shop", namespace_uid="namespace-1", name="orders", uid="object-1"
)
APP = Login("app", NAMES.pair("app"), Access.READ_WRITE, RW, "orders-app", connection_limit=20)
MIGRATOR = Login("migrator", NAMES.pair("migrator"), Access.OWNER, OWNER, "orders-migrator")
READER = Login("readonly", NAMES.pair("readonly"), Access.READ_ONLY, RO, "orders-readonly")
FIXED = replace(APP, halves=("orders_user",))
"""The app's login under a fixed name: it has no other half."""

APP_A, APP_B = APP.halves
MIGRATOR_A, MIGRATOR_B = MIGRATOR.halves

WANTED = Wanted("orders", NAMES, (APP, MIGRATOR, READER), MARKER)
ONLY_APP = replace(WANTED, logins=(APP,))
ONLY_FIXED = replace(WANTED, logins=(FIXED,))

PUBLIC_AT_BIRTH = frozenset({Privilege("PUBLIC", "CONNECT"), Privilege("PUBLIC", "TEMPORARY")})
DEFAULTS_AT_BIRTH: Mapping[str, frozenset[Privilege]] = AT_BIRTH.default_privileges
INSIDE_AT_BIRTH = replace(AT_BIRTH, extensions={})
"""What PostgreSQL shows of the inside of a database that nobody has changed yet."""


def note(
    login: Login, *, retire_at: datetime | None = None, owner: str = OWNER, left: Iterable[LeftSecret] = ()
) -> str:
    """The comment that stands on the halves of `login`."""
    return RoleNote(owner, login.role, login.secret_name, retire_at, login.access, tuple(left)).comment()


def roles_in_sync(
    wanted: Wanted = WANTED, *, marker: Marker | None = None, active: Iterable[str] | None = None
) -> dict[str, Role]:
    """All roles as they should be; `active` names the halves that log in (left out: the first of each login)."""
    active = tuple(login.halves[0] for login in wanted.logins) if active is None else tuple(active)
    names = wanted.names
    roles = [
        Role(names.owner, login=False, comment=(marker or wanted.marker).comment()),
        Role(names.read_write, login=False, comment=RoleNote(names.owner, "rw", granted=True).comment()),
        Role(names.read_only, login=False, comment=RoleNote(names.owner, "ro", granted=True).comment()),
    ]
    roles += [
        Role(
            half,
            login=half in active,
            inherit=login.inherits,
            connection_limit=login.connection_limit,
            comment=note(login, owner=names.owner),
        )
        for login in wanted.logins
        for half in login.halves
    ]
    return {role.name: role for role in roles}


def database(name: str = "orders", *, oid: int = 16_400, is_open: bool = True, owner: str = ADMIN) -> Database:
    return Database(name, oid, owner, is_open, PUBLIC_AT_BIRTH)


def scan(
    roles: Iterable[Role] = (),
    databases: Iterable[Database] = (),
    *,
    memberships: Iterable[Membership] = (),
    settings: Mapping[tuple[str, str], Settings] | None = None,
) -> ServerScan:
    return ServerScan(
        version=16_00_04,
        admin=ADMIN,
        admin_superuser=False,
        system_identifier="7300000000000000001",
        roles={role.name: role for role in roles},
        databases={one.name: one for one in databases},
        memberships=frozenset(memberships),
        settings=settings or {},
    )
