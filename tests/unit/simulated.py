"""A PostgreSQL server made of dictionaries: enough of it to carry out steps, and to be looked at again."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from servicedb.plan.marker import Marker
from servicedb.plan.observed import Database, Extension, InsideScan, Privilege, Role, Schema, ServerScan
from servicedb.plan.steps import (
    AlterRole,
    ChangeSchemaOwner,
    ChangeSetting,
    CloseLogin,
    CommentOnRole,
    CreateDatabase,
    CreateExtension,
    CreateRole,
    CreateSchema,
    DropRole,
    Grant,
    GrantByDefault,
    GrantOnDatabase,
    GrantOnSchema,
    NoteOnLogin,
    OpenDatabase,
    OpenLogin,
    Revoke,
    RevokeByDefault,
    RevokeOnDatabase,
    RevokeOnSchema,
    Step,
    UpdateExtension,
)

_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "LOGIN": {"login": True},
    "NOLOGIN": {"login": False},
    "INHERIT": {"inherit": True},
    "NOINHERIT": {"inherit": False},
    "NOSUPERUSER": {"superuser": False},
    "NOCREATEDB": {"createdb": False},
    "NOCREATEROLE": {"createrole": False},
    "NOREPLICATION": {"replication": False},
    "NOBYPASSRLS": {"bypassrls": False},
}


def altered(role: Role, option: str) -> Role:
    """`role` after ALTER ROLE with one option; an option that changes nothing is a fault of the plan."""
    words, _, number = option.rpartition(" ")
    after = (
        replace(role, connection_limit=int(number))
        if words == "CONNECTION LIMIT"
        else replace(role, **_ATTRIBUTES[option])
    )
    assert after != role, f"{option} is needless"
    return after


class Simulated:
    """The shared catalogues and the inside of the one database `name`."""

    def __init__(self, seen: ServerScan, inside: InsideScan | None = None, *, name: str = "orders") -> None:
        self.seen = seen
        self.name = name
        self.roles = dict(seen.roles)
        self.databases = dict(seen.databases)
        self.memberships = set(seen.memberships)
        self.settings = {key: dict(value) for key, value in seen.settings.items()}
        self.schemas = dict(inside.schemas) if inside else {}
        self.defaults = dict(inside.default_privileges) if inside else {}
        self.extensions = dict(inside.extensions) if inside else {}
        self.available = dict(inside.available) if inside else {}

    def scan(self) -> ServerScan:
        return replace(
            self.seen,
            roles=dict(self.roles),
            databases=dict(self.databases),
            memberships=frozenset(self.memberships),
            settings={key: dict(value) for key, value in self.settings.items()},
        )

    def inside(self) -> InsideScan:
        return InsideScan(dict(self.schemas), dict(self.defaults), dict(self.extensions), dict(self.available))

    def apply_all(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.apply(step)

    def apply(self, step: Step) -> None:
        match step:
            case CreateRole():
                assert step.name not in self.roles
                self.roles[step.name] = Role(
                    step.name, step.login, step.inherit, connection_limit=step.connection_limit, comment=step.comment
                )
            case AlterRole():
                assert step.options
                for option in step.options:
                    self.roles[step.name] = altered(self.roles[step.name], option)
            case OpenLogin() | CloseLogin():
                option = "LOGIN" if isinstance(step, OpenLogin) else "NOLOGIN"
                self.roles[step.name] = altered(self.roles[step.name], option)
            case DropRole():
                assert not self.roles.pop(step.name).login
                self.memberships = {m for m in self.memberships if step.name not in (m.group, m.member)}
            case CommentOnRole() | NoteOnLogin():
                assert self.roles[step.name].comment != step.comment, "the comment is needless"
                self.roles[step.name] = replace(self.roles[step.name], comment=step.comment)
            case Grant(membership=m):
                there_already = {s for s in self.memberships if (s.group, s.member) == (m.group, m.member)}
                kept = any(s.grantable for s in there_already)  # GRANT takes no ADMIN option away
                self.memberships = self.memberships - there_already | {replace(m, grantable=kept)}
            case Revoke(membership=m):
                self.memberships.remove(m)
            case CreateDatabase():
                assert step.name not in self.databases
                public = frozenset({Privilege("PUBLIC", "CONNECT"), Privilege("PUBLIC", "TEMPORARY")})
                self.databases[step.name] = Database(step.name, 90_000, self.seen.admin, False, public)
            case GrantOnDatabase(privilege=p) | RevokeOnDatabase(privilege=p):
                there = self.databases[step.database]
                after = changed(there.privileges, p, granted=isinstance(step, GrantOnDatabase))
                self.databases[step.database] = replace(there, privileges=after)
            case ChangeSetting():
                self._change_setting(step)
            case OpenDatabase():
                there = self.databases[step.database]
                marker = Marker.read(step.comment)
                assert marker is not None
                comment = marker.with_oid(there.oid).comment()
                self.roles[step.owner_role] = replace(self.roles[step.owner_role], comment=comment)
                self.databases[step.database] = replace(there, allow_connections=True)
            case _:
                self._apply_inside(step)

    def _apply_inside(self, step: Step) -> None:
        match step:
            case CreateSchema():
                assert step.name not in self.schemas
                born = self.defaults["SCHEMAS"] if step.owner is not None else frozenset()
                self.schemas[step.name] = Schema(step.name, step.owner or self.seen.admin, born)
            case ChangeSchemaOwner():
                there = self.schemas[step.name]
                privileges = frozenset(p for p in there.privileges if p.grantee != step.owner)
                self.schemas[step.name] = Schema(step.name, step.owner, privileges)
            case GrantOnSchema(privilege=p) | RevokeOnSchema(privilege=p):
                there = self.schemas[step.schema]
                after = changed(there.privileges, p, granted=isinstance(step, GrantOnSchema))
                self.schemas[step.schema] = replace(there, privileges=after)
            case GrantByDefault(privilege=p) | RevokeByDefault(privilege=p):
                kind = step.object_type
                self.defaults[kind] = changed(self.defaults[kind], p, granted=isinstance(step, GrantByDefault))
            case CreateExtension():
                assert step.name not in self.extensions
                assert step.schema in self.schemas, f"no schema {step.schema}"
                version = step.version or self.available[step.name].default_version
                self.extensions[step.name] = Extension(step.name, version, step.schema)
            case UpdateExtension():
                self.extensions[step.name] = replace(self.extensions[step.name], version=step.version)
            case _:
                raise AssertionError(step)

    def _change_setting(self, step: ChangeSetting) -> None:
        there = self.settings.setdefault((step.database, step.role or ""), {})
        if step.value is None:
            del there[step.parameter]
        else:
            there[step.parameter] = stored(step.parameter, step.value)


def changed(privileges: frozenset[Privilege], one: Privilege, *, granted: bool) -> frozenset[Privilege]:
    """GRANT adds a privilege, or leaves one with its grant option; REVOKE takes both away."""
    plain, grantable = replace(one, grantable=False), replace(one, grantable=True)
    if not granted:
        assert {plain, grantable} & privileges, f"REVOKE of {one} has no effect"
        return privileges - {plain, grantable}
    assert not one.grantable
    return privileges if grantable in privileges else privileges | {plain}


def stored(parameter: str, value: str) -> str:
    """A setting as pg_db_role_setting shows it: the names in a search_path are quoted where they have to be."""
    if parameter != "search_path":
        return value
    return ", ".join(quoted(schema) for schema in value.split(", "))


def quoted(name: str) -> str:
    """Source: PostgreSQL's quote_identifier; `user` stands for the reserved words."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) and name != "user" else f'"{name}"'
