"""A restored database's policies and privileges: given by names of here, from what the backup kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection, sql

from servicedb.plan.backups.manifest import Manifest
from servicedb.plan.backups.objects import PUBLIC, DefaultPrivileges, Object, Objects, Policy, Privilege
from servicedb.plan.backups.privileges import Change, Names, changes, translated
from servicedb.plan.backups.toc import named_alike
from servicedb.postgres.backups.objects import Found, built_in_privileges, default_privileges, found

_COMMANDS: Mapping[str, LiteralString] = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
_KINDS: Mapping[str, LiteralString] = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "ROUTINES",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}
_PRIVILEGES: Mapping[str, LiteralString] = {
    word: word
    for word in (
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "MAINTAIN",
        "USAGE",
        "CREATE",
        "EXECUTE",
    )
}
"""What a backup says is looked up, and never becomes SQL itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a restore goes: `owner` is the role that everything will belong to, `lock_room` as in Facts."""

    name: str
    owner: str
    login: str
    superuser: bool
    server_version: int
    lock_room: int


def give_back(
    connection: Connection[Any], manifest: Manifest, kept: Objects, standing: Standing, called: Names
) -> tuple[str, ...]:
    """Make the policies that pg_restore left out, and give the privileges of `kept`, by the names of here.

    Gives a sentence for each entry that stands for nobody here.
    """
    back = _Back(connection, manifest, standing, called, [])
    for policy in kept.policies:
        if not named_alike(policy.roles, called):
            back.make_policy(policy)
    back.defaults(kept.default_privileges)
    back.objects({(one.kind, one.identity): one for one in kept.objects})
    return tuple(back.lost)


@dataclass(slots=True)
class _Back:
    connection: Connection[Any]
    manifest: Manifest
    standing: Standing
    names: Names
    lost: list[str]

    @property
    def _versions(self) -> tuple[int, int]:
        return self.manifest.server_version // 1_00_00, self.standing.server_version // 1_00_00

    def make_policy(self, policy: Policy) -> None:
        """Where a role stands for nobody the policy is made for the owner alone: so it opens nothing to anybody."""
        here = [self.names.here(role) for role in policy.roles]
        for role, name in zip(policy.roles, here, strict=True):
            if name is None:
                self.lost.append(
                    f'policy {policy.name} on {policy.schema_}.{policy.table}: role "{role}" stands for nobody here'
                )
        roles = [name for name in here if name is not None] or [self.standing.owner]
        statement = sql.SQL("CREATE POLICY {} ON {} AS {} FOR {} TO {}").format(
            sql.Identifier(policy.name),
            sql.Identifier(policy.schema_, policy.table),
            sql.SQL("PERMISSIVE" if policy.permissive else "RESTRICTIVE"),
            sql.SQL(_COMMANDS[policy.command]),
            sql.SQL(", ").join(map(_role, roles)),
        )
        # The expressions are the tenant's own SQL, as in any dump: run as the owner, and in one statement alone.
        for word, expression in (("USING", policy.using), ("WITH CHECK", policy.check)):
            if expression is not None:
                statement += sql.SQL(" {} ({})").format(sql.SQL(word), sql.SQL(expression))
        self.connection.execute(statement, binary=True)  # by the protocol that takes one statement only
        if policy.comment is not None:
            self.connection.execute(
                sql.SQL("COMMENT ON POLICY {} ON {} IS {}").format(
                    sql.Identifier(policy.name),
                    sql.Identifier(policy.schema_, policy.table),
                    sql.Literal(policy.comment),
                )
            )

    def objects(self, kept: Mapping[tuple[str, str], Object]) -> None:
        """Grants and revokes until each object has what it had."""
        for one in found(self.connection, kept.values()):
            there = kept.get((one.object.kind, one.object.identity))
            if there is None or there.owner is None or there.acl is None or one.address is None:
                continue
            wanted = self._wanted(
                there.acl, former=there.owner, owner=one.object.owner or "", seen=one.current, of=there.shown
            )
            needed = changes(wanted, one.current)
            if needed and not one.ours:
                self.lost.append(f'privileges on {there.shown}: it belongs to "{one.object.owner}" here')
                continue
            for change in needed:
                self.connection.execute(_statement(change, one))

    def defaults(self, kept: tuple[DefaultPrivileges, ...]) -> None:
        """ALTER DEFAULT PRIVILEGES of the owner: those of others are theirs."""
        seen = {
            (one.schema_, one.kind): one.acl
            for one in default_privileges(self.connection)
            if one.role == self.standing.owner
        }
        for one in kept:
            if self.names.here(one.role) != self.standing.owner or one.kind not in _KINDS:
                self.lost.append(f'default privileges of role "{one.role}", which stands for nobody here')
                continue
            now = seen.get((one.schema_, one.kind))
            if now is None:
                now = () if one.schema_ else built_in_privileges(self.connection, one.kind, self.standing.owner)
            wanted = self._wanted(
                one.acl, former=one.role, owner=self.standing.owner, seen=now, of="default privileges"
            )
            where = sql.SQL(" IN SCHEMA {}").format(sql.Identifier(one.schema_)) if one.schema_ else sql.SQL("")
            for change in changes(wanted, now):
                self.connection.execute(
                    sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} {}").format(
                        sql.Identifier(self.standing.owner), where, _clause(change, sql.SQL(_KINDS[one.kind]), None)
                    )
                )

    def _wanted(
        self, acl: tuple[Privilege, ...], *, former: str, owner: str, seen: tuple[Privilege, ...], of: str
    ) -> tuple[Privilege, ...]:
        wanted, lost = translated(acl, self.names, owner=owner, former=former, versions=self._versions, seen=seen)
        by_role: dict[str, list[str]] = {}
        for entry in lost:
            by_role.setdefault(entry.grantee, []).append(entry.privilege)
        self.lost += [
            f'{", ".join(words)} on {of}: role "{role}" stands for nobody here' for role, words in by_role.items()
        ]
        return tuple(one for one in wanted if one.privilege in _PRIVILEGES)


def _statement(change: Change, one: Found) -> sql.Composed:
    assert one.address is not None
    return _clause(change, sql.SQL(one.address), one.column)


def _clause(change: Change, on: sql.SQL, column: str | None) -> sql.Composed:
    entry = change.privilege
    privilege: sql.Composable = sql.SQL(_PRIVILEGES[entry.privilege])
    if column is not None:
        privilege = sql.SQL("{} ({})").format(privilege, sql.Identifier(column))
    if change.grant:
        option = sql.SQL(" WITH GRANT OPTION" if entry.grantable else "")
        return sql.SQL("GRANT {} ON {} TO {}{}").format(privilege, on, _role(entry.grantee), option)
    return sql.SQL("REVOKE {} ON {} FROM {}").format(privilege, on, _role(entry.grantee))


def _role(name: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if name == PUBLIC else sql.Identifier(name)
