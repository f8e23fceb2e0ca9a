"""What was asked for and what may therefore be true: the other half of every check. Pure; times are seconds."""

from dataclasses import dataclass, field
from typing import Literal

from servicedb.naming import RoleNames

Policy = Literal["Retain", "Delete"]

APP, MIGRATOR, READ_ONLY = "app", "migrator", "readonly"


@dataclass(slots=True)
class Asked:
    """One name in the tenant's namespace, over all the lives that an object of this name has had.

    `oid` is the database's as its object's status said it last; None while none is known. `rows` is what was written
    there and acknowledged, `doubtful` what was sent and never answered. `droppable_from` is the earliest moment at
    which a deletion that was asked for may have dropped the database; it is taken back when an object made again turns
    out to stand for the same database. `known`: the last object's status named its database, so that the server knows
    what its deletion asks for; one that came and went while nobody looked changes nothing. `wanted_roles` are the
    present (or last) spec's; `leaving_roles` those that a change took out.
    """

    name: str
    present: bool = False
    policy: Policy = "Retain"
    grace: float = 0.0
    oid: int | None = None
    rows: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    droppable_from: float | None = None
    known: bool = False
    wanted_roles: frozenset[str] = frozenset()
    leaving_roles: frozenset[str] = frozenset()
    rotations: int = 0

    @property
    def database(self) -> str:
        return self.name.replace("-", "_")

    def made(self, roles: frozenset[str], policy: Policy, grace: float) -> None:
        """An object of this name was created."""
        self.present, self.known, self.policy, self.grace = True, False, policy, grace
        self.leaving_roles |= self.wanted_roles - roles
        self.wanted_roles = roles

    def changed(self, roles: frozenset[str]) -> None:
        self.leaving_roles = (self.leaving_roles | self.wanted_roles) - roles
        self.wanted_roles = roles

    def deleted(self, now: float) -> None:
        """Its deletion is about to be asked for."""
        self.present = False
        if self.policy == "Delete":
            earlier = self.droppable_from if self.droppable_from is not None else now + self.grace
            self.droppable_from = min(earlier, now + self.grace)

    def seen(self, oid: int) -> None:
        """The present object's status names the database: the one that was there, or one made after a drop."""
        if oid != self.oid:
            self.rows.clear()
            self.doubtful.clear()
        self.oid, self.droppable_from, self.known = oid, None, True

    def may_be_gone(self, now: float) -> bool:
        return self.oid is None or (self.droppable_from is not None and now >= self.droppable_from)

    def has_to_be_gone(self, now: float) -> bool:
        """Once everything has come to rest."""
        return not self.present and self.known and self.droppable_from is not None and now >= self.droppable_from

    def roles_allowed(self) -> frozenset[str]:
        """Names of all roles that may stand on the server for it, at any moment."""
        return _role_names(self.database, self.wanted_roles | self.leaving_roles)

    def roles_at_rest(self) -> frozenset[str]:
        """Names of exactly those that stand there when everything has come to rest and the object is present."""
        return _role_names(self.database, self.wanted_roles)

    def secrets_at_rest(self) -> frozenset[str]:
        return frozenset(secret_name(self.name, role) for role in self.wanted_roles) if self.present else frozenset()


def secret_name(name: str, role: str) -> str:
    return f"{name}-{role}"


def _role_names(database: str, roles: frozenset[str]) -> frozenset[str]:
    names = RoleNames(database)
    halves = (half for role in roles for half in names.pair(role))
    return frozenset({names.owner, names.read_write, names.read_only, *halves})


@dataclass(slots=True)
class Model:
    """All names. `namespace` is the tenant's."""

    namespace: str
    asked: dict[str, Asked] = field(default_factory=dict)

    def of_database(self, database: str) -> Asked | None:
        return next((asked for asked in self.asked.values() if asked.database == database), None)
